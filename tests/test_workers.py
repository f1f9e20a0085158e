"""A trial says by names and paths all that is needed to try a candidate, in any process."""

import copy
import math
import pickle
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from netadapt.assembly import Source, assemble
from netadapt.config import Recipe
from netadapt.data import ArraySplit
from netadapt.models import save_weights
from netadapt.platforms import open_platform
from netadapt.runs import Job, Trial
from netadapt.search.judge import joined
from netadapt.search.race import batch_size
from netadapt.training import accuracy, score
from netadapt.workers import Evaluator, evaluate

MODEL, DATA = "tests.examples:small_net", "tests.examples:stripes"


@pytest.fixture(scope="module")
def subject():
    return assemble(Source(MODEL, data=DATA))


@pytest.fixture
def trial(subject, tmp_path):
    """A short fine-tune of the network with one group at half of its units."""
    save_weights(subject.module, tmp_path / "original.safetensors")
    group = next(g for g in subject.network.groups.values() if not g.fixed)
    job = Job(
        model=subject.spec.to_json(), data=DATA, input_size=None, importance="l2",
        repair=False,
        short=Recipe(lr=0.01, batch_size=32), steps=2, screen_batches=1, seed=0, trainer="cpu",
        device=open_platform("synthetic:").describe().to_json(),
    )  # fmt: skip
    return Trial(
        job, iteration=1, index=3, rung=1, name=group.id, changes={group.id: group.size // 2},
        keep={}, weights=str(tmp_path / "original.safetensors"), until=2,
        out=str(tmp_path / "out.safetensors"),
    )  # fmt: skip


def test_a_pickled_trial_comes_out_the_same_where_nothing_of_the_run_is_in_memory(
    subject, trial, tmp_path
):
    here = Evaluator(subject.data, subject.module, subject.network)(trial)
    elsewhere = replace(trial, out=str(tmp_path / "again.safetensors"))
    outcome = evaluate(pickle.loads(pickle.dumps(elsewhere)))
    assert (outcome.accuracy, outcome.keep) == (here.accuracy, here.keep)
    assert (outcome.index, outcome.rung, outcome.failed) == (3, 1, "")
    first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("out", "again"))
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)
    assert pickle.loads(pickle.dumps(outcome)) == outcome


def test_images_are_counted_as_trained_on_or_only_scored(subject, trial):
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    (tuning,) = evaluator(trial).phases
    assert (tuning.name, tuning.images) == ("tuning", 2 * 32)
    assert tuning.scored == len(subject.data.holdout)
    (screening,) = evaluator(replace(trial, rung=0, out="")).phases
    assert (screening.name, screening.images) == ("screening", 0)
    assert screening.scored > len(subject.data.holdout)


def test_a_training_that_diverges_is_an_outcome_that_cannot_win(subject, trial):
    hopeless = replace(trial, job=replace(trial.job, short=Recipe(lr=1e30, batch_size=32), steps=9))
    outcome = Evaluator(subject.data, subject.module, subject.network)(hopeless)
    assert trial.name in outcome.failed
    assert "diverged" in outcome.failed
    assert math.isfinite(outcome.accuracy)


def test_candidates_learn_from_the_weights_that_the_trial_names(subject, trial, tmp_path):
    """The images that go through the teacher are counted, and the job says who it is."""
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    alone = evaluator(trial)
    taught = replace(trial, job=replace(trial.job, teacher=trial.weights))
    first = evaluator(taught)
    assert first.phases[0].images == 2 * 32
    assert first.phases[0].scored == 2 * 32 + len(subject.data.holdout)
    with torch.no_grad():
        other = copy.deepcopy(subject.module)
        other.head.weight.mul_(-3)
    save_weights(other, tmp_path / "other.safetensors")
    path = str(tmp_path / "other.safetensors")
    second = evaluator(replace(taught, job=replace(taught.job, teacher=path)))
    assert len({alone.loss, first.loss, second.loss}) == 3
    assert evaluate(pickle.loads(pickle.dumps(taught))).loss == first.loss


@pytest.fixture
def paused(trial, tmp_path):
    """The first of two rungs: one step of two, kept in a file of its own."""
    return replace(trial, until=1, place=str(tmp_path / "place.safetensors"), out="")


@pytest.mark.parametrize("taught", [False, True])
def test_a_fine_tune_over_two_rungs_gives_the_bits_of_one(subject, trial, paused, tmp_path, taught):
    if taught:
        short = replace(trial.job.short, ema=0.9)
        job = replace(trial.job, short=short, teacher=trial.weights)
        trial, paused = replace(trial, job=job), replace(paused, job=job)
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    whole = evaluator(trial)
    first = evaluator(paused)
    last = evaluator(replace(paused, rung=2, until=2, out=str(tmp_path / "rungs.safetensors")))
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("out", "rungs"))
    assert all(one[name].equal(two[name]) for name in one)
    assert (last.accuracy, last.loss) == (whole.accuracy, whole.loss)
    assert [outcome.phases[0].images for outcome in (whole, first, last)] == [64, 32, 32]


def test_a_rung_goes_on_the_same_where_its_place_is_lost(subject, trial, paused, tmp_path):
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    last = evaluator(replace(paused, rung=2, until=2, out=str(tmp_path / "rungs.safetensors")))
    assert last.phases[0].images == 64  # all of it, and counted so
    assert last.loss == evaluator(trial).loss


def test_a_rung_begins_anew_where_its_place_is_of_another_network(subject, trial, paused, tmp_path):
    """A version that aims elsewhere may have left it when its run was cut off."""
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    evaluator(replace(paused, changes={trial.name: trial.changes[trial.name] // 2}))
    last = evaluator(replace(paused, rung=2, until=2, out=str(tmp_path / "rungs.safetensors")))
    assert last.phases[0].images == 64
    assert last.loss == evaluator(trial).loss


def test_a_rung_that_was_cut_off_after_its_training_is_not_trained_again(subject, paused):
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    once, again = evaluator(paused), evaluator(paused)
    assert again.loss == once.loss
    assert again.phases[0].images == 0


@pytest.mark.parametrize("rung", [0, 1])
def test_the_parts_of_a_race_add_up_to_all_of_its_images(subject, paused, rung):
    """Whether the candidate stays in memory between them, or is made anew in another process."""
    train = subject.data.train
    many = ArraySplit(train.images.repeat(4, 1, 1, 1), train.targets.repeat(4), train.pixels)
    size = batch_size(len(many))
    assert size == 170  # three batches of it leave 2 of 512 images out, fewer than any other size
    task = replace(subject.data, holdout=many)
    raced = replace(paused, rung=rung, until=rung, part=(0, size))
    evaluator = Evaluator(task, subject.module, subject.network)
    first, second = evaluator(raced), evaluator(replace(raced, part=(size, 2 * size)))
    elsewhere = Evaluator(task, subject.module, subject.network)
    assert elsewhere(replace(raced, part=(size, 2 * size))).losses == second.losses
    both = evaluator(replace(raced, part=(0, 2 * size)))
    assert (*first.losses, *second.losses) == both.losses
    sums = joined(first, second)
    assert sums.images == both.images == 2 * size
    assert (sums.accuracy, sums.loss) == pytest.approx((both.accuracy, both.loss))
    assert sums.losses == both.losses
    assert second.phases[0].scored == size
    assert second.phases[0].images == 0


def test_accuracy_and_loss_are_those_of_the_same_images(subject):
    task, model = subject.data, subject.module
    scored = score(model, task, task.batches("holdout", batch_size=20), block=10)
    assert scored.accuracy == accuracy(model, task, batch_size=20)
    images, targets = next(iter(task.batches("holdout", batch_size=len(task.holdout))))
    with torch.no_grad():
        losses = F.cross_entropy(model.eval()(images), targets, reduction="none")
    assert scored.loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert scored.losses[:3] == pytest.approx(losses[:30].view(3, 10).mean(1).tolist(), rel=1e-4)
    assert scored.images == len(task.holdout)


@pytest.mark.parametrize(
    "loss", [lambda outputs, targets: outputs["aux"], lambda o, t: o.sum() * math.nan]
)
def test_a_loss_of_ones_own_that_says_nothing_in_evaluation_is_not_known(subject, loss):
    task = replace(subject.data, loss=loss)
    scored = score(subject.module, task, task.batches("holdout", batch_size=64), block=10)
    assert (scored.loss, scored.losses) == (None, ())
    assert 0 <= scored.accuracy <= 1


@pytest.mark.parametrize("part", [None, (0, 200)])
def test_a_candidate_that_computes_no_finite_numbers_cannot_win(subject, trial, tmp_path, part):
    broken = copy.deepcopy(subject.module)
    with torch.no_grad():
        list(broken.parameters())[-2].fill_(3e38)  # weights of the classifier, whose sums overflow
    save_weights(broken, tmp_path / "original.safetensors")
    screened = replace(trial, rung=0, out="", part=part)
    outcome = Evaluator(subject.data, subject.module, subject.network)(screened)
    assert "no finite number" in outcome.failed
    assert trial.name in outcome.failed


def test_units_scores_are_those_that_a_trial_keeps_units_by(subject, trial, tmp_path):
    """Of the network as pruned: scored in the order of the units that are left."""
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    scores = evaluator.scores(trial.job, trial.weights, {})(trial.name)
    outcome = evaluator(trial)
    (kept,) = outcome.keep.values()
    assert len(scores) == subject.network.groups[trial.name].size
    dropped = set(range(len(scores))) - set(kept)
    assert max(scores[unit] for unit in dropped) <= min(scores[unit] for unit in kept)
    left = evaluator.scores(trial.job, trial.out, outcome.keep)(trial.name)
    expected = load_file(trial.out)[f"{trial.name}.weight"].double().square().flatten(1).sum(1)
    assert left == pytest.approx(expected.tolist())


@pytest.mark.parametrize(("importance", "gradients"), [("l2", 0), ("taylor", 128)])
def test_gradients_are_taken_once_for_all_trials_from_one_network(
    subject, trial, importance, gradients
):
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    job = replace(trial.job, importance=importance)
    first, second = (evaluator(replace(trial, job=job, out="", rung=0)).phases[0] for _ in range(2))
    assert first.images - second.images == gradients == first.images


def test_repair_changes_what_reads_the_group_and_nothing_else(subject, trial):
    evaluator = Evaluator(subject.data, subject.module, subject.network)
    plain, keep = evaluator.candidate(trial)
    job = replace(trial.job, repair=True)
    repaired, same = evaluator.candidate(replace(trial, job=job))
    changed = {
        name
        for (name, one), other in zip(plain.named_parameters(), repaired.parameters(), strict=True)
        if not one.equal(other)
    }
    slots = subject.network.groups[trial.name].slots
    assert keep == same
    assert changed == {slot.tensor for slot in slots if slot.role == "in"} != set()

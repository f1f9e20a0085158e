"""A trial says by names and paths all that is needed to try a candidate, in any process."""

import math
import pickle
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from netadapt.assembly import Source, assemble
from netadapt.config import Recipe
from netadapt.models import save_weights
from netadapt.platforms import open_platform
from netadapt.runs import Job, Trial
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
        keep={}, weights=str(tmp_path / "original.safetensors"),
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

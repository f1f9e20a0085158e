"""A network learns from another's outputs, and results in the average of its weights."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import netadapt
from netadapt.cli import main
from netadapt.cli.settings import resolve
from netadapt.config import Recipe, RunConfig, Tuning, read_config
from netadapt.data import Task
from netadapt.errors import TrainingError, UsageError
from netadapt.runs import last, read_journal
from netadapt.runs.events import Trained, Tried, Warned
from netadapt.training import Course, distils, fine_tune, obstacle, rehearse
from netadapt.training.averaging import Average
from netadapt.training.distillation import divergence
from tests.examples import noise, stripes

PLAIN = Recipe(lr=0.05, batch_size=8, warmup=0.0, augment=False)


@pytest.fixture(scope="module")
def task() -> Task:
    return noise(16, 6, classes=3)


def net(width: int, seed: int, classes: int = 3) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(),
            nn.Dropout(0.5), nn.Linear(16 * width, classes),
        )  # fmt: skip


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_divergence_is_that_of_softened_predictions_worked_out_by_hand():
    # At T = 2 the teacher says 3/4 and 1/4, and the student 1/2 and 1/2.
    told, outputs = torch.tensor([[2 * math.log(3), 0.0]]), torch.tensor([[5.0, 5.0]])
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(divergence(outputs, told, 2.0)) == pytest.approx(4 * by_hand)
    both = divergence(torch.cat([outputs, told]), torch.cat([told, told]), 2.0)
    assert float(both) == pytest.approx(4 * by_hand / 2)  # the second example agrees


@given(st.integers(0, 1000), st.floats(0.5, 20))
def test_the_gradient_is_the_difference_of_predictions_times_the_temperature(seed, temperature):
    random = torch.Generator().manual_seed(seed)
    outputs, told = (torch.randn(5, 4, generator=random, dtype=torch.float64) * 3 for _ in range(2))
    outputs.requires_grad_()
    distance = divergence(outputs, told, temperature)
    distance.backward()
    apart = F.softmax(outputs / temperature, 1) - F.softmax(told / temperature, 1)
    torch.testing.assert_close(outputs.grad, temperature * apart / 5)
    assert float(distance.detach()) >= 0
    assert float(divergence(told, told, temperature)) == pytest.approx(0, abs=1e-12)


def test_half_precision_logits_are_compared_in_single_precision():
    outputs, told = torch.randn(4, 3).bfloat16(), torch.randn(4, 3)
    assert divergence(outputs, told, 4.0).dtype == torch.float32


def test_a_step_weighs_smoothed_labels_and_the_teacher(task):
    student, teacher = net(2, 0), net(4, 1)
    student[4].p = 0.0
    twin = copy.deepcopy(student)
    recipe = replace(PLAIN, label_smoothing=0.2, distill_weight=0.7, temperature=3.0)
    result = fine_tune(student, task, Course(recipe, steps=1), teacher=teacher)
    inputs, targets = next(iter(task.batches("train", batch_size=8, shuffle=True)))
    with torch.no_grad():
        outputs = twin(inputs)
        labels = F.cross_entropy(outputs, targets, label_smoothing=0.2)
        taught = divergence(outputs, teacher.eval()(inputs), 3.0)
    assert result.losses[0] == pytest.approx(0.3 * float(labels) + 0.7 * float(taught), rel=1e-5)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_teacher_stays_as_it_was(task, bf16):
    teacher = net(4, 1)
    teacher[1].eval()
    teacher[0].weight.requires_grad_(False)
    before, modes = values(teacher), [module.training for module in teacher.modules()]
    fine_tune(net(2, 0), task, Course(replace(PLAIN, bf16=bf16), steps=3), teacher=teacher)
    assert_same(values(teacher), before)
    assert [module.training for module in teacher.modules()] == modes
    assert all(p.grad is None for p in teacher.parameters())
    assert teacher[0].weight.is_contiguous()


def test_a_student_comes_closer_to_its_teacher_by_being_taught(task):
    teacher = net(4, 1).eval()
    inputs, _ = next(iter(task.batches("train", batch_size=16)))

    def distance(weight: float) -> float:
        student = net(2, 0)
        recipe = replace(PLAIN, distill_weight=weight)
        fine_tune(student, task, Course(recipe, steps=30), teacher=teacher)
        with torch.no_grad():
            return float(divergence(student.eval()(inputs), teacher(inputs), 4.0))

    assert distance(1.0) < distance(0.0) / 2


def test_a_teacher_that_weighs_nothing_changes_no_bit(task):
    alone, taught = net(2, 0), net(2, 0)
    fine_tune(alone, task, Course(PLAIN, steps=3))
    recipe = replace(PLAIN, distill_weight=0.0)
    fine_tune(taught, task, Course(recipe, steps=3), teacher=net(4, 1))
    assert_same(values(alone), values(taught))


def own_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets)


def test_a_teacher_that_does_not_fit_is_refused(task):
    def tune(teacher: nn.Module, student: nn.Module | None = None, on: Task = task) -> None:
        fine_tune(student or net(2, 0), on, Course(PLAIN, steps=1), teacher=teacher)

    with pytest.raises(UsageError, match=r"gives a tensor \[8, 5\].* the model gives .*\[8, 3\]"):
        tune(net(2, 0, classes=5))
    with pytest.raises(UsageError, match=r"gives a tensor \[8, 2, 4, 4\]"):
        tune(net(2, 0)[:3])
    with pytest.raises(UsageError, match="has a loss of its own, so a teacher cannot apply"):
        tune(net(4, 1), on=replace(task, loss=own_loss))
    model = net(2, 0)
    with pytest.raises(UsageError, match="its own teacher"):
        tune(model, model)
    broken = net(4, 1)
    nn.init.constant_(broken[5].bias, math.inf)
    with pytest.raises(TrainingError, match="teacher's outputs for the first batch are no finite"):
        tune(broken)


def test_the_task_decides_whether_there_is_a_teacher(task):
    model = net(2, 0)
    before, modes = values(model), [module.training for module in model.modules()]
    assert obstacle(model, task) == ""
    assert distils(Recipe(), model, task)
    assert not distils(Recipe(distill=False), model, task)
    own, maps = replace(task, loss=own_loss), model[:3]
    assert obstacle(model, own) == "task 'noise' has a loss of its own"
    assert "a tensor [2, 2, 4, 4] of float32, and not logits" in obstacle(maps, task)
    for network, other in ((model, own), (maps, task)):
        assert not distils(Recipe(), network, other)
        with pytest.raises(UsageError, match="Distillation cannot apply, because"):
            distils(Recipe(distill=True), network, other)
    assert_same(values(model), before)
    assert [module.training for module in model.modules()] == modes


def test_smoothed_labels_of_another_loss_are_refused_before_there_is_a_run(task):
    own = replace(task, loss=own_loss)
    with pytest.raises(UsageError, match="label smoothing cannot apply"):
        rehearse(net(2, 0), own, Recipe(label_smoothing=0.1))
    with pytest.raises(UsageError, match="label smoothing cannot apply"):
        distils(Recipe(label_smoothing=0.1), net(2, 0), own)


def test_an_average_worked_out_by_hand():
    layer = nn.BatchNorm1d(1)
    layer.register_buffer("calls", torch.zeros(()))
    average = Average(layer, decay=0.15)
    for step, value in enumerate((10.0, 20.0)):
        with torch.no_grad():
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                tensor.fill_(value)
            layer.calls.fill_(value)
        average.update(step)
    average.apply()
    layer.requires_grad_(False)
    # A decay of 1/10 at first, of 2/11 at most afterwards, and so of 0.15 as it was asked for.
    first = {name: 0.1 * start + 0.9 * 10 for name, start in (("weight", 1), ("bias", 0))}
    assert float(layer.weight) == pytest.approx(0.15 * first["weight"] + 0.85 * 20)
    assert float(layer.bias) == pytest.approx(0.15 * first["bias"] + 0.85 * 20)
    assert float(layer.running_mean) == pytest.approx(float(layer.bias))  # began at 0 too
    assert float(layer.running_var) == pytest.approx(float(layer.weight))
    assert float(layer.calls) == 20  # no statistic of a batch normalization


def test_a_training_results_in_the_average_of_its_weights(task):
    last_of, averaged = net(2, 0), net(2, 0)
    frozen = averaged[5].weight.requires_grad_(False)
    last_of[5].weight.requires_grad_(False)
    start, held = values(averaged), frozen.clone()
    fine_tune(last_of, task, Course(PLAIN, steps=1))
    fine_tune(averaged, task, Course(replace(PLAIN, ema=0.9), steps=1))
    for name in ("0.weight", "1.running_mean"):
        expected = 0.1 * start[name] + 0.9 * values(last_of)[name]
        torch.testing.assert_close(values(averaged)[name], expected)
    assert torch.equal(frozen, held)
    assert averaged[1].num_batches_tracked == 1


def settings(**tuning: object) -> RunConfig:
    values = {"model": "m", "data": "d", "budgets": ["60%"], "tuning": tuning}
    return read_config(values)


def test_all_of_it_is_said_in_a_file():
    said = {"distill": True, "distill_weight": 0.9, "temperature": 2, "ema": 0.99,
            "label_smoothing": 0.1}  # fmt: skip
    assert settings(recipe=said).tuning.recipe == Recipe(**said)
    for name, value in (("distill_weight", 1.1), ("temperature", 0), ("ema", 1.0)):
        with pytest.raises(UsageError, match=rf"tuning.short.{name} is {value:g}; it must be"):
            settings(short={name: value})


def run(folder: Path, *, task: str = "tests.examples:stripes", **recipe: object) -> None:
    kind = Recipe(batch_size=32, **recipe)
    tuning = Tuning(train_epochs=1, short_steps=1, long_epochs=1, recipe=kind, short=kind)
    config = RunConfig(
        "tests.examples:small_net", task, (netadapt.parse_budget("60%"),),
        devices={"synthetic:": "synthetic:"}, finalists=1, tuning=tuning,
        schedule=netadapt.Schedule(initial=0.4),
    )  # fmt: skip
    netadapt.adapt(config, folder)


def test_images_that_go_through_the_teacher_are_counted_as_only_forward(tmp_path):
    for name, distill in (("taught", True), ("alone", False)):
        run(tmp_path / name, distill=distill)
        records = read_journal(tmp_path / name)
        original, adapted = last(records, Trained, what="original"), last(records, Trained)
        assert (original.phase.images, original.phase.scored) == (128, 0)
        # The holdout's 32 images are scored before and after.
        assert (adapted.phase.images, adapted.phase.scored) == (128, 128 * distill + 64)
        tuned = [r.event.outcome for r in records if isinstance(r.event, Tried)]
        (phase,) = next(outcome for outcome in tuned if outcome.rung).phases
        assert (phase.images, phase.scored) == (32, 32 * distill + 32)
        assert last(records, Warned) is None


def of_ones_own(seed: int = 0) -> Task:
    """A task that distillation cannot apply to."""
    return replace(stripes(seed), loss=own_loss)


OWN = "tests.test_distillation:of_ones_own"


def test_without_logits_labels_alone_teach_and_that_is_said_once(tmp_path):
    run(tmp_path / "run", task=OWN)
    warned = [r.event for r in read_journal(tmp_path / "run") if isinstance(r.event, Warned)]
    (text,) = (event.text for event in warned)
    assert (
        text == "Fine-tunes learn from labels alone, because task 'stripes' has a loss of its own."
    )
    run(tmp_path / "quiet", task=OWN, distill=False)
    assert last(read_journal(tmp_path / "quiet"), Warned) is None


def test_a_teacher_that_was_asked_for_and_cannot_be_is_refused_before_there_is_a_run(
    tmp_path, capsys
):
    folder = tmp_path / "run"
    command = ["adapt", "tests.examples:small_net", "--on", "synthetic:", "--budget", "60%",
               "--task", OWN, "--run", str(folder), "--distill"]  # fmt: skip
    for words in (command, [*command, "--dry-run"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
        assert "task 'stripes' has a loss of its own; switch it off" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(("flag", "expected"), [("--distill", True), ("--no-distill", False)])
def test_a_flag_holds_for_short_and_long_fine_tunes(flag, expected):
    given = {"distill": flag == "--distill", "budget": ("60%",), "data": "digits", "model": "m"}
    tuning = resolve(None, given).tuning
    assert tuning.recipe.distill is tuning.short.distill is expected
    assert resolve(None, {**given, "distill": None}).tuning.recipe.distill is None

"""A training that is cut off anywhere goes on where it was, and ends with the same bits."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from netadapt.config import Recipe, RunConfig, Tuning
from netadapt.config.run import Execution
from netadapt.data import Task
from netadapt.errors import RunError, UsageError
from netadapt.runs.events import Progress
from netadapt.train import train
from netadapt.training import Checkpoint, Course, TrainResult, fine_tune
from netadapt.training.checkpoint import Place
from netadapt.units import parse_duration
from tests.examples import noise

STEPS = 11  # of 4 to an epoch, so that it ends within the third


class Cut(Exception):
    """What stands for a kill."""


class Odd(nn.Module):
    """Dropout, batch statistics, and a buffer that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
        return self.head(self.body(x).mean((2, 3)) * (1 + self.calls / 10))


@pytest.fixture(scope="module")
def task() -> Task:
    return noise(32, 8)


def model(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Odd()


RECIPE = Recipe(lr=0.05, batch_size=8, clip_norm=1.0)


def trained(
    net: nn.Module,
    task: Task,
    place: Checkpoint | None,
    *,
    cut: int = 0,
    recipe: Recipe = RECIPE,
    teacher: nn.Module | None = None,
) -> TrainResult:
    def progress(done: int, total: int, loss: float) -> None:
        if done == cut:
            raise Cut

    course = Course(recipe, steps=STEPS, seed=3, checkpoint=place)
    return fine_tune(net, task, course, teacher=teacher, progress=progress)


def values(net: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


AVERAGED = replace(RECIPE, ema=0.8, label_smoothing=0.1)


@pytest.mark.parametrize(
    ("recipe", "taught"), [(RECIPE, False), (AVERAGED, True)], ids=["plain", "averaged and taught"]
)
@pytest.mark.parametrize("cuts", [(1,), (4,), (5,), (10,), (11,), (2, 3, 9)])
def test_a_training_cut_off_ends_with_the_same_bits(
    task: Task, tmp_path: Path, cuts, recipe: Recipe, taught: bool
):
    whole, teacher = model(), model(7) if taught else None
    expected = trained(whole, task, None, recipe=recipe, teacher=teacher)
    path = tmp_path / "out.partial"
    for cut in cuts:
        place = Checkpoint(path, every_s=0)
        with pytest.raises(Cut):
            trained(model(), task, place, cut=cut, recipe=recipe, teacher=teacher)
    rest = model()
    result = trained(rest, task, Checkpoint(path, every_s=0), recipe=recipe, teacher=teacher)
    assert result.losses == expected.losses
    assert result.images_seen == expected.images_seen == STEPS * 8
    for name, value in values(whole).items():
        assert torch.equal(value, values(rest)[name]), name


def test_nothing_is_written_before_it_is_due(task: Task, tmp_path: Path):
    trained(model(), task, Checkpoint(tmp_path / "out.partial", every_s=3600))
    assert not list(tmp_path.iterdir())


def test_writing_leaves_the_training_as_it_was(task: Task, tmp_path: Path):
    plain, kept = model(), model()
    trained(plain, task, None)
    trained(kept, task, Checkpoint(tmp_path / "out.partial", every_s=0))
    assert all(torch.equal(v, values(kept)[k]) for k, v in values(plain).items())


@pytest.mark.parametrize("change", ["recipe", "weights", "data", "teacher"])
def test_another_training_does_not_go_on_from_it(task: Task, tmp_path: Path, change: str):
    path = tmp_path / "out.partial"
    with pytest.raises(Cut):
        trained(model(), task, Checkpoint(path, every_s=0), cut=2)
    before = path.read_bytes()
    other = copy.copy(task)
    object.__setattr__(other, "train", replace(task.train, targets=1 - task.train.targets))
    recipe = replace(RECIPE, lr=0.01) if change == "recipe" else RECIPE
    with pytest.raises(RunError, match="another training"):
        trained(
            model(1 if change == "weights" else 0),
            other if change == "data" else task,
            Checkpoint(path, every_s=0),
            recipe=recipe,
            teacher=model(7) if change == "teacher" else None,
        )
    assert path.read_bytes() == before


@pytest.mark.parametrize("length", [0, 7, 200, -1])
def test_a_damaged_checkpoint_is_told_and_kept(task: Task, tmp_path: Path, length: int):
    path = tmp_path / "out.partial"
    with pytest.raises(Cut):
        trained(model(), task, Checkpoint(path, every_s=0), cut=2)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RunError, match="damaged"):
        trained(model(), task, Checkpoint(path, every_s=0))
    assert path.exists()


def test_the_command_cut_off_goes_on_and_leaves_weights_alone(tmp_path: Path):
    tuning = Tuning(train_epochs=4 * 16 / 1149, recipe=Recipe(batch_size=16))
    config = RunConfig(
        "mobilenet_v1", "digits", (), model_args={"width": 0.25}, tuning=tuning,
        execution=Execution(checkpoint_every_s=1e-9),
    )  # fmt: skip

    def cut(event: object) -> None:
        if isinstance(event, Progress) and event.done == 2:
            raise Cut

    train(config, tmp_path / "whole.safetensors")
    with pytest.raises(Cut):
        train(config, tmp_path / "cut.safetensors", notify=cut)
    assert [path.name for path in tmp_path.glob("cut*")] == ["cut.safetensors.partial"]
    told: list[int] = []
    report = train(
        config,
        tmp_path / "cut.safetensors",
        notify=lambda event: told.append(event.done) if isinstance(event, Progress) else None,
    )
    assert told[0] == 3  # a step after the place that was kept, or the one whose line was cut off
    assert report["weights"] == str(tmp_path / "cut.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"whole.safetensors", "cut.safetensors"}
    whole, rest = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == rest


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10min", 600), ("2h", 7200), (" 1.5 min", 90)]
)
def test_times_have_units(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0s", "5 m", "-1min", "nan s", "1e400h", "infs"])
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(UsageError, match="no time above zero"):
        parse_duration(text)


def test_a_folder_that_was_moved_while_a_training_goes_on_is_not_made_anew(tmp_path: Path):
    place = Checkpoint(tmp_path / "run" / "out.partial")
    place.write("course", Place(), [], {"weight": torch.zeros(1)})
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="was moved or removed"):
        place.write("course", Place(1), [1.0], {"weight": torch.ones(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]

"""What each of two processes does that train together; the results of the first are compared."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from netadapt.config import Recipe
from netadapt.data import ArraySplit
from netadapt.errors import UsageError
from netadapt.ranks import Rank
from netadapt.training import Checkpoint, Course, fine_tune
from netadapt.training.team import Team, joined
from tests.examples import noise

STEPS = 9  # of 3 to an epoch
TASK = noise(35, 8)


class Plain(nn.Module):
    """Neither batch normalization nor dropout; one layer is left out of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4 * 16, 2)
        self.idle = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu().flatten(1))


class Odd(Plain):
    """Both, and a buffer that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.3)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return super().forward(self.drop(self.norm(x))) * (1 + self.calls / 10)


def built(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


class Foreign:
    """A split of a user's own making."""

    def __init__(self, split: ArraySplit) -> None:
        self.split, self.fingerprint = split, split.fingerprint

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, *args, **kwargs):
        return iter(list(self.split.batches(*args, **kwargs)))


RECIPE = Recipe(lr=0.05, batch_size=11)  # 5 and 6 of 11
RECIPES = {
    "plain": RECIPE,
    "all": replace(RECIPE, clip_norm=0.5, ema=0.8, accumulate=2, label_smoothing=0.1),
}


def trained(kind: type[nn.Module], recipe: str, team: Team, **course) -> dict[str, Tensor]:
    """All values of a network after its training, and the losses."""
    model, task = built(kind), TASK
    if course.pop("foreign", False):
        task = replace(task, train=Foreign(task.train))
    result = fine_tune(model, task, Course(RECIPES[recipe], STEPS, seed=3, team=team, **course))
    assert result.images_seen == (course.get("until") or STEPS) * 11
    values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    losses = torch.tensor(result.losses)
    return {n: v.detach().clone() for n, v in values.items()} | {"losses": losses}


def place(folder: Path, name: str, team: Team) -> Checkpoint | None:
    """Where a training keeps its place; that of the first process alone."""
    return Checkpoint(folder / name, every_s=3600) if team.rank.first else None


def work(folder: Path, team: Team) -> dict[str, dict[str, Tensor]]:
    """Every training that is compared with one of another number of processes."""
    results = {name: trained(Plain, name, team) for name in RECIPES}
    results["foreign"] = trained(Plain, "plain", team, foreign=True)
    results["odd"] = trained(Odd, "all", team)
    name = f"cut-{team.rank.size}"
    trained(Odd, "all", team, checkpoint=place(folder, name, team), until=4)
    results["odd, continued"] = trained(Odd, "all", team, checkpoint=place(folder, name, team))
    name = f"plain-{team.rank.size}"  # for another number of processes to go on with
    trained(Plain, "all", team, checkpoint=place(folder, name, team), until=4)
    return results


def continued(folder: Path, team: Team) -> dict[str, Tensor]:
    """The rest of what another number of processes began."""
    name = f"plain-{3 - team.rank.size}"
    return trained(Plain, "all", team, checkpoint=place(folder, name, team))


def main(folder: Path) -> None:
    """What a process does."""
    torch.set_num_threads(1)
    with joined(Rank.from_environment(), "cpu") as (team, trainer):
        assert trainer == "cpu"
        results = work(folder, team) | {"continued": continued(folder, team)}
        try:
            fine_tune(built(Plain), TASK, Course(replace(RECIPE, batch_size=3), STEPS, team=team))
        except UsageError as error:
            (folder / f"told-{team.rank.number}").write_text(str(error))
        try:
            course = Course(RECIPE, STEPS, seed=team.rank.number, team=team)
            fine_tune(built(Plain), TASK, course)
        except UsageError as error:
            (folder / f"differing-{team.rank.number}").write_text(str(error))
        seen = team.in_turn(lambda: (folder / "kept").exists() or (folder / "kept").touch())
        assert bool(seen) is not team.rank.first
        for name, values in results.items():
            tensors = {key: value.contiguous() for key, value in values.items()}
            save_file(tensors, folder / f"{name}-{team.rank.number}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

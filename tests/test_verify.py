"""The check itself: it passes what is right, finds what is wrong, and changes nothing."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from netadapt.network import Network, Slot
from netadapt.pruning.check import verify_groups, verify_together
from netadapt.tracing import trace

torch.set_num_threads(1)


class Net(nn.Module):
    """Dropout by function and by module, and two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3), nn.Conv2d(6, 2, 3)
        self.drop = nn.Dropout2d(0.5)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = F.dropout(self.drop(self.a(x)), 0.5, self.training)
        return {"b": self.b(x), "c": self.c(x)}


def wrong(network: Network) -> Network:
    """The network with units 0 and 1 of one reader swapped."""
    group = network.groups["a"]

    def swapped(slot: Slot) -> Slot:
        if slot.tensor != "c.weight":
            return slot
        return replace(slot, index=(slot.index[1], slot.index[0], *slot.index[2:]))

    slots = tuple(map(swapped, group.slots))
    return replace(network, groups={**network.groups, "a": replace(group, slots=slots)})


def test_a_right_trace_passes_in_both_modes() -> None:
    model = Net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checks = verify_groups(model, trace(model, (3, 8, 8)))
    assert [(c.group, c.mode, c.status) for c in checks] == [
        ("a", "eval", "equal"), ("a", "train", "equal"),
    ]  # fmt: skip
    assert model.training
    assert all(torch.equal(before[name], held) for name, held in model.state_dict().items())


def test_a_wrong_trace_fails_and_says_by_how_much() -> None:
    model = Net()
    network = wrong(trace(model, (3, 8, 8)))
    statuses = {
        check.status
        for seed in range(8)
        for check in verify_groups(model, network, seed=seed, modes=["eval"])
    }
    assert "failed" in statuses


def test_a_missing_reader_fails_as_the_model_does() -> None:
    model = Net()
    network = trace(model, (3, 8, 8))
    group = network.groups["a"]
    slots = tuple(slot for slot in group.slots if slot.tensor != "c.weight")
    broken = replace(network, groups={"a": replace(group, slots=slots)})
    (check, _) = verify_groups(model, broken)
    assert check.status == "failed"
    assert "channels" in check.detail


def test_inexact_groups_are_compared_in_shape_only() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(1, 6), nn.Conv2d(6, 2, 3))
    (check, _) = verify_together(model, trace(model, (3, 8, 8)))
    assert (check.group, check.status) == ("all inexact", "shape-only")
    assert "only shapes" in check.detail


def test_images_and_groups_may_be_given() -> None:
    model = Net().half()
    network = trace(model, (3, 8, 8))
    images = torch.randn(3, 3, 10, 10)
    (check,) = verify_groups(model, network, images, groups=["a"], modes=["train"])
    assert (check.status, check.mode) == ("equal", "train")


class Noisy(nn.Module):
    """Drops a path at random in training, by numpy, and refuses to train without its targets."""

    def __init__(self, strict: bool) -> None:
        super().__init__()
        self.a, self.b, self.strict = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), strict

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.strict:
            raise ValueError("targets should not be none")
        x = self.a(x)
        if self.training and np.random.rand() < 0.5:
            x = x * 2
        return self.b(x)


def test_noise_of_numpy_is_the_same_for_both_and_stays_as_it_was() -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].tolist()
    model = Noisy(strict=False)
    checks = verify_groups(model, trace(model, (3, 8, 8)))
    assert [check.status for check in checks] == ["equal", "equal"]
    assert np.random.get_state()[1].tolist() == before


def test_a_mode_that_the_model_does_not_run_in_is_not_a_failure() -> None:
    model = Noisy(strict=True)
    ran, did_not = verify_groups(model, trace(model, (3, 8, 8)))
    assert (ran.mode, ran.status) == ("eval", "equal")
    assert (did_not.mode, did_not.status) == ("train", "not run")
    assert did_not.detail.endswith("does not run in this mode: targets should not be none")


class Cast(nn.Sequential):
    """Computes in single precision at the end, whatever it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(super().forward(x).float(), self.kernel)

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 1), nn.ReLU())
        self.kernel = nn.Parameter(torch.rand(2, 8, 1, 1))


def test_code_that_cannot_run_in_double_precision_is_checked_in_single() -> None:
    model = Cast()
    checks = verify_groups(model, trace(model, (3, 8, 8)))
    assert [check.status for check in checks] == ["equal", "equal"]

"""The check itself: it passes what is right, finds what is wrong, and changes nothing."""

from dataclasses import replace

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

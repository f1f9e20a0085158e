"""Random networks of all operations, pruned at random; and Torch-Pruning as an oracle."""

import random
import warnings
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
import torch_pruning
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netadapt.network import shrinkable
from netadapt.pruning.check import verify_together
from netadapt.pruning.surgery import mask, shrink
from netadapt.tracing import trace
from tests.thin import thin

torch.set_num_threads(1)

WIDTH = 8


PARTS = {
    "a": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
    "b": lambda: nn.Conv2d(WIDTH, WIDTH, 1),
    "narrow": lambda: nn.Conv2d(WIDTH // 2, WIDTH // 2, 1),
    "merge": lambda: nn.Conv2d(2 * WIDTH, WIDTH, 1),
    "depthwise": lambda: nn.Conv2d(WIDTH, 2 * WIDTH, 3, padding=1, groups=WIDTH),
    "grouped": lambda: nn.Conv2d(WIDTH, WIDTH, 1, groups=2),
    "up": lambda: nn.ConvTranspose2d(WIDTH, WIDTH, 3, padding=1),
    "bn": lambda: nn.BatchNorm2d(WIDTH),
    "gn": lambda: nn.GroupNorm(4, WIDTH),
    "quarter": lambda: nn.Conv2d(WIDTH // 4, WIDTH, 1),
    "scale": lambda: nn.Parameter(torch.rand(WIDTH, 1, 1)),
    "weight": lambda: nn.Parameter(torch.randn(WIDTH, WIDTH, 1, 1)),
    "se": lambda: nn.Linear(WIDTH, WIDTH),
}


class Block(nn.Module):
    """One step of a random network: ``WIDTH`` channels in and out, 6x6 pixels.

    It has the parts that the code of its step names, and one that is never used.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.idle = nn.Conv2d(WIDTH, WIDTH, 1)
        for name in sorted(PARTS.keys() & {*STEPS[kind].__code__.co_names}):
            setattr(self, name, PARTS[name]())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return STEPS[self.kind](self, x)


def split(m: Block, x: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, 1)
    return torch.cat([a, m.narrow(b)], 1)


def shuffle(m: Block, x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = x.shape
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


def excite(m: Block, x: torch.Tensor) -> torch.Tensor:
    b, c = x.shape[:2]
    return x * torch.sigmoid(m.se(x.mean((2, 3)))).view(b, c, 1, 1)


STEPS = {
    "conv": lambda m, x: F.relu(m.bn(m.a(x))),
    "residual": lambda m, x: F.relu(x + m.b(torch.tanh(m.a(x)))),
    "dense": lambda m, x: m.merge(torch.cat([x, m.a(x)], 1)),
    "depthwise": lambda m, x: m.merge(m.depthwise(x)),
    "grouped": lambda m, x: m.grouped(x),
    "split": split,
    "glu": lambda m, x: F.glu(torch.cat([m.a(x), m.b(x)], 1), 1),
    "gated": lambda m, x: m.b(x) * torch.sigmoid(m.a(x)),
    "shuffle": shuffle,
    "excite": excite,
    "group_norm": lambda m, x: m.gn(x),
    "transposed": lambda m, x: m.up(x),
    "pixel_shuffle": lambda m, x: m.quarter(F.avg_pool2d(F.pixel_shuffle(x, 2), 2)),
    "functional": lambda m, x: F.conv2d(x * m.scale, m.weight),
    "shared": lambda m, x: m.a(F.relu(m.a(x))),
    "permuted": lambda m, x: m.se(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "fixed": lambda m, x: m.a(x) + x[:, torch.arange(WIDTH - 1, -1, -1)],
    "unknown": lambda m, x: m.b(x.cumsum(1)),
}


class Random(nn.Module):
    """A stem, steps, and a classifier on flat features."""

    def __init__(self, kinds: list[str]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(Block(kind) for kind in kinds)
        self.head = nn.Linear(WIDTH * 9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(F.max_pool2d(x, 2).flatten(1))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6), st.integers(0, 2**16))
def test_random_networks_compute_the_same_pruned_as_masked(kinds: list[str], seed: int) -> None:
    torch.manual_seed(seed)
    model = Random(kinds).double()
    network = trace(model, (3, 6, 6))
    rng = random.Random(seed)
    keep = {
        group.id: sorted(rng.sample(range(group.size), rng.randint(1, group.size)))
        for group in shrinkable(network)
    }
    pruned, masked = shrink(model, network, keep), mask(model, network, keep)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    for training in (False, True):
        out, expected = pruned.train(training)(x), masked.train(training)(x)
        assert torch.allclose(out, expected, rtol=1e-9, atol=1e-12)
    sizes = {group: len(units) for group, units in keep.items()}
    assert network.params(sizes) == sum(p.numel() for p in pruned.parameters())
    again = trace(pruned, (3, 6, 6))
    # A shuffle of rows of one channel moves nothing, so that only layers with weights compare.
    assert [s for s in again.at({}) if s.weights] == [s for s in network.at(sizes) if s.weights]
    # One group is left of some group normalizations, which then mixes channels: not exact.
    checks = verify_together(pruned, again)
    assert "failed" not in {check.status for check in checks}


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_each_step_leaves_something_to_remove(kind: str) -> None:
    network = trace(Random(["conv", kind, "conv"]), (3, 6, 6))
    assert "blocks.2.a" in [group.id for group in shrinkable(network)]
    if kind not in ("fixed", "unknown"):
        assert network.groups["blocks.0.a"].fixed == ""


def oracle(model: nn.Module, head: nn.Module) -> set[frozenset[str]]:
    """Torch-Pruning's groups, each as the layers whose outputs are in it."""
    names = {module: name for name, module in model.named_modules()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph()
        graph.build_dependency(model, example_inputs=(torch.zeros(1, 3, 64, 64),))
    found = set()
    types = [nn.Conv2d, nn.Linear]
    for group in graph.get_all_groups(ignored_layers=[head], root_module_types=types):
        members = {
            names[item.dep.target.module]
            for item in group
            if graph.is_out_channel_pruning_fn(item.dep.handler)
            and isinstance(item.dep.target.module, nn.Conv2d | nn.Linear)
        }
        found.add(frozenset(members))
    return found


@pytest.mark.parametrize(
    ("name", "head"),
    [("resnet18", "fc"), ("mobilenet_v2", "classifier.1"), ("vgg11_bn", "classifier.6"),
     ("mobilenet_v3_small", "classifier.3")],
)  # fmt: skip
def test_torch_pruning_finds_the_same_groups(name: str, head: str) -> None:
    with thin() if name == "vgg11_bn" else nullcontext():
        model = torchvision.models.get_model(name, weights=None)
    network = trace(model, (3, 64, 64))
    layers = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    ours = {
        frozenset(
            slot.tensor.removesuffix(".weight")
            for slot in group.slots
            if slot.dim == 0 and slot.tensor.removesuffix(".weight") in layers
        )
        for group in shrinkable(network)
    }
    assert ours == oracle(model, model.get_submodule(head))

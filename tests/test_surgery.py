"""Shrinking: what stays as it was, what is refused, and that the argument is left alone."""

import copy

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from netadapt.errors import ModelError
from netadapt.network import keep_first
from netadapt.pruning.surgery import mask, shrink
from netadapt.tracing import trace

torch.set_num_threads(1)

SHAPE = (3, 8, 8)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1),
        nn.Flatten(), nn.Linear(4 * 64, 5),
    )  # fmt: skip


KEEP = {"0": (1, 4, 5), "3": (0, 3)}


def test_tensors_are_the_rows_and_columns_that_stay() -> None:
    before = model()
    after = shrink(before, trace(before, SHAPE), KEEP)
    assert torch.equal(after[0].weight, before[0].weight[[1, 4, 5]])
    assert torch.equal(after[1].running_var, before[1].running_var[[1, 4, 5]])
    assert torch.equal(after[3].weight, before[3].weight[[0, 3]][:, [1, 4, 5]])
    assert torch.equal(after[5].weight, before[5].weight[:, [*range(64), *range(192, 256)]])
    assert (after[3].in_channels, after[3].out_channels, after[1].num_features) == (3, 2, 3)
    assert after[5].in_features == 128
    assert "3, 2" in repr(after[3])


def test_neither_trace_nor_shrink_nor_mask_changes_the_model() -> None:
    before = model().train()
    before[1].eval()
    before[0].weight.requires_grad_(False)
    before(torch.randn(2, *SHAPE)).sum().backward()
    held = copy.deepcopy(before.state_dict())
    identity = [id(p) for p in before.parameters()]
    grads = [p.grad for p in before.parameters()]
    called = []
    before[2].register_forward_hook(lambda *_: called.append(1))
    network = trace(before, SHAPE)
    shrink(before, network, KEEP)
    mask(before, network, KEEP)
    assert all(torch.equal(held[name], tensor) for name, tensor in before.state_dict().items())
    assert [id(p) for p in before.parameters()] == identity
    assert [p.grad for p in before.parameters()] == grads
    assert [module.training for module in before] == [True, False, True, True, True, True]
    assert not before[0].weight.requires_grad
    assert called == []


def test_the_copy_keeps_flags_hooks_and_what_has_no_channels() -> None:
    before = model()
    before[0].weight.requires_grad_(False)
    before[1].eval()
    before[1].num_batches_tracked.fill_(7)
    before[2].register_forward_hook(lambda module, args, out: out + 1)
    after = shrink(before, trace(before, SHAPE), KEEP)
    assert not after[0].weight.requires_grad
    assert after[0].bias.requires_grad
    assert [module.training for module in after] == [True, False, True, True, True, True]
    assert after[1].num_batches_tracked == 7
    assert len(after[2]._forward_hooks) == 1
    assert all(parameter.is_leaf for parameter in after.parameters())


def test_frozen_parameters_take_part_in_groups() -> None:
    """Torch-Pruning leaves them out, and its result crashes."""
    frozen = model().requires_grad_(False)
    network = trace(frozen, SHAPE)
    assert network == trace(model(), SHAPE)
    shrink(frozen, network, KEEP)(torch.zeros(1, *SHAPE))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types(dtype: torch.dtype) -> None:
    before = model().to(dtype)
    after = shrink(before, trace(before, SHAPE), KEEP)
    assert {p.dtype for p in after.parameters()} == {dtype}


def test_memory_format() -> None:
    before = model().to(memory_format=torch.channels_last)
    after = shrink(before, trace(before, SHAPE), KEEP)
    assert after[0].weight.stride() == (27, 1, 9, 3)
    assert after[3].weight.stride() == (3, 1, 3, 3)  # a 1x1 kernel too
    plain = shrink(model(), trace(model(), SHAPE), KEEP)
    assert plain[3].weight.stride() == (3, 1, 1, 1)


class Tied(nn.Module):
    """An encoder whose weight its decoder shares."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 6, 3, bias=False)
        self.decoder = nn.ConvTranspose2d(6, 3, 3, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.relu(self.encoder(x)))


def test_tied_weights_stay_tied() -> None:
    before = Tied()
    network = trace(before, SHAPE)
    keep = {"encoder": (0, 2)}
    after = shrink(before, network, keep)
    assert after.decoder.weight is after.encoder.weight
    assert after.encoder.weight.shape == (2, 3, 3, 3)
    assert network.params({"encoder": 2}) == sum(p.numel() for p in after.parameters()) == 54
    x = torch.randn(2, *SHAPE)
    assert torch.allclose(after(x), mask(before, network, keep)(x), atol=1e-6)


def test_wrappers_are_looked_through() -> None:
    inner = model()
    for wrapped in (DataParallel(inner), torch.compile(inner)):
        network = trace(wrapped, SHAPE)
        assert network == trace(inner, SHAPE)
        assert type(shrink(wrapped, network, KEEP)) is nn.Sequential


def test_distributed_models_are_looked_through() -> None:
    distributed.init_process_group(store=distributed.HashStore(), rank=0, world_size=1,
                                   backend="gloo")  # fmt: skip
    try:
        inner = model()
        wrapped = DistributedDataParallel(inner)
        network = trace(wrapped, SHAPE)
        assert network == trace(inner, SHAPE)
        assert type(shrink(wrapped, network, KEEP)) is nn.Sequential
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (torch.compile(nn.Conv2d(3, 3, 1)), "is wrapped in OptimizedModule"),
        (nn.LazyConv2d(3, 1), "has no shapes yet"),
    ],
)
def test_parts_that_cannot_shrink_are_refused(part: nn.Module, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        trace(nn.Sequential(part, nn.Conv2d(3, 2, 1)), SHAPE)


def test_shrinking_twice_by_a_narrowed_network() -> None:
    before = model()
    network = trace(before, SHAPE)
    once = shrink(before, network, KEEP)
    narrowed = network.narrow(KEEP)
    assert narrowed == trace(once, SHAPE)
    twice = shrink(once, narrowed, {"0": (1, 2), "3": (1,)})
    direct = shrink(before, network, {"0": (4, 5), "3": (3,)})
    x = torch.randn(2, *SHAPE)
    assert torch.equal(twice.eval()(x), direct.eval()(x))


def test_keeping_everything_changes_nothing() -> None:
    before = model().eval()
    network = trace(before, SHAPE)
    after = shrink(before, network, keep_first(network, {}))
    x = torch.randn(2, *SHAPE)
    assert torch.equal(after(x), before(x))


@pytest.mark.parametrize(
    ("keep", "error", "said"),
    [
        ({"nope": (0,)}, ValueError, "no channel group 'nope'"),
        ({"0": ()}, ValueError, "0 is out of range"),
        ({"0": (2, 1)}, ValueError, "must ascend within 0..5"),
        ({"0": (0, 6)}, ValueError, "must ascend within 0..5"),
        ({"5": (0,)}, ModelError, "may not shrink: it is an output of the network"),
    ],
)
def test_choices_that_do_not_fit_are_refused(
    keep: dict[str, tuple[int, ...]], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        shrink(model(), trace(model(), SHAPE), keep)


def test_a_model_that_is_not_the_one_traced_is_refused() -> None:
    network = trace(model(), SHAPE)
    other = shrink(model(), network, KEEP)
    with pytest.raises(ModelError, match=r"0\.weight should have shape \(6, 3, 3, 3\)"):
        shrink(other, network, KEEP)

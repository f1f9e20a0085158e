"""Each operation in the ways that it can be called: what is followed computes the same."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netadapt.errors import ModelError, ShapeError
from netadapt.network import Network, shrinkable
from netadapt.pruning.check import verify_groups
from netadapt.tracing import trace

torch.set_num_threads(1)

WIDTH = 8


class Between(nn.Module):
    """Two convolutions, and an operation between them on ``[2, 8, 6, 6]``."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run
        self.a = nn.Conv2d(3, WIDTH, 3, padding=1)
        with torch.no_grad():
            size = run(torch.zeros(2, WIDTH, 6, 6)).shape[1]
        self.b = nn.Conv2d(size, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.run(self.a(x)))


def checked(run: Callable[[Tensor], Tensor]) -> Network:
    model = Between(run)
    network = trace(model, (3, 6, 6))
    for check in verify_groups(model, network):
        exact = network.groups[check.group].exact
        assert check.status == ("equal" if exact else "shape-only"), check
    return network


def units(network: Network) -> int:
    """How many units the first convolution may lose one by one; none if it is fixed."""
    return next((group.size for group in shrinkable(network) if group.id == "a"), 0)


FOLLOWED = {
    "flip positions": lambda x: x.flip(2),
    "flip from the end": lambda x: x.flip(-1, -2),
    "flip a list": lambda x: torch.flip(x, [2, 3]),
    "flip by name": lambda x: x.flip(dims=(3,)),
    "flip channels": lambda x: x.flip(1),
    "flip all but images": lambda x: torch.flip(x, (1, -1)),
    "flip up and down": lambda x: torch.fliplr(torch.flipud(x)),
    "turn positions": lambda x: torch.rot90(x, 1, (2, 3)),
    "turn back": lambda x: x.rot90(-1, [3, -2]),
    "turn channels twice": lambda x: torch.rot90(x, k=2, dims=(1, 3)),
    "turn channels there and back": lambda x: torch.rot90(torch.rot90(x, 1, (1, 2)), 3, (1, 2)),
    "roll positions": lambda x: x.roll(1, 2),
    "roll lists": lambda x: x.roll((1, 2), (2, -1)),
    "roll by name": lambda x: torch.roll(x, shifts=2, dims=3),
    "roll by nothing": lambda x: x.roll(0, 1),
    "roll by all": lambda x: x.roll(WIDTH, 1),
    "roll back": lambda x: torch.roll(x, shifts=(-1, 3), dims=[-2, 3]),
    "mean": lambda x: x * x.mean(dim=(2, 3), keepdim=True),
    "sum": lambda x: x + x.sum(-1, True),
    "amax": lambda x: x * torch.amax(x, dim=[-1, -2], keepdim=True),
    "max": lambda x: x * torch.max(x, 3, keepdim=True).values,
    "max of two": lambda x: torch.max(x, x * 2),
    "min of two": lambda x: torch.min(x, other=-x),
    "norm": lambda x: x * x.norm(p=2, dim=(2, 3), keepdim=True),
    "norm of torch": lambda x: x * torch.norm(x, 2, [2, 3], keepdim=True),
    "norm of linalg": lambda x: x * torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True),
    "std": lambda x: x * x.std(dim=(2, 3), keepdim=True),
    "var": lambda x: x / (x.var((2, 3), keepdim=True) + 1),
    "var and mean": lambda x: x - torch.var_mean(x, dim=(2, 3), keepdim=True)[1],
    "logsumexp": lambda x: x * x.logsumexp((2, 3), keepdim=True),
    "cat back": lambda x: torch.cat((x, x), dim=-3),
    "cat by name": lambda x: torch.cat(tensors=[x, -x], dim=1),
    "cat rows": lambda x: torch.cat([x, x], -2),
    "concat": lambda x: torch.concat([x, x], axis=1),
    "stack": lambda x: torch.stack((x, -x), dim=-1).mean(-1),
    "stack and flatten": lambda x: torch.stack([x, -x], 1).flatten(1, 2),
    "interleave": lambda x: torch.stack([x, -x], 2).flatten(1, 2),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "tile": lambda x: torch.tile(x, (1, 2, 1, 1)),
    "repeat each": lambda x: x.repeat_interleave(2, dim=1),
    "repeat each of torch": lambda x: torch.repeat_interleave(x, 3, 1),
    "expand": lambda x: x * x.mean((2, 3), keepdim=True).expand(-1, -1, 6, 6),
    "expand by shape": lambda x: x * x.mean((2, 3), keepdim=True).expand(x.shape),
    "expand by size": lambda x: x * x.mean((2, 3), keepdim=True).expand(*x.size()),
    "expand as": lambda x: x * x.mean((2, 3), keepdim=True).expand_as(x),
    "broadcast": lambda x: x * torch.broadcast_to(x.mean((2, 3), True), x.shape),
    "softmax over positions": lambda x: F.softmax(x.flatten(2), dim=-1).view_as(x),
    "log softmax": lambda x: x.log_softmax(-1),
    "cumsum of rows": lambda x: torch.cumsum(x, dim=-2),
    "sort of columns": lambda x: torch.sort(x, dim=-1).values,
    "topk": lambda x: x.topk(3, -1)[0],
    "transpose back": lambda x: x.transpose(1, -1).transpose(-1, 1),
    "swapaxes": lambda x: x.swapaxes(1, 2).swapaxes(1, 2),
    "permute list": lambda x: x.permute([0, 2, 3, 1]).permute(0, -1, 1, 2),
    "permute by name": lambda x: torch.permute(x, dims=(0, 1, 3, 2)),
    "T of rows": lambda x: x.mT,
    "movedim list": lambda x: x.movedim([1, 2], [2, 1]).movedim(1, 2),
    "narrow rows": lambda x: x.narrow(2, 1, 3),
    "select row": lambda x: x.select(2, 0).unsqueeze(-1),
    "index rows": lambda x: x[:, :, torch.tensor([2, 0, 1])],
    "gathered rows": lambda x: torch.index_select(x, 3, torch.tensor([1, 1])),
    "every other row": lambda x: x[..., 1::2, ::2],
    "none": lambda x: x[:, None].squeeze(1),
    "ellipsis": lambda x: x[..., :3],
    "unbind": lambda x: torch.stack(x.unbind(-1), -1),
    "split rows": lambda x: torch.cat(x.split([2, 4], dim=-1), -1),
    "squeeze": lambda x: x.mean((2, 3), keepdim=True).squeeze()[..., None, None],
    "squeeze two": lambda x: x.mean((2, 3), True).squeeze((2, 3))[:, :, None, None],
    "view as": lambda x: x.flatten(1).view_as(x),
    "reshape by name": lambda x: torch.reshape(x, shape=(x.shape[0], -1, 36))[..., None],
    "view of a size": lambda x: x.view(x.size()),
    "view of a sum": lambda x: x.view((*x.shape[:2], 36, 1)),
    "length": lambda x: x.view(len(x), -1, 6, 6),
    "numel": lambda x: x.reshape(x.shape[0], x[0].numel() // 36, 36, 1),
    "pad by name": lambda x: F.pad(input=x, pad=(1, 1, 0, 0), mode="replicate"),
    "pad channels": lambda x: F.pad(x, [0, 0, 0, 0, 1, 2]),
    "max pool": lambda x: F.max_pool2d(x, kernel_size=(2, 2), stride=2, ceil_mode=True),
    "positions of pooling": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "avg pool of pairs": lambda x: F.avg_pool2d(x, (2, 3), stride=(1, 2), count_include_pad=False),
    "lp pool": lambda x: F.lp_pool2d(x.abs() + 1, 2, 2),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, None)),
    "interpolate by size": lambda x: F.interpolate(
        x, size=[12, 9], mode="bilinear", align_corners=False
    ),
    "interpolate to a shape": lambda x: F.interpolate(x, x.shape[2:]),
    "unfold": lambda x: F.unfold(x, 3, padding=1)[..., None],
    "fold": lambda x: F.fold(F.unfold(x, (2, 2), stride=2), (6, 6), (2, 2), stride=2),
    "windows": lambda x: x.unfold(2, 3, 1).mean(-1),
    "sample": lambda x: F.grid_sample(x, torch.zeros(len(x), 4, 4, 2), align_corners=False),
    "clamp by name": lambda x: x.clamp(min=0.1),
    "clip": lambda x: torch.clip(x, -1, max=1),
    "hardtanh": lambda x: F.hardtanh(x, min_val=-2.0, max_val=2.0),
    "relu in place": lambda x: F.relu(x, inplace=True),
    "where": lambda x: torch.where(x > 0, input=x, other=0.1),
    "lerp": lambda x: torch.lerp(x, -x, 0.3),
    "masked": lambda x: x.masked_fill(x < 0, 0.5),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=0.5),
    "in place": lambda x: x.mul_(2).add_(x),
    "reversed": lambda x: 1 - x,
    "quotient": lambda x: 1 / (x.abs() + 1),
    "power": lambda x: x**2,
    "two to the power": lambda x: 2**x,
    "negative": lambda x: -x,
    "mod": lambda x: x % 1.5,
    "fill": lambda x: torch.zeros_like(x).copy_(x),
    "zeros": lambda x: x + x.new_zeros(x.shape),
    "ones": lambda x: x * torch.ones(x.shape[0], x.shape[1], 1, 1),
    "random": lambda x: x + 0 * torch.rand(*x.shape),
    "cast": lambda x: x.to(torch.float32).type_as(x),
    "contiguous": lambda x: x.contiguous(memory_format=torch.channels_last),
    "einsum": lambda x: torch.einsum("nchw,nchw->nch", x, x)[..., None],
    "einsum with dots": lambda x: torch.einsum("n...w,n...w->n...", x, x)[..., None],
    "shuffle": lambda x: F.channel_shuffle(x, 1),
    "unshuffle": lambda x: F.pixel_unshuffle(x, downscale_factor=2),
    "double": lambda x: torch.fft.irfft2(torch.fft.rfft2(x), s=(6, 6)),
    "slice of all": lambda x: x[:, :100],
    "slice from nothing": lambda x: x[:, 0:],
    "dims": lambda x: x if x.dim() == 4 and x.ndim == 4 and len(x.shape) == 4 else x * 0,
}


@pytest.mark.parametrize("run", FOLLOWED.values(), ids=FOLLOWED)
def test_every_channel_may_go_alone(run: Callable[[Tensor], Tensor]) -> None:
    assert units(checked(run)) == WIDTH


PAIRS = {
    "halves": lambda x: x[:, : x.shape[1] // 2] * x[:, x.shape[1] // 2 :],
    "chunks": lambda x: torch.cat(torch.chunk(x, chunks=2, dim=-3)[::-1], 1),
    "split": lambda x: torch.mul(*x.split(x.size(1) // 2, dim=1)),
    "split by name": lambda x: torch.mul(
        *torch.split(x, split_size_or_sections=x.size(-3) // 2, dim=1)
    ),
    "sections": lambda x: torch.mul(*x.split([x.shape[1] // 2] * 2, 1)),
    "tensor split": lambda x: torch.mul(*x.tensor_split(2, dim=1)),
    "even and odd": lambda x: x[:, ::2] * x[:, 1::2],
    "glu": lambda x: F.glu(x, dim=-3),
    "from the end": lambda x: x[:, -(x.shape[1] // 2) :] * x[:, : -(x.shape[1] // 2)],
    "roll by half": lambda x: x.roll(x.shape[1] // 2, 1),
    "roll back by half": lambda x: x.roll(-(x.shape[1] // 2), 1),
    "narrow": lambda x: (
        x.narrow(1, 0, x.shape[1] // 2) * x.narrow(1, x.shape[1] // 2, x.shape[1] // 2)
    ),
    "shuffle": lambda x: F.channel_shuffle(x, 2),
    "shuffle by view": lambda x: (
        x.view(x.shape[0], 2, x.shape[1] // 2, 6, 6).transpose(1, 2).reshape(x.shape)
    ),
    "halves of a view": lambda x: x.view(x.shape[0], 2, -1, 6, 6).sum(1),
    "pairs by unflatten": lambda x: x.unflatten(1, (-1, 2)).flatten(1, 2),
    "halves unbound": lambda x: torch.mul(*x.view(x.shape[0], 2, -1, 6, 6).unbind(1)),
    "halves selected": lambda x: x.unflatten(1, (2, -1))[:, 1] * x.unflatten(1, (2, -1))[:, 0],
}


@pytest.mark.parametrize("run", PAIRS.values(), ids=PAIRS)
def test_channels_go_in_pairs(run: Callable[[Tensor], Tensor]) -> None:
    assert units(checked(run)) == WIDTH // 2


INEXACT = {
    "mean": lambda x: x - x.mean(1, keepdim=True),
    "amax": lambda x: x * x.amax(dim=-3, keepdim=True),
    "max": lambda x: x * x.max(dim=1, keepdim=True)[0],
    "var": lambda x: x / (x.var(1, keepdim=True) + 1),
    "softmax": lambda x: x.softmax(1),
    "softmax in two dimensions": lambda x: nn.Softmax2d()(x),
    "local response": lambda x: F.local_response_norm(x, 2),
    "number": lambda x: x / x.shape[1],
    "layer norm": lambda x: F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1),
    "group norm": lambda x: F.group_norm(x, 1),
    "size of a root": lambda x: x * x.shape[1] ** -0.5,
}


@pytest.mark.parametrize("run", INEXACT.values(), ids=INEXACT)
def test_what_depends_on_the_other_channels_is_not_exact(run: Callable[[Tensor], Tensor]) -> None:
    network = checked(run)
    assert units(network) == WIDTH
    assert not network.groups["a"].exact


SUMMED = {
    "sum": lambda x: x * x.sum(1, keepdim=True),
    "norm": lambda x: x * x.norm(dim=1, keepdim=True),
    "normalize": lambda x: F.normalize(x, dim=1),
    "normalize by name": lambda x: F.normalize(x, p=2.0, dim=-3),
    "gram": lambda x: (x.flatten(2) @ x.flatten(2).mT @ x.flatten(2)).view_as(x),
    "bmm": lambda x: torch.bmm(x.flatten(2), torch.bmm(x.flatten(2).mT, x.flatten(2))).view_as(x),
    "einsum": lambda x: torch.einsum("nchw,nchw->nhw", x, x)[:, None] * x,
    "attention": lambda x: torch.matmul(
        x.flatten(2), torch.matmul(x.flatten(2).transpose(1, 2), x.flatten(2)).softmax(-1)
    ).unflatten(2, (6, 6)),
}


@pytest.mark.parametrize("run", SUMMED.values(), ids=SUMMED)
def test_sums_over_channels_agree_with_zeros(run: Callable[[Tensor], Tensor]) -> None:
    network = checked(run)
    assert units(network) == WIDTH
    assert network.groups["a"].exact


def test_parts_of_unequal_size_lose_the_same_positions() -> None:
    # 8 channels in chunks of 3, 3 and 2: positions 0 and 1 of all, position 2 of the first two
    chunks = checked(lambda x: torch.cat(x.chunk(3, 1)[::-1], 1))
    assert [(g.size, g.channels_per_unit) for g in shrinkable(chunks) if "a" in g.id] == [(2, 3)]
    assert "some of its channels" in {f.layer: f.reason for f in chunks.fixed}["a"]
    # the same by a size that is derived from them; and parts of 3, 3 and 2 by their number
    pieces = checked(lambda x: torch.cat(x.tensor_split(3, 1), 1))
    assert units(pieces) == 2


FIXED = {
    "roll": lambda x: x.roll(1, 1),
    "roll all": lambda x: x.roll(1),
    "cumsum": lambda x: x.cumsum(1),
    "sort": lambda x: x.sort(dim=1)[0],
    "slice": lambda x: x[:, 2:],
    "index": lambda x: x[:, [3, 1]],
    "one": lambda x: x[:, 0][:, None],
    "view": lambda x: x.view(x.shape[0], 4, 2, 6, 6).flatten(1, 2),
    "argmax": lambda x: x * x.argmax(1, keepdim=True),
    "reflect": lambda x: F.pad(x, (0, 0, 0, 0, 1, 1), "circular"),
    "split": lambda x: torch.cat(x.split(3, 1)[::-1], 1),
    "fft": lambda x: torch.fft.fft(x, dim=1).real,
}


@pytest.mark.parametrize("run", FIXED.values(), ids=FIXED)
def test_what_cannot_be_followed_is_fixed_with_a_reason(run: Callable[[Tensor], Tensor]) -> None:
    network = checked(run)
    assert units(network) == 0
    assert "feeds" in {fixed.layer: fixed.reason for fixed in network.fixed}["a"]


@pytest.mark.parametrize("inputs", [None, 3, "abc", (), (-1, 8, 8), (3, 0, 8), (3.5, 8, 8), ("a",)])
def test_what_is_no_shape_is_told(inputs):
    with pytest.raises(ShapeError, match=r"is no shape of an image; give sizes"):
        trace(nn.Conv2d(3, 8, 3), inputs)


@pytest.mark.parametrize("model", [None, len, "resnet18", nn.Conv2d])
def test_what_is_no_module_is_told(model):
    with pytest.raises(ModelError, match=r"cannot be traced; give a torch\.nn\.Module"):
        trace(model, (3, 8, 8))

"""Kinds of networks from the field: what may shrink, what a trace leaves behind, what it counts."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netadapt.errors import ModelError
from netadapt.export import onnx_difference, to_onnx
from netadapt.network import Network, keep_first, shrinkable
from netadapt.pruning.check import verify_groups
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace

torch.set_num_threads(1)

SHAPE = (3, 8, 8)


def checked(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> Network:
    network = trace(model, shape)
    for check in verify_groups(model, network, shape):
        exact = network.groups[check.group].exact
        assert check.status == ("equal" if exact else "shape-only"), check
    return network


def sizes(network: Network) -> dict[str, int]:
    return {group.id: group.size for group in shrinkable(network)}


def reasons(network: Network) -> dict[str, str]:
    return {fixed.layer: fixed.reason for fixed in network.fixed}


def halved(model: nn.Module, network: Network) -> nn.Module:
    return shrink(
        model, network, keep_first(network, {g: (n + 1) // 2 for g, n in sizes(network).items()})
    )


class Marked(nn.Module):
    """Keeps a grid, sizes and results on itself, and converts a constant, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
        self.grid, self.size, self.seen = torch.empty(0), None, []
        self.mean = torch.zeros(1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.mean = self.mean.type_as(x)
        y = self.a(x - self.mean)
        self.features = y
        self.seen.append(y)
        if self.size != y.shape:
            self.grid, self.size = torch.arange(y.shape[-1], dtype=y.dtype), y.shape
        return self.b(y) + self.grid


class Guarded(nn.Module):
    """Decides by sizes, and scales its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2 or len(x) == 0:
            raise ValueError("sizes must be even")
        assert x.shape[2] == x.shape[3], "square images only"
        return self.b(
            F.interpolate(self.a(x.div_(2).sub_(0.5)), scale_factor=2) * torch.tensor([0.5])
        )


class Deciding(nn.Module):
    """Decides by values, so that shapes alone cannot follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(y.relu() if float(x.sum()) == float(x.sum()) else y)


class Hooked(nn.Sequential):
    """Has a hook of the user's on a layer."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
        self.calls: list[str] = []
        self[0].register_forward_hook(lambda *_: self.calls.append("called"))


def normed() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 8, 1)), nn.Conv2d(8, 4, 1))


CAPTURED = {"marked": Marked, "guarded": Guarded, "deciding": Deciding,
            "old weight norm": normed}  # fmt: skip


def state_of(model: nn.Module) -> dict[str, object]:
    """Every attribute of every module, by identity where nothing else compares."""
    found: dict[str, object] = {}
    for path, module in model.named_modules():
        for name, held in vars(module).items():
            if isinstance(held, dict | list):
                found[f"{path}.{name}"] = [
                    id(part) for part in (held.values() if isinstance(held, dict) else held)
                ]
            else:
                found[f"{path}.{name}"] = held if isinstance(held, int | str | bool) else id(held)
    return found


@pytest.mark.parametrize("make", CAPTURED.values(), ids=CAPTURED)
@pytest.mark.parametrize("training", [False, True])
def test_a_model_is_the_same_object_in_the_same_state_after_all(
    make: Callable[[], nn.Module], training: bool
) -> None:
    model = make().train(training)
    before = state_of(model)
    values = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = checked(model)
    small = halved(model, network)
    images = torch.ones(2, *SHAPE)
    if not isinstance(model, Deciding):  # which no exporter follows
        assert onnx_difference(to_onnx(model, SHAPE), model, images) < 1e-5
    assert state_of(model) == before
    assert all(torch.equal(values[name], held) for name, held in model.state_dict().items())
    assert torch.equal(images, torch.ones(2, *SHAPE))  # each run had its own copy
    assert sizes(network) == {"a" if hasattr(model, "a") else "0": 8}
    model(torch.ones(2, *SHAPE))
    small(torch.ones(2, *SHAPE))


def test_hooks_of_the_user_see_no_trace() -> None:
    model = Hooked()
    assert sizes(trace(model, SHAPE)) == {"0": 8}
    assert model.calls == []


class Attributed(nn.Module):
    """Widths that the module holds as numbers of its own."""

    def __init__(self, run: Callable[["Attributed", Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run, self.width, self.parts, self.both = run, 4, [4, 4], 8
        self.gamma = nn.Parameter(torch.rand(8))
        self.register_buffer("blur", torch.full((8, 1, 3, 3), 1 / 9))
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b, self.c = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.d = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.d(self.run(self, self.a(x)))


def rejoined(m: Attributed, parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([m.b(parts[0]), m.c(parts[1])], 1)


def partly(m: Attributed, x: Tensor) -> Tensor:
    x = x.clone()
    x[:, : m.width] = m.b(x[:, : m.width])
    x[..., 0] = 0
    x[:, :, :2] = x[:, :, 2:4]
    return x


ATTRIBUTES = {
    "split": (lambda m, x: rejoined(m, torch.split(x, m.width, 1)), 4, ["width"]),
    "sections": (lambda m, x: rejoined(m, x.split(m.parts, dim=1)), 4, ["parts"]),
    "slices": (lambda m, x: rejoined(m, (x[:, : m.width], x[:, m.width :])), 4, ["width"]),
    "view": (lambda m, x: x.view(len(x), m.both, -1).view(len(x), m.both, 8, 8), 8, ["both"]),
    "groups": (lambda m, x: F.conv2d(x, m.blur, padding=1, groups=m.both), 8, ["both"]),
    "vector": (lambda m, x: x * m.gamma.view(1, m.both, 1, 1), 8, ["both"]),
    "part written": (lambda m, x: partly(m, x), 4, ["width"]),
    "rest": (lambda m, x: x.narrow(1, 0, m.both - m.width).repeat(1, 2, 1, 1), 4, None),
    "all": (lambda m, x: x[:, : m.both], 8, []),
}


@pytest.mark.parametrize(("run", "units", "attrs"), ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_a_width_in_an_attribute_is_set_anew(
    run: Callable[[Attributed, Tensor], Tensor], units: int, attrs: list[str] | None
) -> None:
    model = Attributed(run)
    network = checked(model)
    if attrs is None:
        return
    first = {slot.tensor: group for group in shrinkable(network) for slot in group.slots}
    assert sum(g.size for g in {g.id: g for t, g in first.items() if t == "a.weight"}.values()) >= 4
    assert [spec.attr for spec in network.attrs if not spec.module] == attrs


def test_groups_of_different_sizes_split_by_a_list_stay_apart() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.widths = [2, 6]
            self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(2, 4, 1), nn.Conv2d(6, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            p, q = self.a(x).split(self.widths, 1)
            return self.b(p) + self.c(q)

    network = checked(Net())
    assert sorted(sizes(network).values()) == [2, 6]
    (first, second) = [group.id for group in shrinkable(network)]
    assert network.attributes({first: 1, second: 3})[""] == {"widths": (1, 3)}
    small = shrink(Net(), network, {first: (0,), second: (0, 2, 4)})
    assert small.widths == [1, 3]


def test_what_no_attempt_can_run_is_refused_by_the_models_own_words() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("only on Sundays")

    with pytest.raises(ModelError, match=r"1x3x8x8: .*, line \d+: ValueError: only on Sundays"):
        trace(Broken(), SHAPE)


def test_grouped_convolutions_lose_whatever_leaves_more_choices() -> None:
    wide = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 3, groups=4), nn.Conv2d(32, 2, 1))
    assert sizes(checked(wide)) == {"0": 8, "1": 8}  # one channel from each of 4 groups
    assert [s.groups for s in trace(wide, SHAPE).at({"0": 5, "1": 3})] == [1, 4, 1]
    many = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 3, groups=16), nn.Conv2d(32, 2, 1))
    assert sizes(checked(many)) == {"0": 16}  # a group of 2 in, 2 out


def test_whole_groups_that_a_shuffle_ties_to_one_lose_a_channel_of_each() -> None:
    grouped = nn.Conv2d(32, 32, 1, groups=16)
    again, last = nn.Conv2d(32, 32, 1, groups=16), nn.Conv2d(32, 2, 1)
    model = nn.Sequential(nn.Conv2d(3, 32, 1), grouped, nn.ChannelShuffle(16), again, last)
    assert sum(sizes(checked(model)).values()) >= 4


class Shaped(nn.Module):
    """A convolution whose weight is computed by a function."""

    def __init__(self, weigh: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 2, 1)
        self.weigh = weigh

    def forward(self, x: Tensor) -> Tensor:
        return self.c(F.conv2d(self.a(x), self.weigh(self.b.weight), self.b.bias, padding=1))


@pytest.mark.parametrize(
    "weigh",
    [
        lambda w: w - w.mean((1, 2, 3), keepdim=True),
        lambda w: F.normalize(w.flatten(1), dim=1).view_as(w),
        lambda w: w / w.norm(dim=1, keepdim=True), lambda w: w.tanh() * 2, lambda w: w.flip(3) + w,
        lambda w: F.batch_norm(w.flatten(1)[None], None, None, training=True).reshape_as(w),
    ],
)  # fmt: skip
def test_convolutions_with_computed_weights_shrink_and_are_counted(
    weigh: Callable[[Tensor], Tensor],
) -> None:
    network = checked(Shaped(weigh))
    assert sizes(network) == {"a": 8, "b": 6}
    # 3*8*64 + 8*6*9*64 + 6*2*64, and nothing of what computes the weight
    assert network.macs({}) == 1536 + 27648 + 768
    assert [layer.op for layer in network.costed] == ["conv"] * 3


def test_a_sliced_weight_is_fixed_for_a_true_reason_and_counted() -> None:
    network = checked(Shaped(lambda w: torch.cat([w[:3], w[3:] * 2])))
    assert sizes(network) == {"a": 8, "b#2": 3}  # the rows that the slice counts stay
    assert network.macs({}) == 1536 + 27648 + 768
    assert "constant in the code" in reasons(network)["b"]


def test_every_convolution_that_keeps_its_width_is_listed() -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.eyes = nn.Conv2d(3, 3, 3, groups=3)
            self.a = nn.Conv2d(3, 8, 1)
            self.deep = nn.Conv2d(8, 8, 3, groups=8)
            self.b = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.deep(self.a(self.eyes(x)))[:, :4])

    said = reasons(trace(Kept(), (3, 8, 8)))
    assert said["eyes"].endswith("such as the network's input")
    assert "constant in the code" in said["a"]
    assert said["deep"] == said["a"]
    assert said.keys() == {"eyes", "a", "deep", "b"}


def test_training_code_that_does_not_run_is_told_of() -> None:
    class Targeted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
            self.aux = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise ValueError("targets should not be none")
            return self.b(self.a(x))

    network = trace(Targeted(), (3, 8, 8))
    assert network.untrained == "targets should not be none"
    assert "training does not run" in reasons(network)["aux"]
    assert trace(Targeted(), (3, 8, 8), training=False).untrained == ""


def test_heads_of_an_attention_lose_the_same_channels_and_a_bias_of_positions_makes_none() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = 2
            self.a, self.qkv = nn.Conv2d(3, 8, 1), nn.Linear(8, 24)
            self.bias = nn.Parameter(torch.randn(16, 16, 2))
            self.proj, self.b = nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x).flatten(2).mT
            n, size, c = x.shape
            qkv = self.qkv(x).reshape(n, size, 3, self.heads, c // self.heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            scores = q @ k.mT + self.bias.permute(2, 0, 1)
            y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, size, c)
            return self.b(x + self.proj(y))

    network = checked(Attention(), (3, 4, 4))
    # 8 channels are 2 heads of 4: one of each goes, from x, q, k, v and the sum
    assert sizes(network) == {"a": 4}
    assert reasons(network).keys() == {"b"}
    assert [layer.op for layer in network.costed].count("matmul") == 2


def test_products_of_tensors_are_layers() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.q, self.k, self.v = (
                nn.Conv2d(3, 8, 1),
                *(nn.Conv2d(8, 4, 1) for _ in range(3)),
            )
            self.o = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            n, _, h, w = x.shape
            x = self.a(x)
            q, k, v = (layer(x).flatten(2) for layer in (self.q, self.k, self.v))
            return self.o((v @ (q.transpose(1, 2) @ k).softmax(-1)).view(n, -1, h, w))

    network = checked(Attention())
    assert sizes(network) == {"a": 8, "q": 4, "v": 4}
    products = [shape for shape in network.at({"q": 3}) if shape.op == "matmul"]
    assert [shape.macs for shape in products] == [64 * 64 * 3, 64 * 64 * 4]
    assert sum(shape.weights for shape in products) == 0


def test_neighbours_among_channels_blur_and_vectors_over_rows_do_not_fix() -> None:
    class Eca(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.mix, self.b = (
                nn.Conv2d(3, 8, 1),
                nn.Conv1d(1, 1, 3, padding=1),
                nn.Conv2d(8, 2, 1),
            )
            self.rows = nn.Parameter(torch.rand(1, 1, 8, 1))

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x) * self.rows
            y = self.mix(x.mean((2, 3))[:, None]).transpose(1, 2).unsqueeze(-1)
            return self.b(x * y.sigmoid().expand_as(x))

    network = checked(Eca())
    assert sizes(network) == {"a": 8}
    assert not network.groups["a"].exact


def test_squeezing_all_dimensions_keeps_two_channels() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).mean((2, 3), keepdim=True).squeeze())

    network = checked(Net())
    assert network.groups["a"].choices(1) == (3, 2)


def test_one_slope_for_all_channels_has_none_to_lose() -> None:
    network = checked(nn.Sequential(nn.Conv2d(3, 8, 1), nn.PReLU(), nn.Conv2d(8, 2, 1)))
    assert reasons(network)["1"] == "has no channels"


class Merged(nn.Module):
    """Writes the product of two convolutions into a third, which evaluation uses."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide, self.narrow = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(8, 12, 1),
            nn.Conv2d(12, 6, 1),
        )
        self.merged, self.last = nn.Conv2d(8, 6, 1, bias=False), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.training:
            return self.last(F.conv2d(F.conv2d(x, self.wide.weight), self.narrow.weight))
        product = self.narrow.weight.flatten(1) @ self.wide.weight.flatten(1)
        self.merged.weight.data = product[:, :, None, None]
        return self.last(self.merged(x))


def test_a_weight_that_the_code_overwrites_shrinks_with_what_it_is_computed_from() -> None:
    network = checked(Merged())
    assert sum(group.size for group in shrinkable(network)) >= 8 + 6
    assert "merged.weight" in {s.tensor for g in shrinkable(network) for s in g.slots}


class Computed(nn.Module):
    """A convolution of each image by kernels that are computed from it, images as groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.k, self.b = nn.Conv2d(3, 8, 1), nn.Linear(8, 8 * 9), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        n, c, h, w = x.shape
        kernels = self.k(x.mean((2, 3))).view(n * c, 1, 3, 3)
        x = F.conv2d(x.reshape(1, n * c, h, w), kernels, padding=1, groups=n * c)
        return self.b(x.view(n, c, h, w))


def test_images_side_by_side_as_channels_count_once() -> None:
    network = checked(Computed())
    pixels = 8 * 8
    assert network.macs({}) == (3 * 8 + 8 * 9 + 8 * 2) * pixels + 8 * 8 * 9
    assert "" not in reasons(network)


class Kernels(nn.Module):
    """A sum of several kernels by learned shares."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(12, 2, 1)
        self.kernels = nn.Parameter(torch.randn(4, 12, 8, 3, 3))
        self.shares = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        kernel = torch.einsum("k,koihw->oihw", self.shares.softmax(0), self.kernels)
        return self.b(F.conv2d(self.a(x), kernel, padding=1))


def test_several_kernels_in_one_tensor_shrink_on_both_sides() -> None:
    assert sorted(sizes(checked(Kernels())).values()) == [8, 12]


class Padded(nn.Module):
    """A shortcut that pads channels by a number that the module holds."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 1), nn.Conv2d(12, 2, 1)
        self.extra = 2

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.c(self.b(x) + F.pad(x, (0, 0, 0, 0, self.extra, self.extra)))


def test_channels_padded_by_an_attribute_are_nobodys() -> None:
    network = checked(Padded())
    assert sizes(network) == {"a": 8}
    assert reasons(network)["b"].startswith("some of its channels: ")


class Turned(nn.Module):
    """A spatial transformer, and parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.where, self.b = nn.Conv2d(3, 8, 1), nn.Linear(8, 6), nn.Conv2d(8, 2, 1)
        self.rows = nn.Parameter(torch.randn(1, 1, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        turn = self.where(x.mean((2, 3))).view(-1, 2, 3)
        grid = F.affine_grid(turn, x.size(), align_corners=False)
        return self.b(F.grid_sample(x, grid, align_corners=False) * self.rows)


def test_a_spatial_transformer_may_shrink_and_own_parameters_have_a_name() -> None:
    network = checked(Turned())
    assert sizes(network) == {"a": 8}
    assert reasons(network)["rows"] == "has no channels"


def test_several_filters_for_each_channel_of_an_image_shrink_evenly() -> None:
    model = nn.Sequential(nn.Conv2d(3, 24, 1, groups=3), nn.ReLU(), nn.Conv2d(24, 2, 1))
    assert sizes(checked(model)) == {"0": 8}


class Sliced(nn.Module):
    """Takes channels at constant positions, from the first or from the last."""

    def __init__(self, key: slice) -> None:
        super().__init__()
        self.key = key
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.c = nn.Conv2d(len(range(8)[key]), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x) + self.c(x[:, self.key])


@pytest.mark.parametrize(
    ("key", "free"),
    [
        (slice(None, 2), 6),
        (slice(2, None), 6),
        (slice(1, 3), 5),
        (slice(-3, None), 5),
        (slice(None, -3), 5),
        (slice(1, -1), 6),
        (slice(-3, -1), 5),
    ],
)
def test_channels_beyond_a_constant_slice_may_go(key: slice, free: int) -> None:
    network = checked(Sliced(key))
    assert sum(sizes(network).values()) == free
    assert reasons(network)["a"].startswith("some of its channels: ")

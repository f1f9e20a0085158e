"""Each operation in a small network: what is coupled, what may shrink, and that values agree."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netadapt.network import Network, shrinkable
from netadapt.pruning.check import verify_groups
from netadapt.tracing import trace

torch.set_num_threads(1)


def checked(model: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> Network:
    """Trace, and compare pruned with masked for every group in both modes."""
    network = trace(model, shape)
    for check in verify_groups(model, network, shape):
        exact = network.groups[check.group].exact
        assert check.status == ("equal" if exact else "shape-only"), check
    return network


def sizes(network: Network) -> dict[str, int]:
    return {group.id: group.size for group in shrinkable(network)}


def reason(network: Network, layer: str) -> str:
    return {fixed.layer: fixed.reason for fixed in network.fixed}[layer]


def conv(cin: int, cout: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, padding=kernel // 2, **options)


class Net(nn.Module):
    """Layers by name, and a function of them and the image."""

    def __init__(self, run: object, **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


def test_a_chain_has_a_group_for_each_layer_but_the_last() -> None:
    network = checked(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4)))
    assert sizes(network) == {"0": 8}
    assert reason(network, "3") == "is an output of the network"
    slots = {(slot.tensor, slot.dim): slot.role for slot in network.groups["0"].slots}
    assert slots == {
        ("0.weight", 0): "out", ("0.bias", 0): "out", ("1.weight", 0): "channelwise",
        ("1.bias", 0): "channelwise", ("1.running_mean", 0): "channelwise",
        ("1.running_var", 0): "channelwise", ("3.weight", 1): "in",
    }  # fmt: skip


def test_layers_absorb_normalization_and_activation() -> None:
    network = trace(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU6(), conv(8, 4)), (3, 8, 8))
    assert [str(shape) for shape in network.at({"0": 5})] == [
        "conv 3>5 k3x3 p1x1 8x8 bias relu6",
        "conv 5>4 k3x3 p1x1 8x8 bias",
    ]


def test_a_residual_sum_couples_its_branches_and_the_last_convolution_absorbs_it() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.a(x)
        return m.d(F.relu(x + m.c(F.relu(m.b(x)))))

    network = checked(Net(run, a=conv(3, 8), b=conv(8, 6), c=conv(6, 8), d=conv(8, 2)))
    assert sizes(network) == {"a": 8, "b": 6}
    assert [layer.residual for layer in network.layers] == [False, False, True, False]
    assert [layer.act for layer in network.layers] == ["", "relu", "relu", ""]


def test_a_sum_with_the_image_fixes_the_branch() -> None:
    network = checked(Net(lambda m, x: m.b(x + m.a(x)), a=conv(3, 3), b=conv(3, 2)))
    assert sizes(network) == {}
    assert "fixed width" in reason(network, "a")


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_is_tied_to_its_input(multiplier: int) -> None:
    wide = 8 * multiplier
    network = checked(
        nn.Sequential(conv(3, 8), conv(8, wide, groups=8), nn.BatchNorm2d(wide), conv(wide, 2))
    )
    assert sizes(network) == {"0": 8}
    (before, depthwise, after) = network.at({"0": 3})
    assert (before.cout, depthwise.cin, depthwise.cout, depthwise.groups) == (
        3, 3, 3 * multiplier, 3
    )  # fmt: skip
    assert after.cin == 3 * multiplier


def test_grouped_convolution_loses_whole_groups() -> None:
    network = checked(nn.Sequential(conv(3, 8), conv(8, 12, groups=4), conv(12, 2)))
    assert sizes(network) == {"0": 4}
    (group,) = shrinkable(network)
    assert group.channels_per_unit == 2
    (_, middle, _) = network.at({"0": 3})
    assert (middle.cin, middle.cout, middle.groups) == (6, 9, 3)
    assert network.attributes({"0": 3})["1"] == {
        "in_channels": 6, "out_channels": 9, "groups": 3,
    }  # fmt: skip


def test_squeeze_excite_by_pooling_or_by_mean() -> None:
    def by_mean(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.a(x)
        s = m.e(F.relu(m.s(x.mean((2, 3), keepdim=True))))
        return m.b(x * torch.sigmoid(s))

    def by_pool(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.a(x)
        s = m.e(F.relu(m.s(F.adaptive_avg_pool2d(x, 1))))
        return m.b(s.sigmoid().mul(x))

    for run in (by_mean, by_pool):
        network = checked(Net(run, a=conv(3, 8), s=conv(8, 4, 1), e=conv(4, 8, 1), b=conv(8, 2)))
        assert sizes(network) == {"a": 8, "s": 4}
        ops = [layer.op for layer in network.layers]
        assert ops == ["conv", "global_pool", "conv", "conv", "scale", "conv"]


def test_linear_squeeze_excite_with_views() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.a(x)
        b, c, _, _ = x.size()
        s = m.e(F.relu(m.s(F.adaptive_avg_pool2d(x, 1).view(b, c)))).view(b, c, 1, 1)
        return m.b(x * s.expand_as(x))

    network = checked(Net(run, a=conv(3, 8), s=nn.Linear(8, 4), e=nn.Linear(4, 8), b=conv(8, 2)))
    assert sizes(network) == {"a": 8, "s": 4}


def test_concatenation_keeps_groups_apart() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.c(m.n(torch.cat([m.a(x), x, m.b(x)], 1)))

    network = checked(Net(run, a=conv(3, 6), b=conv(3, 4), n=nn.BatchNorm2d(13), c=conv(13, 2)))
    assert sizes(network) == {"a": 6, "b": 4}
    concat = next(shape for shape in network.at({"a": 2, "b": 1}) if shape.op == "concat")
    assert (concat.inputs, concat.cout) == ((2, 3, 1), 6)


def test_chunks_stay_equal_and_constant_splits_are_fixed() -> None:
    def halves(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        a, b = m.a(x).chunk(2, dim=1)
        return m.b(a * torch.sigmoid(b))

    def derived(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.a(x)
        a, b = torch.split(x, x.shape[1] // 2, dim=1)
        return m.b(a * torch.sigmoid(b))

    def sliced(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.a(x)
        half = x.size(1) // 2
        return m.b(x[:, :half] * torch.sigmoid(x[:, half:]))

    def baked(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        a, b = torch.split(m.a(x), [4, 4], dim=1)
        return m.b(a * b)

    for run in (halves, derived, sliced):
        network = checked(Net(run, a=conv(3, 8), b=conv(4, 2)))
        assert sizes(network) == {"a": 4}
        assert network.groups["a"].channels_per_unit == 2
    network = checked(Net(baked, a=conv(3, 8), b=conv(4, 2)))
    assert sizes(network) == {}
    assert "constant" in reason(network, "a")


def test_halves_used_apart_stay_equal() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        a, b = m.a(x).chunk(2, dim=1)
        return m.b(a) + m.c(b)

    assert sizes(checked(Net(run, a=conv(3, 8), b=conv(4, 2), c=conv(4, 2)))) == {"a": 4}


@pytest.mark.parametrize("way", ["view", "module", "reshape"])
def test_channel_shuffle(way: str) -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.a(x)
        if way == "module":
            x = m.shuffle(x)
        else:
            b, c, h, w = x.shape
            x = x.view(b, 2, c // 2, h, w).transpose(1, 2)
            x = x.contiguous().view(b, c, h, w) if way == "view" else x.reshape(b, -1, h, w)
        return m.b(x)

    network = checked(Net(run, a=conv(3, 8), shuffle=nn.ChannelShuffle(2), b=conv(8, 2)))
    assert sizes(network) == {"a": 4}


def test_flatten_into_linear_gives_each_channel_its_pixels() -> None:
    for flat in (
        lambda x: x.flatten(1), lambda x: x.view(x.size(0), -1), lambda x: x.reshape(len_of(x), -1)
    ):  # fmt: skip
        network = checked(
            Net(lambda m, x, flat=flat: m.b(flat(m.a(x))), a=conv(3, 6), b=nn.Linear(6 * 64, 5))
        )
        assert sizes(network) == {"a": 6}
        into = next(slot for slot in network.groups["a"].slots if slot.role == "in")
        assert into.index[1] == tuple(range(64, 128))


def len_of(x: torch.Tensor) -> int:
    return x.shape[0]


def test_a_constant_number_of_features_in_a_view_is_fixed() -> None:
    network = checked(
        Net(lambda m, x: m.b(m.a(x).view(-1, 6 * 64)), a=conv(3, 6), b=nn.Linear(6 * 64, 5))
    )
    assert sizes(network) == {}
    assert "constant" in reason(network, "a")


def test_of_channels_sliced_at_a_constant_those_that_are_counted_stay() -> None:
    network = checked(Net(lambda m, x: m.b(m.a(x)[:, :4]), a=conv(3, 6), b=conv(4, 2)))
    assert sizes(network) == {"a#2": 2}  # the fifth and the sixth, which nothing reads
    assert "constant" in reason(network, "a")


def test_layer_norm_over_channels_is_not_exact() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.b(m.n(m.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    network = checked(Net(run, a=conv(3, 6), n=nn.LayerNorm(6), b=conv(6, 2)))
    assert sizes(network) == {"a": 6}
    assert not network.groups["a"].exact
    assert network.attributes({"a": 4})["n"] == {"normalized_shape": (4,)}


def test_group_norm_loses_whole_groups_and_is_exact() -> None:
    network = checked(nn.Sequential(conv(3, 12), nn.GroupNorm(4, 12), conv(12, 2)))
    assert sizes(network) == {"0": 4}
    assert network.attributes({"0": 3})["1"] == {"num_groups": 3, "num_channels": 9}
    single = checked(nn.Sequential(conv(3, 12), nn.GroupNorm(1, 12), conv(12, 2)))
    assert sizes(single) == {"0": 12}
    assert not single.groups["0"].exact


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(groups: int) -> None:
    up = nn.ConvTranspose2d(8, 6, 2, stride=2, groups=groups)
    network = checked(nn.Sequential(conv(3, 8), up, nn.BatchNorm2d(6), nn.ReLU(), conv(6, 2)))
    assert sizes(network) == ({"0": 8, "1": 6} if groups == 1 else {"0": 4, "1": 3})
    assert str(network.at({})[1]).endswith("8x8 to 16x16 bias relu")


def test_pixel_shuffle_merges_and_unshuffle_splits() -> None:
    network = checked(nn.Sequential(conv(3, 8), nn.PixelShuffle(2), conv(2, 2)))
    assert sizes(network) == {"0": 2}
    network = checked(nn.Sequential(conv(3, 4), nn.PixelUnshuffle(2), conv(16, 2)))
    assert sizes(network) == {"0": 4}


class Functional(nn.Module):
    """A convolution and normalization by function, with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(8, 3, 3, 3))
        self.b1 = nn.Parameter(torch.randn(8))
        self.scale = nn.Parameter(torch.rand(8, 1, 1))
        self.slope = nn.Parameter(torch.rand(8))
        self.w2 = nn.Parameter(torch.randn(2, 8, 1, 1))
        self.register_buffer("mean", torch.randn(8))
        self.register_buffer("var", torch.rand(8) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.conv2d(x, self.w1, self.b1, padding=1)
        x = F.batch_norm(x, self.mean, self.var, training=self.training)
        x = F.prelu(x * self.scale, self.slope)
        return F.conv2d(x, self.w2)


def test_functional_convolutions_with_raw_parameters() -> None:
    network = checked(Functional())
    (group,) = shrinkable(network)
    assert group.size == 8
    assert {slot.tensor for slot in group.slots} == {
        "w1", "b1", "scale", "slope", "w2", "mean", "var",
    }  # fmt: skip


def test_a_shared_module_couples_both_uses() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.out(m.s(F.relu(m.s(m.a(x)))))

    assert sizes(checked(Net(run, a=conv(3, 8), s=conv(8, 8), out=conv(8, 2)))) == {"a": 8}


def test_unknown_operations_are_fixed_and_named() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.b(torch.cdist(m.a(x), m.a(x)))

    network = checked(Net(run, a=conv(3, 6), b=conv(6, 2)))
    assert sizes(network) == {}
    said = reason(network, "a")
    assert said == "feeds torch.functional.cdist, an operation that netadapt does not know"


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x.softmax(1), lambda x: x - x.mean(1, keepdim=True), lambda x: x.flip(1),
        lambda x: x * x.amax(dim=1, keepdim=True), lambda x: x.cumsum(dim=1),
        lambda x: F.local_response_norm(x, 2), lambda x: F.normalize(x, dim=1),
        lambda x: (x.flatten(2) @ x.flatten(2).transpose(1, 2)) @ x.flatten(2),
    ],
)  # fmt: skip
def test_what_mixes_channels_is_fixed(mix: object) -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.c(mix(m.a(x)).reshape(x.shape[0], 6, 8, 8)) + m.b(x)

    network = checked(Net(run, a=conv(3, 6), b=conv(3, 2), c=conv(6, 2)))
    assert sizes(network) == {}
    assert reason(network, "a")


@pytest.mark.parametrize(
    "each",
    [
        lambda x: F.max_pool2d(x, 2), lambda x: F.interpolate(x, scale_factor=2.0),
        lambda x: F.pad(x, (1, 1, 1, 1)), lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
        lambda x: x.flatten(2).softmax(-1).unflatten(2, (8, 8)), lambda x: x.clamp(0, 6) * 2 + 1,
        lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: x.unsqueeze(2).squeeze(2),
        lambda x: torch.stack([x, x * 2]).sum(0), lambda x: torch.maximum(x, -x),
        lambda x: x[..., ::2, 1:], lambda x: x[:, None].squeeze(1), lambda x: F.glu(x, dim=3),
        lambda x: x.movedim(1, -1).movedim(-1, 1), lambda x: x.max(dim=2, keepdim=True)[0],
        lambda x: F.adaptive_max_pool2d(x, 3), lambda x: F.dropout(x, 0.5), lambda x: x.abs_(),
    ],
)  # fmt: skip
def test_what_keeps_channels_apart_is_followed(each: object) -> None:
    network = checked(Net(lambda m, x: m.b(each(m.a(x))), a=conv(3, 6), b=conv(6, 2)))
    assert sizes(network) == {"a": 6}


def test_padding_with_constant_channels_as_in_option_a_shortcuts() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.b(F.pad(m.a(x), (0, 0, 0, 0, 2, 2)))

    assert sizes(checked(Net(run, a=conv(3, 6), b=conv(10, 2)))) == {"a": 6}


def test_instance_norm_and_prelu() -> None:
    layers = [conv(3, 6), nn.InstanceNorm2d(6, affine=True), nn.PReLU(6), conv(6, 2)]
    network = checked(nn.Sequential(*layers))
    assert sizes(network) == {"0": 6}
    assert network.attributes({"0": 4})["2"] == {"num_parameters": 4}


def test_one_dimensional_networks() -> None:
    layers = [nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten()]
    network = checked(nn.Sequential(*layers, nn.Linear(6 * 7, 2)), (3, 16))
    assert sizes(network) == {"0": 6}


def test_modules_that_are_not_reached_are_listed() -> None:
    network = checked(Net(lambda m, x: m.b(m.a(x)), a=conv(3, 6), b=conv(6, 2), unused=conv(6, 2)))
    assert reason(network, "unused") == "is not reached by the forward pass"


def test_unknown_modules_keep_their_parameters() -> None:
    def run(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.lstm(m.a(x).flatten(2).transpose(1, 2))[0]

    lstm = nn.LSTM(6, 4, batch_first=True)
    network = checked(Net(run, a=conv(3, 6), lstm=lstm))
    assert sizes(network) == {}
    assert "lstm (LSTM)" in reason(network, "a")
    assert "LSTM" in reason(network, "lstm")


def test_computed_weights_shrink_where_they_come_from() -> None:
    normed = nn.utils.parametrizations.weight_norm(conv(3, 6))
    network = checked(nn.Sequential(normed, nn.ReLU(), conv(6, 2)))
    assert sizes(network) == {"0": 6}
    assert {slot.tensor for slot in network.groups["0"].slots if slot.dim == 0} == {
        "0.bias", "0.parametrizations.weight.original0", "0.parametrizations.weight.original1",
    }  # fmt: skip


class Auxiliary(nn.Module):
    """A second head that runs in training only, as in GoogLeNet."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.aux = conv(3, 6), conv(6, 2), nn.Sequential(conv(6, 4), conv(4, 2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.a(x)
        return (self.b(x), self.aux(x)) if self.training else (self.b(x),)


def test_heads_that_run_in_training_only_shrink_and_cost_nothing() -> None:
    network = checked(Auxiliary())
    assert sizes(network) == {"a": 6, "aux.0": 4}
    assert [layer.name for layer in network.costed] == ["a", "b"]
    assert [layer.name for layer in network.layers if not layer.inference] == ["aux.0", "aux.1"]

"""A network at other widths, cut from one export, against torch and against real exports."""

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

from netadapt import export
from netadapt.errors import ModelError
from netadapt.export.cuts import Cuts
from netadapt.export.exporter import Exporter
from netadapt.export.sources import Tensor
from netadapt.export.template import require_equal, require_same_values
from netadapt.export.widths import Ambiguous, Term, Widths, sizes_of, uneven_keep, widths_of
from netadapt.network import ChannelGroup, LayerSpec, Network, Slot, Width
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace

SIDE = 12
SHAPE = (3, SIDE, SIDE)


class Folds(nn.Module):
    """Normalizations that an exporter folds: plain, depthwise, grouped, transposed, linear."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2, 1, bias=False)
        self.stem_bn = nn.BatchNorm2d(12)
        self.deep = nn.Conv2d(12, 12, 3, 1, 1, groups=12)
        self.deep_bn = nn.BatchNorm2d(12, eps=1e-3)
        self.grouped = nn.Conv2d(12, 16, 3, 1, 1, groups=4, bias=False)
        self.grouped_bn = nn.BatchNorm2d(16, affine=False)
        self.up = nn.ConvTranspose2d(16, 10, 2, 2, bias=False)
        self.up_bn = nn.BatchNorm2d(10)
        self.hidden = nn.Linear(10, 9)
        self.hidden_bn = nn.BatchNorm1d(9)
        self.head = nn.Linear(9, 4)

    def forward(self, x):
        x = F.relu(self.stem_bn(self.stem(x)))
        x = F.hardswish(self.deep_bn(self.deep(x)))
        x = F.relu6(self.grouped_bn(self.grouped(x)))
        x = F.silu(self.up_bn(self.up(x)))
        return self.head(F.relu(self.hidden_bn(self.hidden(x.mean((2, 3))))))


class Shapes(nn.Module):
    """Widths in the constants of the graph: a shuffle, a concatenation, a split, a flattening."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 3, 2, 1)
        self.mix = nn.Conv2d(16, 11, 1)
        self.norm = nn.LayerNorm(11)
        self.wide = nn.Linear(11, 21)
        self.last = nn.Conv2d(21, 5, 1)
        self.head = nn.Linear(5 * 9, 4)

    def forward(self, x):
        x = torch.cat([self.left(x), self.right(x)], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        first, second = x.chunk(2, 1)
        x = self.mix(torch.cat([F.relu(first), second], 1))
        x = F.gelu(self.wide(self.norm(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        return self.head(F.max_pool2d(self.last(x), 2).flatten(1))


class Tied(nn.Module):
    """One weight under two names, a module used twice, and buffers that are cut and kept."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.twice = nn.Conv2d(8, 8, 3, 1, 1)
        self.again = nn.Conv2d(8, 8, 3, 1, 1)
        self.again.weight = self.twice.weight
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)
        self.register_buffer("gain", torch.tensor([1.5, 0.5, 2.0, 1.0]), persistent=False)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.norm(self.twice(F.relu(self.twice(x)) + x)))
        return self.head(self.again(x).mean((2, 3))) * self.gain


class Standardized(nn.Module):
    """A weight that is computed from another, so that no initializer of the graph is it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.body = nn.Conv2d(8, 6, 3, 1, 1)
        self.raw = nn.Parameter(torch.randn(4, 6, 1, 1))

    def forward(self, x):
        x = F.relu(self.body(F.relu(self.stem(x))))
        return F.conv2d(x, self.raw / self.raw.abs().sum()).mean((2, 3))


MODELS = [Folds, Shapes, Tied]


def randomized(model):
    """Weights and statistics none of which is zero, one, or equal to another."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.ndim == 1 and tensor.is_floating_point():
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


@cache
def exported(kind):
    """A model, its network and its exporter; exporting takes seconds, so once for all tests."""
    torch.manual_seed(0)
    model = randomized(kind())
    network = trace(model, SHAPE)
    return model, network, Exporter(model, network, batch=2)


def output_of(data, images):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]


def images(seed):
    return torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(seed))


def assert_computes(data, model, seed=0):
    with torch.no_grad():
        expected = model(images(seed)).numpy()
    found = output_of(data, images(seed))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@st.composite
def choices(draw, network):
    """Any units of any groups, down to one."""
    return {
        group.id: tuple(sorted(draw(st.sets(st.integers(0, group.size - 1), min_size=1))))
        for group in network.groups.values()
        if not group.fixed and draw(st.booleans())
    }


@pytest.mark.parametrize("kind", MODELS)
def test_each_kind_of_model_is_cut(kind):
    assert exported(kind)[2].remark == ""


@pytest.mark.parametrize("kind", MODELS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_cut_network_computes_what_torch_does(kind, data):
    model, network, exporter = exported(kind)
    keep = data.draw(choices(network))
    assert_computes(exporter.kept(keep), shrink(model, network, keep))


@pytest.mark.parametrize("kind", MODELS)
def test_weights_trained_since_take_the_place_of_the_original_ones(kind):
    model, network, exporter = exported(kind)
    keep = uneven_keep(network, 11)
    trained = shrink(model, network, keep)
    with torch.no_grad():
        for name, tensor in [*trained.named_parameters(), *trained.named_buffers()]:
            if tensor.is_floating_point():
                tensor.mul_(1.25 if name.endswith("var") else -0.75)
    data = exporter.shrunk(trained, sizes_of(keep))
    assert_computes(data, trained)
    assert data != exporter.kept(keep)


def optimized_ops(data, folder):
    """The nodes that ONNX Runtime runs, in order."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


@pytest.mark.parametrize("kind", MODELS)
def test_the_runtime_runs_a_cut_network_as_it_runs_an_exported_one(kind, tmp_path):
    model, network, exporter = exported(kind)
    keep = uneven_keep(network, 5)
    smaller = shrink(model, network, keep)
    real, ours = export.to_onnx(smaller, SHAPE, batch=2), exporter.kept(keep)
    assert optimized_ops(ours, tmp_path) == optimized_ops(real, tmp_path)
    np.testing.assert_allclose(
        output_of(ours, images(1)), output_of(real, images(1)), rtol=1e-3, atol=1e-4
    )


def test_normalizations_are_folded_as_by_hand():
    model, _, exporter = exported(Folds)
    graph = onnx.load_from_string(exporter.kept({})).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    factor = model.deep_bn.weight / (model.deep_bn.running_var + 1e-3).sqrt()
    bias = (model.deep.bias - model.deep_bn.running_mean) * factor + model.deep_bn.bias
    weight = held["deep.weight"]
    np.testing.assert_allclose(
        weight, (model.deep.weight * factor[:, None, None, None]).detach().numpy(), rtol=1e-5
    )
    np.testing.assert_allclose(held["deep.bias"], bias.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_a_model_whose_weights_are_computed_is_exported_anew_and_says_so():
    torch.manual_seed(0)
    model = randomized(Standardized())
    network = trace(model, SHAPE)
    exporter = Exporter(model, network)
    exporter.kept({})  # nothing is known before something is written
    assert exporter.remark.startswith(
        "Standardized is exported anew for each choice of widths, which takes seconds each time: "
    )
    keep = {"stem": (0, 2, 5)}
    smaller = shrink(model, network, keep)
    assert export.onnx_difference(exporter.kept(keep), smaller, images(0)) < export.TOLERANCE
    again = exporter.shrunk(smaller, {"stem": 3})
    assert export.onnx_difference(again, smaller, images(0)) < export.TOLERANCE


def test_a_template_that_cuts_the_wrong_units_is_found_out():
    model, network, exporter = exported(Tied)
    group = network.groups["stem"]
    slots = [
        replace(slot, index=slot.index[::-1]) if slot.tensor == "head.weight" else slot
        for slot in group.slots
    ]
    swapped = replace(network, groups={"stem": replace(group, slots=tuple(slots))})
    wrong = replace(exporter.template, cuts=Cuts.of(swapped))
    with pytest.raises(ModelError, match=r"Cut, it differs from torch by .* of the largest output"):
        require_same_values(wrong, model, 2)


def test_a_template_that_folds_otherwise_than_the_exporter_is_found_out():
    model, network, exporter = exported(Folds)
    template, keep = exporter.template, uneven_keep(network, 2)
    smaller = shrink(model, network, keep)
    real = onnx.load_from_string(export.to_onnx(smaller, SHAPE, batch=2))
    require_equal(template, real, sizes_of(keep), smaller)
    wrong = [
        replace(one, source=Tensor("stem.weight")) if one.name == "stem.weight" else one
        for one in template.initializers
    ]
    with pytest.raises(ModelError, match=r"stem\.weight of its graph is not what an export has"):
        require_equal(replace(template, initializers=tuple(wrong)), real, sizes_of(keep), smaller)


def net(**sizes):
    """A network of one convolution for each group, its output channels."""
    groups = {
        name: ChannelGroup(
            name, size, (Slot(f"{name}.weight", 0, "out", tuple((i,) for i in range(size))),)
        )
        for name, size in sizes.items()
    }
    layers = tuple(
        LayerSpec(name, "conv", Width(3), Width(0, ((name, 1),)), module=name) for name in sizes
    )
    return Network((3, 8, 8), layers, groups)


def test_an_integer_is_explained_by_the_width_it_follows():
    network = net(a=8, b=8, c=12)
    widths = Widths(network, [{}, {"a": 5, "b": 6, "c": 10}])

    def at(form, **sizes):
        return form.at(widths_of(network, sizes)) if isinstance(form, Term) else form

    assert widths.form((7, 7), "x") == 7
    assert at(widths.form((8, 6), "x"), b=3) == 3
    assert at(widths.form((24, 15), "x"), a=2) == 6  # three for each of a
    assert at(widths.form((9, 6), "x"), a=2) == 3  # one more than a


def test_integers_that_no_width_or_several_explain_are_refused():
    widths = Widths(net(a=8, b=8), [{}, {"a": 5, "b": 5}])
    with pytest.raises(Ambiguous, match=r"Several widths explain x, which is \(8, 5\)"):
        widths.form((8, 5), "x")
    with pytest.raises(ModelError, match=r"No width of the network explains x"):
        Widths(net(a=8), [{}, {"a": 5}, {"a": 4}]).form((8, 7, 3), "x")


def test_groups_of_one_size_keep_different_numbers_of_units():
    keep = uneven_keep(net(a=8, b=8, c=8, d=8, e=8, f=2), 0)
    sizes = sizes_of(keep)
    assert len({sizes[name] for name in "abcde"}) == 5
    assert sizes["f"] == 1
    assert all(units == tuple(sorted(set(units))) for units in keep.values())

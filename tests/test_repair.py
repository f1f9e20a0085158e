"""Repair by least squares: what the inputs kept can say of the others is not lost."""

import pytest
import torch
from torch import nn

from netadapt.pruning.moments import Moment, unwatched, watching
from netadapt.pruning.repair import least_squares, repair
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace


def moments_of(model, network, images):
    with watching(model, network) as told, torch.no_grad():
        model(images)
    return told()


def twins(after):
    """Four channels of which the last two are twice the first two, and what reads them."""
    first = nn.Conv2d(3, 4, 3, padding=1)
    with torch.no_grad():
        first.weight[2:] = 2 * first.weight[:2]
        first.bias[2:] = 2 * first.bias[:2]
    return nn.Sequential(first, nn.ReLU(), *after).eval()


@pytest.mark.parametrize(
    "after",
    [
        (nn.Conv2d(4, 3, 1),),
        (nn.Conv2d(4, 3, 1, stride=2), nn.Conv2d(3, 2, 1)),
        (nn.Conv2d(4, 3, 3, padding=1),),
        (nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 3, 1)),
        (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
        (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    ],
    ids=["1x1", "strided", "3x3", "depthwise between", "linear", "flattened"],
)
def test_what_the_channels_kept_span_is_not_missed(after):
    torch.manual_seed(0)
    model = twins(after)
    for module in model:
        if isinstance(module, nn.Conv2d) and module.groups == 4:
            with torch.no_grad():  # so that twins stay twins
                module.weight[2:] = module.weight[:2]
                module.bias.zero_()
    images = torch.randn(4, 3, 8, 8)
    network = trace(model, (3, 8, 8))
    moments = moments_of(model, network, images)
    keep = {"0": (0, 3)}
    cut = shrink(model, network, keep)
    assert not torch.allclose(cut(images), model(images), atol=1e-2)
    layer = next(iter(moments))
    weight = least_squares(
        model.get_submodule(layer).weight, moments[layer],
        network.kept_indices(keep)[f"{layer}.weight", 1], ridge=1e-9,
    )  # fmt: skip
    with torch.no_grad():
        cut.get_submodule(layer).weight.copy_(weight)
    torch.testing.assert_close(cut(images), model(images), atol=1e-4, rtol=1e-4)


def test_it_is_the_least_squares_solution_where_the_channels_kept_do_not_span():
    torch.manual_seed(0)
    seen = torch.randn(200, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64)
    weight = torch.randn(5, 6, dtype=torch.float64)
    kept = [0, 2, 3, 5]
    expected = torch.linalg.lstsq(seen[:, kept], seen @ weight.T).solution.T
    moment = Moment(seen.T @ seen / 200)
    torch.testing.assert_close(least_squares(weight, moment, kept, ridge=1e-12), expected)


def test_a_ridge_beyond_all_bounds_leaves_the_cut_as_it_is():
    moment = Moment(torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64))
    weight = torch.tensor([[5.0, 7.0]])
    # M = 1 / (2 + ridge * 2): 0.5 without a ridge, 0.25 with 1.
    assert least_squares(weight, moment, [0], ridge=1e-12).tolist() == [[pytest.approx(8.5)]]
    assert least_squares(weight, moment, [0], ridge=1.0).tolist() == [[pytest.approx(6.75)]]
    assert least_squares(weight, moment, [0], ridge=1e15).tolist() == [[pytest.approx(5.0)]]


def test_a_layer_that_lost_outputs_too_keeps_the_right_ones():
    torch.manual_seed(0)
    model = twins((nn.Conv2d(4, 3, 1), nn.Conv2d(3, 1, 1)))
    network = trace(model, (3, 8, 8))
    moments = moments_of(model, network, torch.randn(4, 3, 8, 8))
    keep = {"0": (0, 3), "2": (1, 2)}
    cut = shrink(model, network, keep)
    assert repair(cut, model, network, keep, moments) == ["2", "3"]
    alone = shrink(model, network, {"0": (0, 3)})
    repair(alone, model, network, {"0": (0, 3)}, moments)
    assert torch.equal(cut[2].weight, alone[2].weight[[1, 2]])


def test_dead_channels_leave_finite_weights():
    moment = Moment(torch.zeros(3, 3, dtype=torch.float64))
    assert least_squares(torch.ones(2, 3), moment, [0, 1]).tolist() == [[1, 1], [1, 1]]


def test_a_grouped_convolution_is_not_repaired_and_told():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 2, 1))
    network = trace(model, (3, 4, 4))
    told = unwatched(model, network)
    readers = {
        slot.layer
        for group in network.groups.values()
        for slot in group.slots
        if slot.role == "in" and not group.fixed
    }
    assert set(told) == readers - {"2"}
    assert all(reason == "is a grouped convolution" for reason in told.values())
    assert set(moments_of(model, network, torch.randn(1, 3, 4, 4))) == {"2"} & readers

"""Scores of units, with expected values by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from netadapt.errors import UnknownName, UsageError, named
from netadapt.pruning.importance import (
    IMPORTANCES,
    bn_scale,
    l2,
    order_of_removal,
    output_error,
    random,
    taylor,
    top,
)
from netadapt.pruning.moments import watching
from netadapt.pruning.surgery import named_tensors
from netadapt.tracing import trace
from netadapt.workers.scoring import checked_scores


class Residual(nn.Module):
    """Two layers whose sum couples their outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.b = nn.Conv2d(1, 3, 1)
        self.c = nn.Conv2d(3, 1, 1)
        with torch.no_grad():
            self.a.weight.copy_(torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1))
            self.b.weight.copy_(torch.tensor([4.0, -3.0, 0.0]).view(3, 1, 1, 1))
            self.norm.weight.copy_(torch.tensor([-0.5, 0.25, 0.0]))
            self.a.bias.fill_(100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.norm(self.a(x)) + self.b(x))


def test_l2_sums_over_the_producers_and_leaves_biases_out() -> None:
    model = Residual()
    group = trace(model, (1, 4, 4)).groups["a"]
    assert l2(named_tensors(model), group).tolist() == [1 + 16, 4 + 9, 9 + 0]


def test_bn_scale_is_the_magnitude_of_the_scale_or_l2_where_there_is_none() -> None:
    model = Residual()
    group = trace(model, (1, 4, 4)).groups["a"]
    assert bn_scale(named_tensors(model), group).tolist() == [0.5, 0.25, 0]
    plain = nn.Sequential(model.a, model.c)
    assert bn_scale(named_tensors(plain), trace(plain, (1, 4, 4)).groups["0"]).tolist() == [1, 4, 9]


def test_units_of_several_channels_sum_them() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(1.0, 5).view(4, 1, 1, 1))
    group = trace(model, (1, 4, 4)).groups["0"]
    assert l2(named_tensors(model), group).tolist() == [1 + 4, 9 + 16]


def test_random_is_the_same_each_time() -> None:
    model = Residual()
    group = trace(model, (1, 4, 4)).groups["a"]
    assert torch.equal(random({}, group), random({}, group))
    assert random({}, group).shape == (3,)


def test_top_keeps_order_and_prefers_the_first_of_equals() -> None:
    assert top(torch.tensor([1.0, 5.0, 1.0, 7.0]), 3) == (0, 1, 3)
    assert top([2, 2, 2], 2) == (0, 1)
    assert top([], 0) == ()
    with pytest.raises(ValueError, match="cannot keep 4 of 3"):
        top([1, 2, 3], 4)
    with pytest.raises(ValueError, match="not a number"):
        top([1, float("nan")], 1)


def test_names() -> None:
    assert named("importance", "l2", IMPORTANCES) is IMPORTANCES["l2"]
    with pytest.raises(UnknownName, match="did you mean bn_scale"):
        named("importance", "bn_scales", IMPORTANCES)


@pytest.mark.parametrize(
    "scores", [torch.zeros(3), torch.full((2,), torch.nan), [1, torch.inf], None, "ab"]
)
def test_an_importance_without_a_number_for_each_unit_is_refused(scores) -> None:
    group = replace(trace(Residual(), (1, 4, 4)).groups["a"], size=2)
    with pytest.raises(UsageError, match="one finite number for each of the 2 units"):
        checked_scores("mine", scores, group)


def test_taylor_is_the_squared_sum_of_weight_times_gradient_over_all_slots() -> None:
    model = Residual()
    group = trace(model, (1, 4, 4)).groups["a"]
    gradients = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    gradients["a.weight"][0] = 2.0  # times 1
    gradients["a.bias"][0] = -0.03  # times 100
    gradients["b.weight"][1] = 1.0  # times -3
    gradients["norm.weight"][1] = 8.0  # times 0.25
    gradients["norm.weight"][2] = 9.0  # times 0
    gradients["c.weight"][0, 2] = 10.0
    with torch.no_grad():
        model.c.weight[0, 2] = 0.5
    scores = taylor(named_tensors(model), group, gradients=gradients)
    assert scores.tolist() == pytest.approx([(2 - 3) ** 2, (-3 + 2) ** 2, 5**2])


def test_taylor_of_what_has_no_gradient_is_zero() -> None:
    model = Residual()
    group = trace(model, (1, 4, 4)).groups["a"]
    assert taylor(named_tensors(model), group, gradients={}).tolist() == [0, 0, 0]


def test_the_first_to_go_makes_the_least_error_together_with_what_went() -> None:
    # Outputs of a 1x1 layer: unit errors 1, 4, 9 and 25. The last two cancel each other but for 4.
    joint = torch.tensor([[1.0, 0, 0, 0], [0, 4, 0, 0], [0, 0, 9, -15], [0, 0, -15, 25]]).double()
    # 0 adds 1, 1 adds 4, 2 adds 9; then 3 adds 25 - 2 * 15 = -5.
    assert order_of_removal(joint).tolist() == [0, 1, 2, 3]
    joint[2, 2], joint[3, 3] = 3.0, 2.5
    # Now 0 adds 1; 3 adds 2.5; then 2 adds 3 - 30 before 1 adds 4.
    assert order_of_removal(joint).tolist() == [0, 3, 2, 1]


def test_output_error_is_of_what_reads_the_group_and_not_of_its_size() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.Conv2d(3, 2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 10.0, 2.0]).view(3, 1, 1, 1))
        model[1].weight.copy_(torch.tensor([[5.0, 0.1, 3.0], [0, 0, 1]]).view(2, 3, 1, 1))
    network = trace(model, (1, 4, 4))
    with watching(model, network) as told:
        model(torch.ones(2, 1, 4, 4))
    (moment,) = told().values()
    seen = torch.tensor([1.0, 10.0, 2.0])
    torch.testing.assert_close(moment.products, torch.outer(seen, seen).double())
    # Errors alone: (5 * 1)^2 = 25, (0.1 * 10)^2 = 1, (3 * 2)^2 + (1 * 2)^2 = 40.
    scores = output_error(named_tensors(model), network.groups["0"], moments=told())
    assert scores.tolist() == [1, 0, 2]
    assert output_error(named_tensors(model), network.groups["0"], moments={}).tolist() == [
        1.0, 100.0, 4.0
    ]  # fmt: skip

"""Scores of units, with expected values by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from netadapt.errors import UnknownName, UsageError, named
from netadapt.pruning.importance import IMPORTANCES, bn_scale, l2, random, top
from netadapt.pruning.surgery import named_tensors
from netadapt.tracing import trace
from netadapt.workers.evaluate import unit_scores


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


@pytest.mark.parametrize("scores", [torch.zeros(3), torch.full((2,), torch.nan), None, "ab"])
def test_an_importance_without_a_number_for_each_unit_is_refused(monkeypatch, scores) -> None:
    group = replace(trace(Residual(), (1, 4, 4)).groups["a"], size=2)
    monkeypatch.setitem(IMPORTANCES, "mine", lambda tensors, group: scores)
    with pytest.raises(UsageError, match="one number, not NaN, for each of the 2 units"):
        unit_scores("mine", {}, group)

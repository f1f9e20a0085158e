import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.errors import AlreadyMet, UsageError
from netadapt.search.budgets import Bound, Meter, binding, bounds, load, meters
from netadapt.units import Budget, parse_budget


def test_one_device_needs_no_name():
    asked = meters([parse_budget("60%"), parse_budget("size=2MB")], ["ort:cpu"])
    assert [meter.key for meter in asked] == ["latency", "size"]


def test_a_budget_holds_on_every_device_unless_it_names_one():
    asked = meters([parse_budget("phone:12ms"), parse_budget("60%")], ["phone", "board"])
    assert {meter.key: str(budget) for meter, budget in asked.items()} == {
        "phone:latency": "phone:12ms",
        "board:latency": "60%",
    }


def test_what_does_not_hang_on_a_device_is_bounded_once():
    asked = meters([parse_budget("macs=50%"), parse_budget("params=1M")], ["phone", "board"])
    assert [meter.key for meter in asked] == ["macs", "params"]


def test_a_budget_for_an_unknown_device_is_refused():
    with pytest.raises(UsageError, match="for the device 'phnoe', and the run has phone, board"):
        meters([parse_budget("phnoe:12ms")], ["phone", "board"])


def test_limits_are_in_base_units():
    asked = meters([parse_budget("60%"), parse_budget("size=2MB")], ["ort:cpu"])
    found = bounds(asked, {"latency": 0.01, "size": 5e6})
    assert [(b.limit, b.original, b.unit) for b in found] == [
        (pytest.approx(0.006), 0.01, "s"),
        (2e6, 5e6, "B"),
    ]


def test_nothing_to_do_is_said_with_figures():
    asked = meters([parse_budget("20ms"), parse_budget("size=9MB")], ["ort:cpu"])
    with pytest.raises(AlreadyMet, match=r"latency is 10 ms, and 20 ms is allowed; size is 5 MB"):
        bounds(asked, {"latency": 0.01, "size": 5e6})
    asked = meters([parse_budget("20ms"), parse_budget("size=3MB")], ["ort:cpu"])
    assert len(bounds(asked, {"latency": 0.01, "size": 5e6})) == 2  # one of them asks for something


@given(st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)), min_size=1, max_size=4))
def test_the_load_is_at_most_one_exactly_where_every_budget_holds(pairs):
    known = tuple(Bound(Meter(f"r{n}"), limit, 1.0) for n, (_, limit) in enumerate(pairs))
    costs = {f"r{n}": cost for n, (cost, _) in enumerate(pairs)}
    assert (load(costs, known) <= 1) == all(cost <= limit for cost, limit in pairs)
    worst = binding(costs, known)
    assert costs[worst.key] / worst.limit == load(costs, known)


def test_the_later_of_two_budgets_of_one_device_wins_over_the_general_one():
    asked = meters([Budget("energy", 1e-3), Budget("energy", 2e-3, device="phone")], ["phone"])
    assert [budget.value for budget in asked.values()] == [2e-3]

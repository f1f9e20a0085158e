from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.errors import UnknownName, UsageError
from netadapt.units import RESOURCES, Budget, format_bytes, format_quantity, parse_budget


@pytest.mark.parametrize(
    ("text", "resource", "value"),
    [
        ("12ms", "latency", 0.012),
        ("0.5 s", "latency", 0.5),
        ("800us", "latency", 800e-6),
        ("800µs", "latency", 800e-6),
        ("800μs", "latency", 800e-6),
        ("3mJ", "energy", 0.003),
        ("1e-3s", "latency", 0.001),
        ("2MB", "size", 2e6),
        ("size=2MiB", "size", 2 * 2**20),
        ("latency=12ms", "latency", 0.012),
        ("params=1.5M", "params", 1.5e6),
        ("macs=300000", "macs", 3e5),
    ],
)
def test_budgets(text, resource, value):
    assert parse_budget(text) == Budget(resource, pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("15", "has no unit"),
        ("0.6", "0.6%"),
        ("15 lightyears", "unknown unit"),
        ("120%", "above the original"),
        ("0ms", "above zero"),
        ("fast", "not a quantity"),
        ("-3ms", "not a quantity"),
        ("", "not a quantity"),
        ("nan%", "not a quantity"),
        ("infms", "not a quantity"),
        ("1e999ms", "finite"),
        ("latency=3mJ", "latency is given in s, ms"),
        ("energy=3", "no unit"),
        ("macs=3 MB", "a plain number"),
        ("latencie=60%", "did you mean latency"),
    ],
)
def test_bad_budgets_are_refused_with_a_sentence(text, word):
    with pytest.raises(UsageError, match=word):
        parse_budget(text)


@given(st.floats(0.1, 100))
def test_a_fraction_limits_the_original(percent):
    assert parse_budget(f"{percent}%").limit(2.0) == pytest.approx(percent / 50)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("60%", Budget("latency", 0.6, share=True)),
        ("macs=50%", Budget("macs", 0.5, share=True)),
        ("phone:60%", Budget("latency", 0.6, share=True, device="phone")),
        ("phone:energy=50%", Budget("energy", 0.5, share=True, device="phone")),
        ("ort:cpu:12ms", Budget("latency", 0.012, device="ort:cpu")),
    ],
)
def test_shares_and_devices(text, budget):
    assert parse_budget(text) == budget


@given(
    st.sampled_from(sorted(RESOURCES)),
    st.floats(1e-12, 1e12),
    st.booleans(),
    st.sampled_from(["", "phone", "ort:cpu"]),
)
def test_a_budget_reads_as_it_is_written(resource, value, share, device):
    budget = Budget(resource, min(value, 1.0) if share else value, share, device)
    again = parse_budget(str(budget))
    assert again == replace(budget, value=again.value)
    assert again.value == pytest.approx(budget.value, rel=1e-12)


def test_quantities_for_people():
    assert format_quantity(0.01234, "s") == "12.34 ms"
    assert format_quantity(3.2e-3, "J") == "3.2 mJ"
    assert format_quantity(12.9e6, "MACs") == "12.9 M MACs"
    assert format_bytes(4_200_000) == "4.2 MB"
    assert str(parse_budget("60%")) == "60%"


@pytest.mark.parametrize(("value", "unit", "text"), [
    (0.0, "J", "0 J"), (0.0, "s", "0 s"), (0.0, "B", "0 B"), (1.59e-7, "s", "159 ns"),
    (3.65e-13, "s", "0.365 ps"), (1.02e-13, "J", "0.102 pJ"), (2.12e-11, "J", "21.2 pJ"),
])  # fmt: skip
def test_what_is_small_keeps_its_digits_and_nothing_is_0(value, unit, text):
    assert format_quantity(value, unit) == text
    if value:
        assert parse_budget(text.replace(" ", "")).value == pytest.approx(value)


def test_unknown_names_suggest_the_nearest():
    error = UnknownName("model", "mobilenetv2", ["mobilenet_v2", "resnet18"])
    assert "did you mean mobilenet_v2?" in str(error)
    assert error.exit_code == 2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.errors import UnknownName, UsageError
from netadapt.units import Budget, format_bytes, format_quantity, parse_budget


@pytest.mark.parametrize(
    ("text", "resource", "value"),
    [
        ("12ms", "latency", 0.012),
        ("0.5 s", "latency", 0.5),
        ("800us", "latency", 800e-6),
        ("800µs", "latency", 800e-6),
        ("800μs", "latency", 800e-6),
        ("3mJ", "energy", 0.003),
        ("60%", "fraction", 0.6),
        ("1e-3s", "latency", 0.001),
    ],
)
def test_budgets(text, resource, value):
    assert parse_budget(text) == Budget(resource, pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("15", "has no unit"),
        ("0.6", "60|0.6%"),
        ("15 lightyears", "unknown unit"),
        ("120%", "above the original"),
        ("0ms", "above zero"),
        ("fast", "not a quantity"),
        ("-3ms", "not a quantity"),
        ("", "not a quantity"),
    ],
)
def test_bad_budgets_are_refused_with_a_sentence(text, word):
    with pytest.raises(UsageError, match=word):
        parse_budget(text)


@given(st.floats(0.1, 100))
def test_a_fraction_limits_the_original(percent):
    assert parse_budget(f"{percent}%").limit(2.0) == pytest.approx(percent / 50)


def test_quantities_for_people():
    assert format_quantity(0.01234, "s") == "12.34 ms"
    assert format_quantity(3.2e-3, "J") == "3.2 mJ"
    assert format_quantity(12.9e6, "MACs") == "12.9 M MACs"
    assert format_bytes(4_200_000) == "4.2 MB"
    assert str(parse_budget("60%")) == "60%"


def test_unknown_names_suggest_the_nearest():
    error = UnknownName("model", "mobilenetv2", ["mobilenet_v2", "resnet18"])
    assert "did you mean mobilenet_v2?" in str(error)
    assert error.exit_code == 2

"""Several budgets from one search: each run goes on from where the one before ended."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.errors import UsageError
from netadapt.runs import read_journal, steps_of
from netadapt.runs.events import Inherited, Trained, Tried
from netadapt.runs.step import Step, StepCost
from netadapt.search.budgets import Bound, Meter
from netadapt.space import _rounds
from netadapt.units import Budget, family_of, parse_budget
from tests.test_cli import adapt, finished, run

__all__ = ["finished"]


@pytest.mark.parametrize(
    ("texts", "members"),
    [
        (("60%",), [("60%",)]),
        ((), [()]),
        (("80%,60%",), [("80%",), ("60%",)]),
        (("energy=80%,60%", "size=2MB"), [("energy=80%", "size=2MB"), ("energy=60%", "size=2MB")]),
        (("phone:12ms, 9ms",), [("phone:12ms",), ("phone:9ms",)]),
        (("phone:energy=3mJ,2mJ",), [("phone:energy=3mJ",), ("phone:energy=2mJ",)]),
        (("macs=80%,macs=60%",), [("macs=80%",), ("macs=60%",)]),
    ],
)
def test_a_list_of_budgets_makes_a_family(texts, members):
    assert family_of(texts) == members


@given(st.lists(st.integers(1, 99), min_size=2, max_size=5, unique=True))
def test_the_members_of_a_family_get_smaller(shares):
    shares = sorted(shares, reverse=True)
    (budgets,) = zip(*family_of((",".join(f"{share}%" for share in shares),)), strict=True)
    assert [parse_budget(b) for b in budgets] == [Budget("latency", s / 100, True) for s in shares]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("60%,80%",), "out of order: 80% after 60%"),
        (("60%,60%",), "out of order"),
        (("60%,12ms",), "out of order"),
        (("energy=60%,macs=50%",), "out of order"),
        (("80%,60%", "size=2MB,1MB"), "Only one budget can be a list"),
        (("80%,",), "Budget '' is not a quantity"),
    ],
)
def test_a_list_that_is_no_family_is_refused(texts, said):
    with pytest.raises(UsageError, match=said):
        family_of(texts)


def test_the_rest_of_the_way_takes_its_part_of_the_rounds():
    """From 100 to 25 in 4 rounds is a half in 2; from 50 on, 2 are left, and from 26 on 1."""
    bound = Bound(Meter("latency"), 25.0, 100.0)

    def begun(measured):
        return Step(3, "", {}, {"latency": StepCost(measured, measured, measured)}, 0.5)

    assert _rounds(4, (bound,), None) == 4
    assert _rounds(4, (bound,), begun(50.0)) == 3 + 2
    assert _rounds(4, (bound,), begun(26.0)) == 3 + 1
    assert _rounds(0, (bound,), begun(50.0)) == 0


def test_a_family_is_one_search(tmp_path, capsys):
    folder = tmp_path / "family"
    code, out, err = adapt(capsys, folder, budget="80%,79.9%,60%")
    assert code == 0, err
    assert "No run is needed for 79.9%" in err
    assert "within the budget already" in err
    first, second = (read_journal(folder / name) for name in ("80pct", "60pct"))
    inherited = next(r.event for r in second if isinstance(r.event, Inherited))
    steps = steps_of(first)
    assert inherited.run == "80pct"
    assert inherited.iteration == steps[-1].iteration
    common = steps_of(second)[: len(steps)]
    assert [(s.iteration, s.keep) for s in common] == [(s.iteration, s.keep) for s in steps]
    # What was tried, trained and measured before is not done again.
    assert min(r.event.iteration for r in second if isinstance(r.event, Tried)) > len(steps) - 1
    assert {r.event.what for r in second if isinstance(r.event, Trained)} == {"adapted"}
    weights = (folder / "60pct" / "weights" / f"{steps[-1].weights}.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == inherited.weights
    # The last table shows both beside the unpruned network.
    assert [line.split()[0].split("/")[-1] for line in out.splitlines()[-3:]] == [
        "unpruned", "80pct", "60pct",
    ]  # fmt: skip

    code, out, err = run(capsys, "carbon", folder / "60pct", "--json")
    assert code == 0, err
    assert any("the search of 80pct" in text for text in json.loads(out)["left_out"])

    # The same family again is read and not repeated.
    lines = len(read_journal(folder / "60pct"))
    code, out, err = adapt(capsys, folder, "--json", budget="80%,60%")
    assert code == 0, err
    assert len(read_journal(folder / "60pct")) <= lines + 1
    assert [member["met"] for member in json.loads(out)["family"]] == [True, True]


def test_a_run_goes_on_though_the_one_before_it_is_gone(finished, tmp_path, capsys, monkeypatch):
    """Once it has begun, it has all that it needs."""
    earlier = tmp_path / "earlier"
    earlier.symlink_to(finished[0])
    code, _, err = adapt(capsys, tmp_path / "lower", "--after", earlier, budget="60%")
    assert code == 0, err
    earlier.unlink()
    code, out, err = adapt(capsys, tmp_path / "lower", "--after", earlier, budget="60%")
    assert code == 0, err
    assert "within the budget" in out


@pytest.mark.parametrize(
    ("more", "budget", "said"),
    [
        ((), "80%", "is within the budget already"),
        (("--seed", 1), "60%", "config.seed: 0 -> 1"),
        ((), "macs=30%", "has budgets of latency, and this one of macs"),
    ],
)
def test_a_run_that_another_cannot_go_on_from_is_refused(
    finished, tmp_path, capsys, more, budget, said
):
    folder = tmp_path / "lower"
    code, _, err = adapt(capsys, folder, "--after", finished[0], *more, budget=budget)
    assert code == 2
    assert said in err
    assert not folder.exists()


def test_there_must_be_a_finished_run_to_go_on_from(tmp_path, capsys):
    code, _, err = adapt(capsys, tmp_path / "lower", "--after", tmp_path, budget="60%")
    assert code == 2
    assert "holds no run to go on from" in err

"""Several budgets from one search: each run goes on from where the one before ended."""

import hashlib
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.cli.settings import resolved_family
from netadapt.errors import UsageError
from netadapt.runs import read_journal, steps_of
from netadapt.runs.events import Inherited, Trained, Tried
from netadapt.runs.step import Step, StepCost
from netadapt.search.budgets import Bound, Meter
from netadapt.space import _rounds
from netadapt.units import Budget, family_of, parse_budget
from tests.command import adapt, run


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

    for command in ("status", "report", "compare", "export", "carbon"):
        code, _, err = run(capsys, command, folder)
        assert code == 2
        assert f"{folder} holds runs, and is none: {folder / '60pct'}, {folder / '80pct'}." in err

    code, out, err = run(capsys, "carbon", folder / "60pct", "--json")
    assert code == 0, err
    assert any("the search of 80pct" in text for text in json.loads(out)["left_out"])

    # The same family again is read and not repeated.
    lines = len(read_journal(folder / "60pct"))
    code, out, err = adapt(capsys, folder, "--json", budget="80%,60%")
    assert code == 0, err
    assert len(read_journal(folder / "60pct")) <= lines + 1
    assert [member["met"] for member in json.loads(out)["family"]] == [True, True]


def test_a_run_goes_on_though_the_one_before_it_was_renamed_and_is_gone(finished, tmp_path, capsys):
    """What it is told by are its weights; its name is a note for people."""
    earlier, renamed, lower = (tmp_path / name for name in ("earlier", "renamed", "lower"))
    earlier.symlink_to(finished[0])
    assert adapt(capsys, lower, "--after", earlier, budget="60%")[0] == 0
    earlier.rename(renamed)
    code, _, err = adapt(capsys, lower, "--after", renamed, budget="60%")
    assert code == 0, err
    first = read_journal(lower)[0].event
    assert first.settings["after"]["run"] == "earlier"
    # Once it has begun, it has all that it needs.
    renamed.unlink()
    code, out, err = adapt(capsys, lower, "--after", earlier, budget="60%")
    assert code == 0, err
    assert "within the budget" in out
    # Without the run before it, it would be another one.
    code, _, err = adapt(capsys, lower, budget="60%")
    assert code == 2
    assert 'after: {"run": "earlier", ...} -> null' in err


def test_a_run_of_an_earlier_version_is_shown_and_gone_on_with(finished, tmp_path, capsys):
    """Which knew neither of distillation nor of averaged weights, nor of checksums of lines."""
    folder = tmp_path / "early"
    shutil.copytree(finished[0], folder)
    journal = folder / "journal.jsonl"
    first, rest = journal.read_text().split("\n", 1)
    told = json.loads(first)
    del told["crc"]
    for recipe in ("recipe", "short"):
        for name in ("distill", "distill_weight", "temperature", "ema", "accumulate"):
            del told["settings"]["config"]["tuning"][recipe][name]
    journal.write_text(f"{json.dumps(told, separators=(',', ':'))}\n{rest}")
    code, out, err = adapt(capsys, folder)
    assert code == 0, err
    assert "within the budget" in out
    code, _, err = adapt(capsys, tmp_path / "lower", "--after", folder, budget="60%")
    assert code == 0, err
    code, _, err = adapt(capsys, folder, "--distill")
    assert code == 2
    assert "config.tuning.recipe.distill: null -> true" in err


def test_a_run_cannot_go_on_from_itself(finished, tmp_path, capsys):
    """With --fresh it would have been moved out of the way of itself."""
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    code, _, err = adapt(capsys, folder, "--after", folder, "--fresh", budget="60%")
    assert code == 2
    assert "cannot go on from itself" in err
    assert not (tmp_path / "run.old").exists()
    assert (folder / "adapted.onnx").exists()


def test_weights_behind_links_are_inherited_themselves(finished, tmp_path, capsys):
    """As git-annex and others keep large files."""
    earlier = tmp_path / "earlier"
    shutil.copytree(finished[0], earlier)
    for path in list((earlier / "weights").iterdir()):
        path.rename(earlier / path.name)
        path.symlink_to(f"../{path.name}")
    assert adapt(capsys, tmp_path / "lower", "--after", earlier, budget="60%")[0] == 0
    shutil.rmtree(earlier)
    code, _, err = run(capsys, "export", tmp_path / "lower", "--step", 1, "-o", tmp_path / "out")
    assert code == 0, err


def test_the_members_before_one_out_of_reach_are_told(tmp_path, capsys):
    folder = tmp_path / "family"
    code, out, err = adapt(capsys, folder, "--json", budget="70%,8%")
    assert code == 1
    assert "Nothing more can be removed" in err
    assert [member["met"] for member in json.loads(out)["family"]] == [True]

    code, _, err = adapt(capsys, tmp_path / "lower", "--after", folder / "8pct", budget="15%")
    assert code == 2
    assert "ended short of its budgets" in err
    assert not (tmp_path / "lower").exists()


def test_members_that_a_run_has_met_already_are_passed_over(finished, tmp_path, capsys):
    code, _, err = adapt(capsys, tmp_path / "f", "--after", finished[0], budget="80%,60%")
    assert code == 0, err
    assert "No run is needed for 80%" in err
    assert [path.name for path in tmp_path.glob("f/*/")] == ["60pct"]


def test_a_file_may_list_the_budgets_of_a_family(tmp_path, capsys):
    path = tmp_path / "family.toml"
    path.write_text(
        'model = "tests.examples:small_net"\ndata = "tests.examples:stripes"\n'
        'devices = ["synthetic:"]\nbudgets = ["80%,70%", "size=90%"]\n'
    )
    family = resolved_family(path, {"budget": ()})
    assert [[str(b) for b in member.budgets] for member in family] == [
        ["80%", "size=90%"], ["70%", "size=90%"],
    ]  # fmt: skip
    assert len(resolved_family(path, {"budget": ("60%",)})) == 1

    code, out, err = run(capsys, "adapt", "--config", path, "--dry-run")
    assert code == 0, err
    assert "the search of all 2 runs" in out


def test_a_dry_run_refuses_what_a_run_would(finished, tmp_path, capsys):
    code, _, err = adapt(capsys, tmp_path / "no", "--after", tmp_path, "--dry-run", budget="60%")
    assert code == 2
    assert "holds no run to go on from" in err
    code, out, err = adapt(
        capsys, tmp_path / "no", "--after", finished[0], "--dry-run", budget="60%"
    )
    assert code == 0, err
    assert "is not done again" in out
    assert not (tmp_path / "no").exists()


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

"""The second opinion, against a stand-in with codecarbon's interface (3.x)."""

import json
import sys
import types

import pytest

from netadapt.carbon import crosscheck
from netadapt.carbon.account import account
from netadapt.carbon.circumstances import Circumstances
from netadapt.carbon.crosscheck import cross_checked, start_codecarbon
from netadapt.carbon.intensity import parse_region
from netadapt.carbon.power import parse_watts
from netadapt.carbon.rows import cost_rows
from netadapt.carbon.run import use_of
from netadapt.carbon.statement import state
from netadapt.cli import main
from netadapt.errors import UnknownName, UsageError
from netadapt.runs import Phase, Record, Run
from netadapt.runs.events import CrossChecked, Started, Trained, Warned


@pytest.fixture
def asked(monkeypatch):
    """What the stand-in's tracker was made with."""
    asked = {}

    class Tracker:
        def __init__(self, **arguments):
            asked.update(arguments)

        def start(self):
            asked["started"] = True

        def stop(self):
            self.final_emissions_data = types.SimpleNamespace(
                duration=3600.0, energy_consumed=0.028, emissions=0.00114,
                cpu_power=8.0, gpu_power=0.0, ram_power=20.0,
            )  # fmt: skip

    module = types.ModuleType("codecarbon")
    module.OfflineEmissionsTracker = Tracker
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(crosscheck, "version", lambda name: "3.3.2")
    return asked


def test_a_second_opinion_keeps_the_watts_that_it_rests_on(asked):
    check = start_codecarbon("sweden")()
    assert asked["started"]
    assert (check.country, check.kwh, check.carbon_g) == ("SWE", 0.028, 1.14)
    assert (check.cpu_w, check.memory_w) == (8.0, 20.0)
    assert str(check) == (
        "codecarbon 3.3.2: 28 Wh and 1.14 g CO2e in SWE, from 8 W of processor, 0 W of GPU and "
        "20 W of memory, measured or assumed"
    )
    assert json.dumps(check.as_dict(), allow_nan=False)


def test_nothing_of_it_is_written_or_sent(asked):
    start_codecarbon("SWE")
    assert asked["country_iso_code"] == "SWE"
    sent = {name: value for name, value in asked.items() if name.startswith("save_to_")}
    assert len(sent) == 5
    assert not any(sent.values())
    assert asked["electricitymaps_api_token"] is None


def test_an_unknown_country_never_reaches_it(asked):
    with pytest.raises(UnknownName, match="SWE"):
        start_codecarbon("SWD")
    for place in ("gcp:europe-north1", "250g/kWh"):
        with pytest.raises(UsageError, match="is none; name one, such as SWE"):
            start_codecarbon(place)
    assert not asked


def test_without_it_installed_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(UsageError, match=r"pip install 'netadapt\[codecarbon\]'"):
        start_codecarbon("SWE")


def session(seconds, kwh, watts=8.0):
    return CrossChecked(
        "3.3.2", "SWE", seconds, kwh, 40 * kwh, {"processor": watts, "memory": 20.0}
    )


def run_of(*events):
    started = Started(2, {"config": {}}, {}, {})
    trained = Trained("original", 0, 1.0, Phase("training", 300.0))
    return [Record(300.0 * i, event) for i, event in enumerate((started, trained, *events))]


def test_sessions_of_codecarbon_add_up():
    check = use_of("run", run_of(session(60.0, 0.001), session(90.0, 0.002, 9.0))).cross_check
    assert (check.seconds, check.kwh, check.carbon_g) == (150.0, pytest.approx(0.003), 0.12)
    assert (check.cpu_w, check.gpu_w, check.memory_w) == (9.0, 0.0, 20.0)
    assert use_of("run", run_of()).cross_check is None


def test_the_cross_check_stands_beside_our_figure_and_changes_none():
    said = Circumstances(region=parse_region("SWE"), power=parse_watts("50-80"))
    plain, checked = (account(use_of("run", run_of(*e)), said) for e in ((), (session(60.0, 1.0),)))
    assert checked.as_dict()["cross_check"]["kwh"] == 1.0
    for account_ in (plain, checked):
        assert account_.footprint.known.joules.value == 65 * account_.use.seconds
    assert "Cross-check" not in dict(cost_rows(plain))
    words = dict(cost_rows(checked))["Cross-check"]
    assert words.startswith(
        "codecarbon 3.3.2: 1e+03 Wh and 40 g CO2e in SWE, from 8 W of processor"
    )
    assert words.endswith("it watched 60 s of 10 min, without a PUE")
    assert (
        "As a cross-check, on which no other figure rests, codecarbon" in state(checked).paragraph
    )
    assert "cross-check" not in state(plain).paragraph


def test_what_codecarbon_says_is_written_even_of_work_that_fails(asked, tmp_path):
    with Run(tmp_path / "run", Started(2, {}, {}, {})) as run:
        with pytest.raises(KeyboardInterrupt), cross_checked(run, "SWE"):
            raise KeyboardInterrupt
        assert run.last(CrossChecked) == CrossChecked(
            "3.3.2", "SWE", 3600.0, 0.028, 1.14, {"processor": 8.0, "GPU": 0.0, "memory": 20.0}
        )


def test_codecarbon_failing_does_not_end_a_run(asked, tmp_path):
    tracker = sys.modules["codecarbon"].OfflineEmissionsTracker
    tracker.stop = lambda self: 1 / 0
    with Run(tmp_path / "run", Started(2, {}, {}, {})) as run:
        with cross_checked(run, "SWE"):
            pass
        assert run.last(CrossChecked) is None
        assert "codecarbon told nothing (ZeroDivisionError" in run.last(Warned).text


def test_without_codecarbon_a_run_is_refused_in_a_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(SystemExit) as exit_:
        main(["adapt", "mobilenet_v1", "--data", "digits", "--budget", "60%", "--codecarbon", "SWE",
              "--run", str(tmp_path / "run")])  # fmt: skip
    assert exit_.value.code == 2
    assert capsys.readouterr().err == (
        "Error: codecarbon is not installed; install it with: pip install 'netadapt[codecarbon]'\n"
    )
    assert not (tmp_path / "run").exists()

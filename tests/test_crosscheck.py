"""The second opinion, against a stand-in with codecarbon's interface (3.x)."""

import json
import sys
import types

import pytest

from netadapt.carbon import crosscheck
from netadapt.carbon.crosscheck import start_codecarbon
from netadapt.errors import UnknownName, UsageError


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

"""Energy as a device is asked for it: options, plans, and what becomes of the answers."""

import base64

import pytest

from netadapt import doctor
from netadapt.config import RunConfig, Tuning
from netadapt.dry_run import plan_run
from netadapt.errors import DeviceError, UsageError
from netadapt.platforms import OVERHEAD, Effort, Workload, open_platform
from netadapt.platforms.bench import main as bench
from netadapt.platforms.bench.energy import Windows
from netadapt.platforms.bench.sensors import Channel, Meter, NoSensor, Sensor
from netadapt.platforms.measurement import DeviceInfo
from netadapt.platforms.ort.options import Options
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.probes import Probe, build
from netadapt.units import parse_budget
from tests.boards import INFO

MODEL = build(Probe("call", OVERHEAD))
NETWORK = Workload("net", MODEL, ())


def answers(joules, asked=None):
    def talk(link, settings, items):
        if asked is not None:
            asked.append(dict(settings))
        yield INFO
        for item in items:
            yield {"kind": "visit", "id": item.id, "ns": [1000] * 40}
        for energy_j in joules:
            for item in items:
                yield {"kind": "energy", "id": item.id, "joules": energy_j}
        yield {"kind": "done"}

    return talk


def test_energy_is_the_median_of_three_windows_or_more_beside_the_time():
    asked = []
    platform = OrtPlatform(options=Options(energy="rapl"), talk=answers([0.2, 0.5, 0.3], asked))
    assert platform.uri == "ort:cpu?energy=rapl"
    assert platform.resources == ("latency", "energy")
    [readings] = platform.measure_networks([NETWORK], Effort(min_seconds=7.0))
    assert readings["energy"].value == 0.3
    assert (readings["energy"].unit, len(readings["energy"].samples)) == ("J", 3)
    assert readings["latency"].value == pytest.approx(1e-6)
    assert platform.describe().sensor == "rapl:package-0"
    assert asked[0]["energy"] == "rapl"
    assert asked[0]["energy_rounds"] == 3
    assert asked[0]["energy_window_s"] == 7.0


def board(energy="rapl"):
    """``tests.test_energy_windows:board``: a device whose sensor tells 0.3 J of any network."""
    told = answers([0.3] * 3 if energy else [])
    return OrtPlatform("tests.test_energy_windows:board", Options(energy=energy), talk=told)


def test_a_dry_run_counts_the_windows_of_energy():
    """Rounds of 3; in each, one idle window and one a network, of 5 s after a pause of 1 s.

    30 networks alone take 30 * 3 * 2 * 6 s before the search. An iteration measures two beside
    each other: 3 * 3 * 6 s, beside a second and the 0.8 s that runs take. Where the search may end,
    five processes share 7.5 s of runs.
    """
    budgets = (parse_budget("energy=50%"),)
    config = RunConfig(
        "mobilenet_v1", "digits", budgets, {"board": "tests.test_energy_windows:board"},
        model_args={"width": 0.25}, input_size=16, tuning=Tuning(train_epochs=0.1),
    )  # fmt: skip
    preview = plan_run(config)
    [table] = preview.tables
    assert (table.device, table.networks) == ("board", 30)
    assert 0 < table.seconds - 30 * 3 * 2 * 6 < table.rows  # a layer takes less than a second
    deciding_s = 5 * 1.0 + 7.5 + 54
    expected_s = (preview.iterations + 2) * (1.8 + 54) + deciding_s
    assert preview.phases["measuring"] == pytest.approx(expected_s)
    assert preview.bounds[0]["original"] == 0.3


def test_without_the_option_nothing_is_asked_for_and_nothing_told():
    asked = []
    platform = OrtPlatform(talk=answers([], asked))
    assert platform.resources == ("latency",)
    [readings] = platform.measure_networks([NETWORK])
    assert set(readings) == {"latency"}
    assert asked[0]["energy"] is None
    assert "energy_rounds" not in asked[0]


@pytest.mark.parametrize("joules", [[], [0.2, 0.3]])
def test_windows_that_did_not_arrive_are_no_energy_and_not_0(joules):
    platform = OrtPlatform(options=Options(energy="rapl"), talk=answers(joules))
    with pytest.raises(DeviceError, match="before the energy of a network had been measured"):
        platform.measure_networks([NETWORK])


def test_a_sensor_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="no energy sensor 'thermometer'; choose rapl, nvml"):
        open_platform("ssh://pi@raspberrypi?energy=thermometer")
    assert open_platform("ssh://pi@raspberrypi?energy=hwmon").resources == ("latency", "energy")


def test_a_machine_without_the_sensor_refuses_before_anything_is_measured():
    with pytest.raises(DeviceError, match="This machine cannot measure: powermetrics"):
        open_platform("ort:cpu?energy=powermetrics").describe()


def test_the_sensor_is_told_with_energy_alone_and_parts_no_tables():
    plain = DeviceInfo("ort:cpu", "board", "x86_64", "onnxruntime 1.30")
    told = DeviceInfo("ort:cpu", "board", "x86_64", "onnxruntime 1.30", sensor="rapl:package-0")
    assert "sensor" not in plain.to_json()
    assert told.to_json()["sensor"] == "rapl:package-0"
    assert plain.differences(told) == []
    for info in (plain, told):
        assert DeviceInfo.from_json(info.to_json()).sensor == info.sensor


def records_of(monkeypatch, idle_w=lambda windows: 2.0, **settings):
    """What the bench answers to a plan of one small model, with windows that take no time."""
    meter = Meter(Sensor("rapl", "package-0", "uJ", "counter"), [Channel(lambda: 0)])
    monkeypatch.setattr(bench, "open_meter", lambda name, provider: meter)
    monkeypatch.setattr(Windows, "inference", lambda self, run, idle_w: {"joules": 1, "was": run()})
    monkeypatch.setattr(Windows, "idle_w", idle_w)
    plan = {**bench.DEFAULTS, "passes": 1, "runs": 1, "energy": "rapl", **settings}
    entry = {"id": "a", "model": base64.b64encode(MODEL).decode()}
    records = []
    status = bench.run_plan(plan, [entry], records.append)
    return status, records


def test_the_bench_runs_each_model_in_each_round(monkeypatch):
    status, records = records_of(monkeypatch, energy_rounds=3)
    energy = [record for record in records if record["kind"] == "energy"]
    assert status == 0
    assert records[0]["sensor"] == "rapl:package-0"
    assert [record["id"] for record in energy] == ["a"] * 3
    assert all(record["was"] for record in energy)  # the network has run
    assert records[-1]["kind"] == "done"


def test_layers_are_timed_without_windows(monkeypatch):
    _, records = records_of(monkeypatch)
    assert not [record for record in records if record["kind"] == "energy"]


def test_a_sensor_that_vanishes_ends_the_plan_with_a_sentence(monkeypatch):

    def vanished(windows):
        raise NoSensor("the energy sensor rapl:package-0 cannot be read any more")

    status, records = records_of(monkeypatch, vanished, energy_rounds=3)
    assert status == 3
    assert records[-1]["kind"] == "fatal"
    assert "cannot be read any more" in records[-1]["error"]


def test_doctor_tells_what_can_be_read_or_why_nothing_can():
    check = doctor._energy("energy sensor", {"rapl": "rapl:package-0", "nvml": "no: no driver"})
    assert (check.ok, check.found) == (True, "rapl:package-0")
    check = doctor._energy("energy sensor", {"rapl": "no: none", "nvml": "no: no driver"})
    assert (check.ok, check.matters, check.found) == (False, False, "none")
    assert "rapl: none; nvml: no driver" in check.remedy

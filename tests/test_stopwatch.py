"""What the work of a run draws, where something tells it."""

from contextlib import nullcontext

import pytest

from netadapt.carbon.run import use_of
from netadapt.platforms.bench.sensors import Channel, Meter, NoSensor, Sensor
from netadapt.provenance import machine
from netadapt.runs import Phase, Record, Stopwatch, stopwatch
from netadapt.runs.events import Exported, Measured, Started, TableMeasured, Trained

RAPL = Sensor("rapl", "package-0", "uJ", "counter")
GPU = Sensor("nvml", "GPU", "mJ", "counter")


def watch(*meters):
    seconds = iter([10.0, 14.0])
    return Stopwatch(meters, lambda: next(seconds), lambda meter, every_s: nullcontext())


def meter(sensor, *values):
    given = iter(values)
    return Meter(sensor, [Channel(lambda: next(given))], lambda: 0.0)


def test_a_lap_tells_seconds_and_the_joules_of_all_meters():
    # a meter is read when it is made, and at both ends of the lap: what came before does not count
    with watch(meter(RAPL, 0, 10**6, 3 * 10**6), meter(GPU, 0, 0, 5000)).lap() as lap:
        pass
    assert lap.phase("tuning", 32, 8) == Phase(
        "tuning", 4.0, 32, 8, pytest.approx(7.0), "rapl:package-0 and nvml:GPU"
    )


def test_without_a_meter_the_energy_is_unknown_and_not_0():
    with watch().lap() as lap:
        pass
    assert lap.phase("training") == Phase("training", 4.0, 0, 0, None, "")


def test_a_sensor_that_vanishes_leaves_the_energy_unknown_and_ends_nothing():
    values = iter([0, 5])

    def read():
        value = next(values, None)
        if value is None:
            raise OSError("gone")
        return value

    with watch(Meter(RAPL, [Channel(read)])).lap() as lap:
        pass
    assert (lap.seconds, lap.energy_j, lap.sensor) == (4.0, None, "")


def test_an_error_in_the_work_goes_on_its_way():
    with pytest.raises(KeyError), watch(meter(RAPL, 0, 1)).lap():
        raise KeyError


def test_half_of_a_machine_is_not_told_for_all_of_it(monkeypatch):
    def none():
        raise NoSensor("none")

    monkeypatch.setattr(stopwatch, "open_nvml", lambda: meter(GPU, 0))
    monkeypatch.setattr(stopwatch, "open_rapl", none)
    monkeypatch.setattr(stopwatch, "open_hwmon", none)
    assert stopwatch.stopwatch_of("cuda").meters == ()
    monkeypatch.setattr(stopwatch, "open_hwmon", lambda: meter(RAPL, 0))
    assert [m.sensor for m in stopwatch.stopwatch_of("cuda").meters] == [GPU, RAPL]
    assert [m.sensor for m in stopwatch.stopwatch_of("cpu").meters] == [RAPL]
    assert stopwatch.stopwatch_of("cuda:1").meters == ()
    monkeypatch.setattr(stopwatch, "open_nvml", none)
    assert stopwatch.stopwatch_of("cuda").meters == ()


def phases(*events):
    started = Started(2, {}, {}, {})
    records = [Record(0.0, started), *(Record(100.0, event) for event in events)]
    return {phase.name: phase for phase in use_of("run", records).phases}


def test_the_energy_of_a_kind_of_work_is_the_sum_of_all_its_parts():
    told = phases(
        Trained("original", 0, 1.0, Phase("training", 10.0, 64, 0, 30.0, "rapl:package-0")),
        Trained("adapted", 1, 1.0, Phase("training", 5.0, 32, 0, 12.0, "rapl:package-0")),
        TableMeasured("board", 3, 2.0, (), 4.0, "rapl:package-0"),
    )
    assert told["training"].energy_j == pytest.approx(42.0)
    assert told["training"].sensor == "rapl:package-0"
    assert told["measuring"].energy_j == 4.0
    assert told["other"].energy_j is None


def test_energy_that_is_known_of_some_parts_alone_is_not_known():
    told = phases(
        Trained("original", 0, 1.0, Phase("training", 10.0, 64, 0, 30.0, "rapl:package-0")),
        Trained("adapted", 1, 1.0, Phase("training", 5.0, 32)),
        Exported({}, Phase("exporting", 1.0)),
    )
    assert (told["training"].energy_j, told["training"].sensor) == (None, None)
    assert told["exporting"].energy_j is None


def test_the_machine_tells_threads_and_an_accelerator_where_they_are_known():
    assert {"threads", "accelerator"} & set(machine()) == set()
    told = machine(4, "NVIDIA A2")
    assert (told["threads"], told["accelerator"]) == (4, "NVIDIA A2")


def test_the_source_of_a_measured_inference_is_its_sensor():
    reading = {"value": 2.0, "p10": 1.0, "p90": 3.0, "clock": "wall", "runs": 3}
    devices = {"board": {"platform": "ort:cpu", "device": "x", "runtime": "y",
                         "sensor": "hwmon:VDD_IN"}}  # fmt: skip
    energy = {"energy": reading}
    measured = Measured(1, "board", energy, energy, Phase("measuring", 1.0), ())
    use = use_of("run", [Record(0.0, Started(2, {"devices": devices}, {}, {})),
                         Record(9.0, measured)])  # fmt: skip
    assert (use.after.source, use.after.basis, use.after.windows) == ("hwmon:VDD_IN", "measured", 3)

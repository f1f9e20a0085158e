"""Sensors of energy, in folders that imitate those of devices, and by a clock that does not run."""

import ctypes
import threading
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.platforms.bench import energy, hwmon, nvml, powercap, powermetrics, zeus
from netadapt.platforms.bench.energy import Windows
from netadapt.platforms.bench.hwmon import open_hwmon
from netadapt.platforms.bench.powercap import open_rapl
from netadapt.platforms.bench.sensors import Channel, Meter, NoSensor, Sampling, Sensor

COUNTER = Sensor("rapl", "package-0", "uJ", "counter")
POWER = Sensor("hwmon", "VDD_IN", "mW", "power")


def tree(root, files):
    """Small files under a folder, as ``{path: content}``."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{content}\n")
    return str(root)


def zone(place, name, uj, span=262143328850):
    folder = f"class/powercap/{place}"
    return {f"{folder}/name": name, f"{folder}/energy_uj": uj,
            f"{folder}/max_energy_range_uj": span}  # fmt: skip


LAPTOP = {
    **zone("intel-rapl:0", "package-0", 1_000_000),
    **zone("intel-rapl:0:0", "core", 500_000),
    **zone("intel-rapl:0:1", "uncore", 100_000),
    **zone("intel-rapl:0:2", "dram", 200_000),
    **zone("intel-rapl:1", "psys", 9_000_000),
    **zone("intel-rapl-mmio:0", "package-0", 1_000_000),
}


def bump(root, place, uj):
    (Path(root) / f"class/powercap/{place}/energy_uj").write_text(str(uj))


def test_packages_and_memory_are_added_and_nothing_that_lies_inside_or_around_them(tmp_path):
    root = tree(tmp_path, LAPTOP)
    meter = open_rapl(root)
    assert str(meter.sensor) == "rapl:package-0+dram"
    bump(root, "intel-rapl:0", 1_300_000)
    bump(root, "intel-rapl:0:0", 700_000)
    bump(root, "intel-rapl:0:2", 250_000)
    bump(root, "intel-rapl:1", 9_900_000)
    bump(root, "intel-rapl-mmio:0", 1_300_000)
    assert meter.read() == pytest.approx(0.35)  # 0.3 J of the package, 0.05 J of its memory


def test_all_packages_of_a_server_count_each_with_its_own_memory(tmp_path):
    root = tree(tmp_path, {
        **zone("intel-rapl:0", "package-0", 0), **zone("intel-rapl:0:0", "dram", 0),
        **zone("intel-rapl:1", "package-1", 0), **zone("intel-rapl:1:0", "dram", 0),
    })  # fmt: skip
    meter = open_rapl(root)
    assert meter.sensor.domain == "package-0+package-0-dram+package-1+package-1-dram"
    for number, place in enumerate(("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1",
                                    "intel-rapl:1:0")):  # fmt: skip
        bump(root, place, 10**6 * 10**number)
    assert meter.read() == pytest.approx(1111.0)


def test_an_amd_processor_tells_its_package(tmp_path):
    root = tree(tmp_path, {
        **zone("intel-rapl:0", "package-0", 5), **zone("intel-rapl:0:0", "core", 3),
    })  # fmt: skip
    assert open_rapl(root).sensor.domain == "package-0"


def test_the_platform_counts_only_where_there_is_no_package(tmp_path):
    assert open_rapl(tree(tmp_path, zone("intel-rapl:0", "psys", 5))).sensor.domain == "psys"


def test_the_memory_mapped_interface_counts_where_it_is_the_only_one(tmp_path):
    root = tree(tmp_path, zone("intel-rapl-mmio:0", "package-0", 5))
    assert open_rapl(root).sensor.domain == "package-0"


def test_a_counter_begins_anew_at_the_range_of_its_own_zone(tmp_path):
    root = tree(tmp_path, {
        **zone("intel-rapl:0", "package-0", 9_999_000, 10_000_000),
        **zone("intel-rapl:0:0", "dram", 100, 65_712_999_613),
    })  # fmt: skip
    meter = open_rapl(root)
    bump(root, "intel-rapl:0", 500)  # 1000 to the end and 500 more
    bump(root, "intel-rapl:0:0", 600)
    assert meter.read() == pytest.approx(2000e-6)


@given(st.lists(st.integers(0, 999), max_size=30), st.integers(0, 999))
def test_what_is_added_up_over_any_wraps_is_what_was_used(steps, start):
    used = start
    seconds = count()
    meter = Meter(COUNTER, [Channel(lambda: used % 1000, 1000)], lambda: float(next(seconds)))
    for step in steps:
        used += step
        meter.read()
    assert meter.joules == pytest.approx(sum(steps) * 1e-6)


def test_a_counter_that_falls_and_tells_no_range_is_no_reading():
    values = iter([5, 3])
    meter = Meter(COUNTER, [Channel(lambda: next(values))], lambda: 0.0)
    with pytest.raises(NoSensor, match="set back"):
        meter.read()


@pytest.mark.parametrize(("before", "now", "span"), [
    (130_000_000_000, 500, 262_143_328_850),  # 132 kJ within 50 ms
    (900, 10, 500),  # it counted beyond its range
])  # fmt: skip
def test_a_counter_that_was_set_back_is_not_one_that_went_round(before, now, span):
    values, seconds = iter([before, now, now + 7]), iter([0.0, 0.05, 0.1])
    meter = Meter(COUNTER, [Channel(lambda: next(values), span)], lambda: next(seconds))
    with pytest.raises(NoSensor, match="set back midway"):
        meter.read()
    assert meter.read() == pytest.approx(7e-6)  # and goes on from there


def test_a_counter_that_leapt_ahead_is_no_reading():
    values, seconds = iter([0, 10**13, 10**13 + 7]), iter([0.0, 0.05, 0.1])
    meter = Meter(COUNTER, [Channel(lambda: next(values), 0)], lambda: next(seconds))
    with pytest.raises(NoSensor, match="leapt ahead midway"):  # 10 MJ within 50 ms
        meter.read()
    assert meter.read() == pytest.approx(7e-6)  # and goes on from there


def test_a_counter_tells_at_once_what_was_drawn_since_it_last_moved():
    values, seconds = iter([0, 70_000]), iter([0.0, 1e-5])
    gpu = Sensor("nvml", "GPU", "mJ", "counter")
    meter = Meter(gpu, [Channel(lambda: next(values))], lambda: next(seconds))
    assert meter.read() == pytest.approx(70.0)  # 700 W for the 0.1 s between its updates


def test_a_power_that_no_device_draws_is_no_reading():
    values, seconds = iter([10_000, 2**63, 10_000, 10_000]), count()
    meter = Meter(POWER, [Channel(lambda: next(values))], lambda: float(next(seconds)))
    with pytest.raises(NoSensor, match="more power than any device draws"):
        meter.read()


def test_a_counter_that_may_not_be_read_tells_how_to_allow_it_and_is_not_0(tmp_path, monkeypatch):
    root = tree(tmp_path, LAPTOP)

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(powercap, "number", forbidden)
    with pytest.raises(NoSensor, match=r"sudo chmod -R a\+r /sys/class/powercap/\*"):
        open_rapl(root)


def test_without_a_counter_there_is_no_reading(tmp_path):
    with pytest.raises(NoSensor, match="virtual machines hide it"):
        open_rapl(str(tmp_path))


def test_a_sensor_that_vanishes_midway_is_named(tmp_path):
    root = tree(tmp_path, zone("intel-rapl:0", "package-0", 5))
    meter = open_rapl(root)
    (tmp_path / "class/powercap/intel-rapl:0/energy_uj").unlink()
    with pytest.raises(NoSensor, match="rapl:package-0 cannot be read any more"):
        meter.read()


def test_power_is_integrated_by_trapezoids():
    watts, seconds = iter([1000, 3000, 2000]), iter([0.0, 0.5, 1.5])
    meter = Meter(POWER, [Channel(lambda: next(watts))], lambda: next(seconds))
    assert meter.read() == pytest.approx(1.0)  # (1 W + 3 W) / 2 * 0.5 s
    assert meter.read() == pytest.approx(3.5)  # and (3 W + 2 W) / 2 * 1 s
    assert meter.updates == 2


def test_a_counter_that_stands_still_tells_no_news():
    meter = Meter(COUNTER, [Channel(lambda: 7)], lambda: 0.0)
    assert [meter.read(), meter.read()] == [0, 0]
    assert meter.updates == 0


def rails(chip, **rails_mv_ma):
    files = {f"{chip}/name": "ina3221"}
    for number, (label, (mv, ma)) in enumerate(rails_mv_ma.items(), start=1):
        files |= {f"{chip}/in{number}_label": label, f"{chip}/in{number}_input": mv,
                  f"{chip}/curr{number}_input": ma}  # fmt: skip
    return files


def test_of_an_orin_the_input_alone_counts_and_files_with_errors_are_passed_by(tmp_path):
    files = rails("class/hwmon/hwmon1", VDD_IN=(5000, 1200), VDD_CPU_GPU_CV=(5000, 400),
                  VDD_SOC=(5000, 300))  # fmt: skip
    files["class/hwmon/hwmon1/in3_input"] = "none"  # as a file that gives EIO: no number
    ticks = count()
    meter = open_hwmon(tree(tmp_path, files), lambda: float(next(ticks)))
    assert str(meter.sensor) == "hwmon:VDD_IN"
    assert meter.read() == pytest.approx(6.0)  # 5 V * 1.2 A for a second


def test_without_its_input_a_board_is_not_told_by_parts_of_it(tmp_path):
    files = rails("class/hwmon/hwmon1", VDD_IN=(5000, 1200), VDD_SOC=(5000, 300))
    files["class/hwmon/hwmon1/in1_input"] = "none"
    with pytest.raises(NoSensor, match="VDD_IN, which is all that the board draws, cannot be read"):
        open_hwmon(tree(tmp_path, files))


def test_of_an_agx_xavier_all_rails_are_added(tmp_path):
    files = rails("class/hwmon/hwmon2", GPU=(19000, 100), CPU=(19000, 200), SOC=(19000, 300))
    ticks = count()
    meter = open_hwmon(tree(tmp_path, files), lambda: float(next(ticks)))
    assert meter.sensor.domain == "GPU+CPU+SOC"
    assert meter.read() == pytest.approx(11.4)


def test_of_a_board_without_an_input_a_rail_that_cannot_be_read_is_not_left_out(tmp_path):
    files = rails("class/hwmon/hwmon2", GPU=(19000, 100), CPU=(19000, 200), SOC=(19000, 300))
    files["class/hwmon/hwmon2/in2_input"] = "none"
    with pytest.raises(NoSensor, match="sum of its rails, and of CPU nothing can be read"):
        open_hwmon(tree(tmp_path, files))


def test_what_is_not_connected_is_no_rail(tmp_path):
    files = rails("class/hwmon/hwmon2", VDD_GPU_SOC=(20000, 100), NC=(20000, 7))
    files["class/hwmon/hwmon2/in2_input"] = "none"
    assert open_hwmon(tree(tmp_path, files)).sensor.domain == "VDD_GPU_SOC"


def test_a_power_below_zero_is_no_reading(tmp_path):
    files = rails("class/hwmon/hwmon1", VDD_IN=(5000, -1200))
    with pytest.raises(NoSensor, match=r"VDD_IN cannot be read any more \(it is below zero\)"):
        open_hwmon(tree(tmp_path, files))


def test_of_jetpack_4_the_input_is_told_in_milliwatts(tmp_path):
    chip = "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    files = {f"{chip}/rail_name_0": "POM_5V_IN", f"{chip}/in_power0_input": 2500,
             f"{chip}/rail_name_1": "POM_5V_GPU", f"{chip}/in_power1_input": 400}  # fmt: skip
    ticks = count()
    meter = open_hwmon(tree(tmp_path, files), lambda: float(next(ticks)))
    assert str(meter.sensor) == "hwmon:POM_5V_IN"
    assert meter.read() == pytest.approx(2.5)


def test_a_power_monitor_is_read_in_microwatts_and_graphics_and_disks_are_not(tmp_path):
    files = {
        "class/hwmon/hwmon0/name": "amdgpu", "class/hwmon/hwmon0/power1_input": 90_000_000,
        "class/hwmon/hwmon1/name": "ina226", "class/hwmon/hwmon1/power1_input": 3_000_000,
    }  # fmt: skip
    ticks = count()
    meter = open_hwmon(tree(tmp_path, files), lambda: float(next(ticks)))
    assert str(meter.sensor) == "hwmon:ina226/power1"
    assert meter.read() == pytest.approx(3.0)


def test_of_an_epyc_the_sockets_count_and_not_the_cores_inside_them(tmp_path):
    chip = "class/hwmon/hwmon3"
    files = {f"{chip}/name": "amd_energy",
             f"{chip}/energy1_label": "Ecore000", f"{chip}/energy1_input": 10,
             f"{chip}/energy2_label": "Esocket0", f"{chip}/energy2_input": 100}  # fmt: skip
    meter = open_hwmon(tree(tmp_path, files))
    (tmp_path / chip / "energy2_input").write_text("2000100")
    assert str(meter.sensor) == "hwmon:Esocket0"
    assert meter.read() == pytest.approx(2.0)


def test_several_powers_of_which_none_is_the_total_are_refused(tmp_path):
    chip = "class/hwmon/hwmon0"
    files = {f"{chip}/name": "ltc2992", f"{chip}/power1_input": 1, f"{chip}/power2_input": 2}
    with pytest.raises(NoSensor, match="ltc2992/power1, ltc2992/power2 may lie inside each other"):
        open_hwmon(tree(tmp_path, files))
    with pytest.raises(NoSensor, match="no hardware monitor"):
        open_hwmon(str(tmp_path / "nothing"))


def test_a_monitor_that_may_not_be_read_tells_how_to_allow_it(tmp_path, monkeypatch):
    files = {"class/hwmon/hwmon1/name": "ina226", "class/hwmon/hwmon1/power1_input": 3}

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hwmon, "number", forbidden)
    with pytest.raises(NoSensor, match=r"sudo chmod a\+r .*power1_input"):
        open_hwmon(tree(tmp_path, files))


def test_of_an_orin_nano_no_rail_is_counted_twice_nor_the_sum_of_rails_beside_the_input(tmp_path):
    files = rails("class/hwmon/hwmon1", VDD_IN=(4968, 1000), VDD_CPU_GPU_CV=(4968, 300),
                  VDD_SOC=(4968, 200), sum_of_shunt_voltages=(9, 9))  # fmt: skip
    ticks = count()
    meter = open_hwmon(tree(tmp_path, files), lambda: float(next(ticks)))
    assert meter.read() == pytest.approx(4.968)


def test_an_amd_server_of_two_sockets_wraps_each_at_its_own_range(tmp_path):
    files = {
        **zone("intel-rapl:0", "package-0", 65_000_000, span=65_532_610),
        **zone("intel-rapl:0:0", "core", 1_000),
        **zone("intel-rapl:1", "package-1", 10, span=262_143_328_850),
    }
    root = tree(tmp_path, files)
    meter = open_rapl(root)
    assert str(meter.sensor) == "rapl:package-0+package-1"
    bump(root, "intel-rapl:0", 467_390)  # 532 610 up to the range, and 467 390 from 0
    bump(root, "intel-rapl:1", 2_000_010)
    assert meter.read() == pytest.approx(3.0)


def test_a_zone_that_gives_an_error_of_the_hardware_is_refused_and_is_not_0(tmp_path):
    root = tree(tmp_path, {**LAPTOP, "class/powercap/intel-rapl:0/energy_uj": ""})
    with pytest.raises(NoSensor, match=r"intel-rapl:0 cannot be read .* choose another"):
        open_rapl(root)


class Zeus:
    """Zeus's GPUs, with a counter in mJ or with power in mW alone."""

    def __init__(self, counts):
        self.counts, self.mj = counts, 5_000

    def get_name(self, index):
        return "AMD Instinct MI210"

    def supports_get_total_energy_consumption(self, index):
        return self.counts

    def get_total_energy_consumption(self, index):
        return self.mj

    def get_instant_power_usage(self, index):
        return 40_000


def test_zeus_is_read_by_its_counter_or_by_its_power():
    gpus, ticks = Zeus(counts=True), count()
    meter = zeus.open_zeus(lambda: gpus)
    assert str(meter.sensor) == "zeus:GPU AMD Instinct MI210"
    gpus.mj += 2_500
    assert meter.read() == pytest.approx(2.5)
    meter = zeus.open_zeus(lambda: Zeus(counts=False), lambda: float(next(ticks)))
    assert meter.read() == pytest.approx(40.0)  # 40 W for a second


def test_zeus_that_fails_midway_is_a_sensor_that_cannot_be_read_any_more():
    gpus = Zeus(counts=True)
    meter = zeus.open_zeus(lambda: gpus)
    gpus.mj = None
    with pytest.raises(NoSensor, match="Instinct MI210 cannot be read any more"):
        meter.read()


def test_without_zeus_and_without_a_gpu_that_it_knows_there_is_a_sentence():
    def absent():
        raise ImportError("No module named 'zeus'")

    def no_gpu():
        raise RuntimeError("no driver")

    with pytest.raises(NoSensor, match="pip install zeus"):
        zeus.open_zeus(absent)
    with pytest.raises(NoSensor, match=r"Zeus tells no energy here \(no driver\)"):
        zeus.open_zeus(no_gpu)


class Nvml:
    """NVIDIA's library, with a counter in mJ."""

    def __init__(self, counts, status=0):
        self.counts, self.status, self.asked = iter(counts), status, []

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        self.asked.append(index)
        return 0

    def nvmlDeviceGetName(self, handle, name, length):
        name.value = b"NVIDIA A2"
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, out):
        ctypes.cast(out, ctypes.POINTER(ctypes.c_ulonglong))[0] = next(self.counts, 0)
        return self.status


def test_a_gpu_counts_millijoules(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    library = Nvml([5_000_000_000, 5_000_001_500])
    meter = nvml.open_nvml(lambda: library)
    assert meter.read() == pytest.approx(1.5)
    assert str(meter.sensor) == "nvml:GPU NVIDIA A2"
    assert library.asked == [1]


def test_a_gpu_that_counts_nothing_and_a_machine_without_a_driver_say_so():
    with pytest.raises(NoSensor, match="Volta"):
        nvml.open_nvml(lambda: Nvml([0], status=3))

    def absent():
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    with pytest.raises(NoSensor, match="no NVIDIA driver"):
        nvml.open_nvml(absent)


APPLE = "CPU Power: 120 mW\nGPU Power: 30 mW\nCombined Power (CPU + GPU + ANE): {} mW\n"
INTEL = "Intel energy model derived package power (CPUs+GT+SA): 1.50W\n"


def test_powermetrics_tells_the_last_sample_until_it_ends():
    asked, told = threading.Event(), threading.Event()

    def lines():
        yield from APPLE.format(200).splitlines()
        told.set()
        asked.wait(10)

    seconds = iter([0.0, 0.1])
    meter = powermetrics.open_powermetrics(lines, lambda: next(seconds))
    assert told.wait(10)
    assert meter.read() == pytest.approx(0.02)  # 0.2 W for a tenth of a second
    asked.set()
    with pytest.raises(NoSensor, match="powermetrics ended"):  # noqa: PT012 - soon, not at once
        for _ in range(10**6):
            meter.clock = lambda: 0.2
            meter.read()
    assert list(powermetrics.milliwatts([INTEL])) == [1500]


def test_powermetrics_is_of_macos_and_of_its_administrator(monkeypatch):
    monkeypatch.setattr(powermetrics.platform, "system", lambda: "Linux")
    with pytest.raises(NoSensor, match="macOS"):
        powermetrics.open_powermetrics()
    monkeypatch.setattr(powermetrics.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(powermetrics.os, "geteuid", lambda: 501, raising=False)
    with pytest.raises(NoSensor, match="sudo"):
        powermetrics.open_powermetrics()


class Board:
    """A device that draws 2 W, and 3 J more for each run of 0.5 s; a counter in uJ on it."""

    def __init__(self, step_uj=1, idle_w=2.0, run_j=3.0):
        self.now_s, self.used_j, self.step_uj = 0.0, 0.0, step_uj
        self.idle_w, self.run_j = idle_w, run_j
        self.meter = Meter(COUNTER, [Channel(self.counter)], lambda: self.now_s)

    def counter(self):
        return round(self.used_j * 1e6) // self.step_uj * self.step_uj

    def sleep(self, seconds):
        self.now_s += seconds
        self.used_j += self.idle_w * seconds
        self.meter.read()

    def run(self):
        self.used_j += self.run_j
        self.sleep(0.5)

    def windows(self, seconds=8.0):
        windows = Windows(self.meter, seconds, 1.0)
        windows.sampling, windows.sleep = lambda meter: nullcontext(), self.sleep
        windows.clock = lambda: self.now_s
        return windows


def test_what_idling_takes_is_taken_from_what_runs_take():
    board = Board()
    windows = board.windows()
    idle_w = windows.idle_w()
    assert idle_w == pytest.approx(2.0)
    told = windows.inference(board.run, idle_w)
    assert told["joules"] == pytest.approx(3.0, rel=1e-6)
    assert (told["runs"], told["seconds"], told["updates"]) == (16, 8.0, 16)


def test_fewer_than_10_updates_in_a_window_are_refused():
    board = Board()
    with pytest.raises(NoSensor, match=r"told news only 9 times in a window of 4\.5 s, and 10"):
        board.windows(4.5).inference(board.run, 2.0)  # 9 runs of half a second


def test_a_slow_counter_is_refused_however_often_it_is_read():
    board = Board(step_uj=10**7)  # tells each 10 J: 4 J for a run, so 6 or 7 times in 16 runs
    with pytest.raises(NoSensor, match="10 are needed"):
        board.windows().inference(board.run, 2.0)


def test_a_run_that_draws_no_more_than_idling_is_refused_and_is_not_0():
    board = Board(run_j=0.0)
    with pytest.raises(NoSensor, match="no more power with the network running than without"):
        board.windows().inference(board.run, 2.0)


def test_the_background_reads_and_hands_on_what_went_wrong():
    values = count()
    meter = Meter(COUNTER, [Channel(lambda: next(values))])
    with Sampling(meter, 0.001):
        while meter.updates < 3:
            pass

    def vanished():
        raise OSError("gone")

    meter.channels = [Channel(vanished)]
    sampling = Sampling(meter, 0.001)
    with pytest.raises(NoSensor, match="gone"), sampling:  # noqa: PT012
        while sampling._thread.is_alive():
            pass


def test_auto_takes_the_first_sensor_of_what_is_computed_on(monkeypatch):
    def none():
        raise NoSensor("nothing here")

    def some(name):
        return lambda: SimpleNamespace(sensor=Sensor(name, "x", "uJ", "counter"))

    monkeypatch.setattr(energy, "OPENERS", {
        "rapl": none, "nvml": some("nvml"), "hwmon": some("hwmon"), "powermetrics": none,
    })  # fmt: skip
    assert energy.open_meter("auto", "cpu").sensor.name == "hwmon"
    assert energy.open_meter("auto", "cuda").sensor.name == "nvml"
    assert energy.survey() == {
        "rapl": "no: nothing here", "nvml": "nvml:x", "hwmon": "hwmon:x",
        "powermetrics": "no: nothing here",
    }  # fmt: skip
    monkeypatch.setitem(energy.OPENERS, "hwmon", none)
    with pytest.raises(NoSensor, match="rapl: nothing here; hwmon: nothing here"):
        energy.open_meter("auto", "cpu")

"""Energy by class of layer, on a device whose powers are known and whose windows vary."""

import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from netadapt.errors import DeviceError, TableError, UsageError
from netadapt.models import mobilenet_v1
from netadapt.network import LayerShape, cost_of
from netadapt.platforms import Workload, open_platform
from netadapt.platforms.synthetic import WATTS, SyntheticPlatform
from netadapt.tables.accuracy import Sample, assess, observe
from netadapt.tables.build import complete_table, describe_table
from netadapt.tables.energy import (
    EnergyCost,
    complete_energies,
    energy_sizes,
    seconds_by_class,
    unmeasured,
)
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import TableRequest
from netadapt.tables.powers import CALL, COLD, NetworkEnergy, fit_powers, layer_class
from netadapt.tracing import trace

BOARD = SyntheticPlatform(energy="sensor")


@pytest.fixture(scope="module")
def network():
    return trace(mobilenet_v1(width=0.5, num_classes=10), (3, 32, 32))


def timed(network, path, device=BOARD, count=30):
    """A table of latency, and the networks whose energy is to be measured."""
    sizes = energy_sizes(network, 16, count)
    request = TableRequest(network, {}, 16, others=tuple(sizes.values()))
    table = complete_table(LookupTable(device.describe()), device, request, path=path)
    return table, {name: Workload(name, b"", network.at(s)) for name, s in sizes.items()}


@pytest.fixture(scope="module")
def built(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("energy") / "t.csv"
    table, works = timed(network, path)
    return complete_energies(table, BOARD, works, path=path), path


def row(joules, **seconds):
    return NetworkEnergy("net", "0", joules, 0.0, 3, "rapl:package-0", seconds)


def test_no_network_is_measured_twice_where_widths_have_few_choices():
    """Two widths of 16 or 32 channels: four networks, and not 30."""
    small = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 4, 3)
    )
    network = trace(small, (3, 16, 16))
    widths = [tuple(network.complete(s).values()) for s in energy_sizes(network, 16).values()]
    assert sorted(widths) == sorted(set(widths))
    assert len(widths) == 4


@dataclass(frozen=True)
class Vanishing(SyntheticPlatform):
    """A board whose sensor is gone after some networks."""

    left: list = field(default_factory=list)

    def measure_networks(self, models, effort=None, progress=None):
        if not self.left:
            raise DeviceError("The energy sensor synthetic:board cannot be read any more.")
        self.left.pop()
        return super().measure_networks(models)


def test_layers_are_classed_by_how_they_compute():
    conv = LayerShape("conv", 32, 64, (8, 8), (8, 8), (3, 3))
    assert layer_class(conv) == "convolution"
    assert layer_class(replace(conv, kernel=(1, 1))) == "pointwise"
    assert layer_class(replace(conv, cout=32, groups=32)) == "depthwise"
    assert layer_class(replace(conv, groups=4)) == "grouped convolution"
    assert layer_class(LayerShape("linear", 32, 10)) == "linear"
    assert layer_class(LayerShape("max_pool", 32, 32)) == "other"


def test_powers_by_hand():
    # 2 W and 5 W: 2*1 + 5*1 = 7 J, 2*3 + 5*1 = 11 J, 2*1 + 5*4 = 22 J
    rows = [row(7, a=1, b=1), row(11, a=3, b=1), row(22, a=1, b=4)]
    powers = fit_powers(rows)
    assert powers.watts("a") == pytest.approx(2, rel=0.01)
    assert powers.watts("b") == pytest.approx(5, rel=0.01)
    assert powers.residual < 0.002
    for name, watts in (("a", 2), ("b", 5)):
        assert powers.classes[name].low <= watts <= powers.classes[name].high


def test_what_one_network_says_is_one_power_for_all_and_a_class_unseen_has_it_too():
    powers = fit_powers([row(6, a=1, b=2)])
    assert (powers.watts("a"), powers.watts("b")) == pytest.approx((2, 2))
    assert powers.watts("never seen") == powers.common == pytest.approx(2)


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9), st.floats(0.01, 99)), min_size=1,
                max_size=8))  # fmt: skip
def test_no_power_is_below_zero_and_intervals_hold_it(numbers):
    powers = fit_powers([row(joules, a=a, b=b) for a, b, joules in numbers])
    for power in powers.classes.values():
        assert 0 <= power.low <= power.watts <= power.high
    assert powers.calibration.apply(powers.joules({"a": 1.0, "b": 1.0})) > 0


def test_the_price_of_a_network_is_its_seconds_by_class_times_their_powers(network, built):
    table, _ = built
    layers = network.at({"pw13.conv": 128})
    by_class = seconds_by_class(table, layers)
    plain = replace(table, calibration=replace(table.calibration, scale=1.0, exponent=0.0))
    assert sum(by_class.values()) == pytest.approx(plain.price(layers))
    assert set(by_class) == {CALL, COLD, "convolution", "depthwise", "pointwise", "linear"}
    powers = table.powers
    price = cost_of(EnergyCost.of(table), layers)
    assert price == pytest.approx(powers.calibration.apply(powers.joules(by_class)))


def test_unseen_networks_are_priced_and_each_group_is_worth_what_it_saves(network, built):
    table, path = built
    assert LookupTable.load(path) == table
    observed = observe(network, BOARD, lambda sizes: b"", Sample(16, 6, 8, 0, "energy"))
    cost = EnergyCost.of(table)
    accuracy = assess(observed, lambda layers: cost_of(cost, layers), calibrate=False)
    by_time = assess(observed, table.price, calibrate=True)
    assert accuracy.mean < 0.01
    assert accuracy.savings_r > 0.999
    assert accuracy.mean < by_time.mean
    powers = table.powers
    for name in ("pointwise", "depthwise", COLD):  # what the networks have much of
        assert powers.watts(name) == pytest.approx(WATTS[name], rel=0.2)


def test_windows_that_vary_cost_accuracy_by_as_much(network, tmp_path):
    noisy = SyntheticPlatform(noise=0.1, energy="sensor")
    table, works = timed(network, tmp_path / "t.csv", noisy)
    table = complete_energies(table, noisy, works, path=tmp_path / "t.csv")
    spreads = {row.spread for row in table.energies}
    assert len(spreads) == 30
    assert 0.001 < table.powers.residual < 0.05
    cost = EnergyCost.of(table)
    for sizes in ({}, {"pw13.conv": 128}, {"pw9.conv": 64, "pw4.conv": 32}):
        layers = network.at(sizes)
        assert cost_of(cost, layers) == pytest.approx(BOARD.energy_truth(layers), rel=0.05)


def test_a_sensor_that_vanishes_midway_loses_nothing_and_the_same_call_goes_on(network, tmp_path):
    path = tmp_path / "t.csv"
    device = Vanishing(energy="sensor", left=[None] * 3)
    table, works = timed(network, path, device, count=6)
    with pytest.raises(DeviceError, match="cannot be read any more"):
        complete_energies(table, device, works, path=path)
    kept = LookupTable.load(path)
    assert [row.name for row in kept.energies] == ["full", "3/4", "1/2"]
    assert list(unmeasured(kept, works)) == ["uneven", "random 0", "random 1"]
    device.left.extend([None] * 3)
    again = complete_energies(kept, device, works, path=path)
    assert len(again.energies) == 6
    assert LookupTable.load(path).energies == again.energies
    assert complete_energies(again, device, works, path=path) is again  # nothing is left to do


def test_energy_of_another_sensor_is_refused(built):
    table, _ = built
    table.require(replace(BOARD.describe(), sensor=""))  # time alone is asked for
    with pytest.raises(TableError, match=r"read from synthetic:board, and this device reads rapl"):
        table.require(replace(BOARD.describe(), sensor="rapl:package-0"))


def test_a_table_without_energy_says_what_to_do(network):
    with pytest.raises(TableError, match="holds no network's energy"):
        EnergyCost.of(LookupTable(BOARD.describe()))


WHOLE = (
    '{"name": "x", "layers": "0", "joules": 1, "spread": 0, "windows": 3, "sensor": "s", '
    '"seconds": {"call": 1}}'
)


def test_a_line_of_energy_says_what_was_measured():
    row = NetworkEnergy.from_text(WHOLE)
    assert (row.joules, row.windows, row.seconds) == (1.0, 3, {"call": 1.0})
    assert NetworkEnergy.from_text(row.to_text()) == row


@pytest.mark.parametrize("text", [
    '{"name": "x"}', "{}", "no json", '{"joules": 0}', "[]", "null",
    WHOLE.replace("3", '"many"'), WHOLE.replace('{"call": 1}', "[]"),
    WHOLE.replace('"joules": 1', '"joules": -1'), WHOLE.replace('"spread": 0', '"spread": NaN'),
])  # fmt: skip
def test_a_line_of_energy_that_was_edited_is_out_of_place(built, tmp_path, text):
    _, path = built
    lines = path.read_text().splitlines(keepends=True)
    broken = [f"# energy: {text}\n" if line.startswith("# energy:") else line for line in lines]
    (tmp_path / "t.csv").write_text("".join(broken))
    with pytest.raises(TableError, match=r"t\.csv has a value out of place: the energy of"):
        LookupTable.load(tmp_path / "t.csv")


def test_a_recording_answers_energy_as_its_device_does(network, built):
    _, path = built
    replayed = open_platform(f"replay:{path}")
    assert replayed.resources == ("latency", "energy")
    assert replayed.describe().sensor == "synthetic:board"
    work = Workload("net", b"", network.at({}))
    reading = replayed.measure_networks([work])[0]["energy"]
    assert reading.unit == "J"
    assert reading.value == pytest.approx(BOARD.energy_truth(work.layers), rel=0.02)
    said = describe_table(path)["energy"]
    assert (said["networks"], said["windows"], said["sensors"]) == (30, 3, ["synthetic:board"])
    assert json.dumps(said)


def test_the_synthetic_board_tells_energy_by_formula_by_sensor_or_not_at_all():
    assert open_platform("synthetic:").cost("energy") is not None
    assert BOARD.cost("energy") is None
    assert open_platform(BOARD.uri) == BOARD
    assert open_platform("synthetic:?energy=none").resources == ("latency",)
    with pytest.raises(UsageError, match="none of formula, sensor, none"):
        open_platform("synthetic:?energy=guess")

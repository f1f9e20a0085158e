"""The lookup table: what it prices, what it refuses, and that its file loses nothing."""

import dataclasses

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.errors import DeviceError, RunError, TableError
from netadapt.network import OPS, LayerShape, cost_of
from netadapt.platforms import CANARY, OVERHEAD, REFILL
from netadapt.platforms.measurement import DeviceInfo, Measurement
from netadapt.tables.correction import Calibration
from netadapt.tables.lookup import Entry, LookupTable

INFO = DeviceInfo("ort:cpu", "Abacus 9000", "beads", "onnxruntime 1.0", block=8, layout="NCHWc")
CONV = LayerShape("conv", 16, 32, (8, 8), (8, 8))
LINEAR = LayerShape("linear", 1_000, 1_000)  # 1 million weights: 4 MB
OTHER = LayerShape("other", 16, 16)


def entry(p10, runs=48):
    return Entry(p10, p10 * 1.1, p10 * 1.5, runs)


def table(**more):
    entries = {OVERHEAD: entry(5e-6), CONV: entry(2e-5), LINEAR: entry(3e-5)}
    return LookupTable(INFO, entries, **more)


def test_price_is_overhead_plus_layers():
    assert table().price([CONV, CONV, LINEAR]) == pytest.approx(5e-6 + 2 * 2e-5 + 3e-5)
    assert table().price([]) == pytest.approx(5e-6)


def test_calibration_corrects_all_of_it():
    scaled = table(calibration=Calibration(1.5))
    assert scaled.price([CONV]) == pytest.approx(1.5 * 2.5e-5)
    curved = table(calibration=Calibration(1.5, 0.5))
    assert curved.price([CONV]) == pytest.approx(1.5 * 2.5e-5 * (2.5e-5 / 1e-3) ** 0.5)


def test_weights_that_the_network_displaces_are_read_anew():
    # The chain behind REFILL holds 0.147456 MB a layer, of which a cache of 1 MB keeps 0.852544.
    # CONV holds 0.002048 MB, kept but for that share of itself: 10 us per MB read anew.
    known = {REFILL: entry(1e-5 * 0.852544), CONV: entry(2e-5)}
    refilled = LookupTable(INFO, known)
    assert refilled.layer(CONV) == pytest.approx(2e-5 + 1e-5 * 0.002048 * (1 - 0.002048))
    # A network of this layer alone finds its weights in the cache: nothing is read anew.
    assert refilled.price([CONV]) == pytest.approx(2e-5)
    # One of 500 layers holds 1.024 MB, more than the cache: all are.
    each_s = 2e-5 + 1e-5 * 0.002048 * (1 - 0.002048)
    assert refilled.price([CONV] * 500) == pytest.approx(500 * each_s)


def test_it_is_a_cost():
    assert cost_of(table(), [CONV, LINEAR]) == table().price([CONV, LINEAR])
    assert table().unit == "s"


def test_a_difference_below_zero_costs_nothing_and_stays_in_the_row(tmp_path):
    negative = LookupTable(INFO, {CONV: entry(-1e-7)})
    assert negative.layer(CONV) == 0.0
    negative.save(tmp_path / "t.csv")
    assert LookupTable.load(tmp_path / "t.csv").entries[CONV].p10 == -1e-7


def test_what_no_table_prices_is_free_and_told():
    assert table().layer(OTHER) == 0.0
    assert table().missing([OTHER]) == ()
    assert table().residue([CONV, OTHER]) == (OTHER,)


def test_a_missing_row_is_named():
    with pytest.raises(TableError, match="conv 16>32 8x8 relu"):
        table().layer(dataclasses.replace(CONV, act="relu"))


def test_missing_keeps_the_order_and_starts_with_the_overhead():
    wide = dataclasses.replace(CONV, cout=64)
    assert LookupTable(INFO).missing([LINEAR, wide, LINEAR]) == (OVERHEAD, LINEAR, wide)
    assert table().missing([LINEAR, wide, CONV]) == (wide,)


def test_calibration_makes_the_measured_network_come_out_right():
    calibrated = table().calibrated([(1.1e-4, [CONV, LINEAR])], name="net")
    assert calibrated.price([CONV, LINEAR]) == pytest.approx(1.1e-4)
    assert calibrated.calibration.networks == "net"
    again = calibrated.calibrated([(5e-5, [CONV])], name="net")  # of what it was, nothing is left
    assert again.calibration.scale == pytest.approx(2.0)
    with pytest.raises(DeviceError, match="above zero"):
        table().calibrated([(0.0, [CONV])], name="net")


def test_calibration_on_several_networks_finds_how_the_error_grows():
    truth = table(calibration=Calibration(1.05, 0.08))
    networks = [[CONV] * 3, [LINEAR, CONV], [LINEAR] * 30, [LINEAR] * 300]
    measured = [(truth.price(layers), layers) for layers in networks]
    found = table().calibrated(measured, name="four networks")
    for seconds, layers in measured:
        assert found.price(layers) == pytest.approx(seconds, rel=0.005)


@dataclasses.dataclass
class Device:
    """Answers 1 ms for every layer, until it breaks."""

    info: DeviceInfo = INFO
    breaks_after: int = 99
    uri: str = "ort:cpu"

    def describe(self):
        return self.info

    def measure_layers(self, shapes, effort=None, progress=None):
        for number, shape in enumerate(shapes):
            if number == self.breaks_after:
                raise DeviceError("Unplugged.")
            yield shape, Measurement((1e-3,), warnings=("It is hot; cool it.",))
        yield CANARY, Measurement((1e-3, 2e-3, 3e-3))


def test_fill_measures_what_is_missing_only():
    wide = dataclasses.replace(CONV, cout=64)
    filled = table().fill(Device(), [CONV, wide])
    assert filled.entries[wide].p10 == 1e-3
    assert filled.entries[CONV] == table().entries[CONV]
    assert filled.warnings == ("It is hot; cool it.",)
    assert filled.canary_spread == pytest.approx((2.8e-3 - 1.2e-3) / 2e-3)
    assert filled.fill(Device(breaks_after=0), [CONV, wide]) is filled


def test_the_price_of_cold_weights_is_asked_early_and_as_long_as_it_lacks():
    asked = []

    class Listening(Device):
        def measure_layers(self, shapes, effort=None, progress=None):
            asked.append(list(shapes))
            return super().measure_layers(shapes, effort, progress)

    LookupTable(INFO).fill(Listening(), [CONV, LINEAR])
    table().fill(Listening(), [dataclasses.replace(CONV, cout=64)])
    assert asked == [[OVERHEAD, REFILL, CONV, LINEAR],
                     [dataclasses.replace(CONV, cout=64), REFILL]]  # fmt: skip


def test_fill_refuses_another_device():
    other = dataclasses.replace(INFO, threads=2)
    with pytest.raises(TableError, match=r"threads: 1 vs\. 2"):
        LookupTable(INFO).fill(Device(other), [CONV])


def test_an_interrupted_build_keeps_its_rows(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(DeviceError):
        LookupTable(INFO).fill(Device(breaks_after=3), [CONV, LINEAR], path=path)
    kept = LookupTable.load(path)
    assert list(kept.entries) == [OVERHEAD, REFILL, CONV]
    assert kept.missing([CONV, LINEAR]) == (LINEAR,)
    filled = kept.fill(Device(), [CONV, LINEAR], path=path)
    assert LookupTable.load(path) == filled


def test_a_torn_last_row_is_left_out(tmp_path):
    path = tmp_path / "t.csv"
    table().save(path)
    whole = path.read_text()
    path.write_text(whole[:-10])
    assert list(LookupTable.load(path).entries) == [OVERHEAD, CONV]


def test_pandas_reads_the_file(tmp_path):
    table(warnings=("Hot; cool it.",)).save(tmp_path / "t.csv")
    frame = pd.read_csv(tmp_path / "t.csv", comment="#")
    assert frame["p10"].tolist() == [5e-6, 2e-5, 3e-5]
    assert frame["op"].tolist() == ["overhead", "conv", "linear"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: "hello\n", "first line"),
        (lambda text: text.replace("# netadapt-table: 3", "# netadapt-table: 99"), "first line"),
        (lambda text: text.replace("# block: 8\n", ""), "lacks 'block'"),
        (lambda text: text.replace(",p90", ""), "cut or edited|out of place"),
        (lambda text: text.replace("conv,16", "conv,sixteen"), "sixteen"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, says):
    path = tmp_path / "t.csv"
    table().save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(TableError, match=says):
        LookupTable.load(path)


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(TableError, match="No such file"):
        LookupTable.load(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match="not text"):
        LookupTable.load(tmp_path / "binary")
    with pytest.raises(RunError, match="Cannot write"):
        table().save(tmp_path / "binary" / "t.csv")


widths = st.integers(1, 4096)
pairs = st.tuples(st.integers(0, 600), st.integers(0, 600))
shapes = st.builds(
    LayerShape, st.sampled_from(sorted(OPS)), widths, widths, pairs, pairs, pairs, pairs, pairs,
    pairs, groups=widths, bias=st.booleans(), act=st.sampled_from(["", "relu", "a,b", 'q"']),
    residual=st.booleans(), inputs=st.lists(widths, max_size=3).map(tuple),
)  # fmt: skip
seconds = st.floats(-1, 1)
entries = st.builds(Entry, seconds, seconds, seconds, st.integers(1, 1000))


@given(st.dictionaries(shapes, entries, max_size=5), st.floats(0.1, 10), st.floats(-1, 1))
def test_saving_and_loading_loses_nothing(tmp_path_factory, rows, scale, exponent):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    saved = LookupTable(INFO, rows, Calibration(scale, exponent, "a: net"), warnings=("w: x",))
    saved.save(path)
    assert LookupTable.load(path) == saved


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_price_equals_sum(times):
    layers = [LayerShape("conv", number + 1, 1) for number in range(len(times))]
    made = LookupTable(INFO, {s: entry(t) for s, t in zip(layers, times, strict=True)})
    assert made.price(layers) == pytest.approx(sum(times))

"""What is measured for a table, in what order, and what happens when time runs out."""

import pytest

from netadapt.models import mobilenet_v1
from netadapt.platforms.synthetic import CALL_S, SyntheticPlatform
from netadapt.tables.build import complete_table, describe_table
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import TableRequest
from netadapt.tracing import trace


@pytest.fixture(scope="module")
def network():
    return trace(mobilenet_v1(width=0.25, num_classes=10), (3, 32, 32))


class Slow(SyntheticPlatform):
    """Measures a few layers before its time is up, and tells what limits it was given."""

    def measure_layers(self, shapes, effort, progress=None):
        self.limits.append(effort.time_limit_s)
        few = shapes[: self.few] if effort.time_limit_s is not None else shapes
        return super().measure_layers(few, effort, progress)


@pytest.fixture
def slow():
    device = Slow()
    object.__setattr__(device, "limits", [])
    object.__setattr__(device, "few", 5)
    return device


def built(device, network, table=None, *, others=(), dense=False, **more):
    table = table or LookupTable(device.describe())
    request = TableRequest(network, {}, 16, dense, tuple(others))
    return complete_table(table, device, request, **more)


def test_without_a_limit_every_network_is_priced(network, slow, tmp_path):
    table = built(slow, network, path=tmp_path / "t.csv", others=[{"pw13.conv": 128}])
    assert set(slow.limits) == {None}
    assert table.interpolated
    for sizes in ({}, {"pw13.conv": 128}, {"pw5.conv": 16}):
        assert table.lacking(network.at(sizes)) == ()


def test_out_of_time_keeps_what_came_first_and_the_same_call_goes_on(network, slow, tmp_path):
    path = tmp_path / "t.csv"
    table = built(slow, network, path=path, time_limit_s=60.0)
    assert all(0 < limit <= 60 for limit in slow.limits)
    rows = len(table.entries)
    assert rows == slow.few
    assert table.lacking(network.at({}))
    assert LookupTable.load(path).entries == table.entries
    again = built(slow, network, LookupTable.load(path), path=path)
    assert again.entries.items() > table.entries.items()
    assert again.lacking(network.at({})) == ()


def test_no_time_at_all_measures_nothing(network, slow, tmp_path):
    table = built(slow, network, path=tmp_path / "t.csv", time_limit_s=0.0)
    assert not table.entries
    assert not slow.limits


def test_dense_has_a_row_for_each_layer(network, slow, tmp_path):
    table = built(slow, network, path=tmp_path / "t.csv", dense=True)
    assert not table.interpolated
    for size in network.groups["pw13.conv"].choices(16):
        assert all(s in table.entries for s in network.at({"pw13.conv": size}))


def test_what_a_table_holds_is_told_in_numbers_of_its_unit(network, tmp_path):
    device = SyntheticPlatform()
    table = built(device, network, path=tmp_path / "t.csv")
    assert describe_table(tmp_path / "t.csv")["calibration"] is None
    pairs = [(2 * device.truth(network.at({})), network.at({}))]
    table.calibrated(pairs, name="net").save(tmp_path / "t.csv")
    said = describe_table(tmp_path / "t.csv")
    assert (said["resource"], said["unit"], said["overhead"]) == ("latency", "s", CALL_S)
    assert said["calibration"]["networks"] == "net"
    # 25 us per megabyte, as a cache would keep 0.147 of it: 25 * (1 - 0.147456)
    assert said["cold_weights_per_mb"] == pytest.approx(25e-6 * 0.852544)
    assert said["device"] == device.describe().to_json()
    assert len(said["layers"]) == len(table.entries) - 2  # without overhead and cold weights

"""A table of a device that is reached by hand: out as a folder, back as results."""

import json
import subprocess
import sys

import pytest

from netadapt.assembly import Source
from netadapt.cli import main
from netadapt.errors import DeviceError, UsageError
from netadapt.models import mobilenet_v1
from netadapt.network import LayerShape, op_of
from netadapt.platforms import OVERHEAD, REFILL, Effort
from netadapt.platforms.ort.options import Options
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.probes import terms
from netadapt.platforms.ort.saturation import this_machine_saturates
from netadapt.platforms.synthetic import CALL_S, SyntheticPlatform
from netadapt.table import bundle_table
from netadapt.tables.bundle import (
    BLOCKS,
    RESULTS,
    Carried,
    plan_for_any,
    read_bundle,
    write_bundle,
)
from netadapt.tables.correction import random_sizes
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import TableRequest
from netadapt.tracing import trace

SMALL = Source("mobilenet_v1", {"width": 0.25}, input_size=32, num_classes=10)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device") / "bundle"
    bundle_table(SMALL, folder, platform_uri="ort:cpu", multiple=64)
    plan = (folder / "plan.jsonl").read_text().splitlines(keepends=True)
    head = json.loads(plan[0]) | {"passes": 1, "runs": 1, "bursts": 1, "warmups": 0}
    (folder / "plan.jsonl").write_text(json.dumps(head) + "\n" + "".join(plan[1:]))
    python = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", folder / "run.sh"], check=True, env=python)
    return folder


def test_there_and_back(measured, tmp_path):
    report = read_bundle(measured, tmp_path / "t.csv")
    assert report["entries"] == report["wanted"]
    assert report["remarks"] == []
    info = json.loads((measured / RESULTS).read_text().splitlines()[0])
    assert info["saturates"] == this_machine_saturates()
    assert report["coverage"]["refused"] == 0
    table = LookupTable.load(tmp_path / "t.csv")
    assert table.info.platform == "bundle:cpu"
    assert (
        table.calibration.networks == "mobilenet_v1 at 3 widths"
    )  # in steps of 64 of few channels, two of the four are equal


def test_results_that_were_cut_off_are_taken_as_far_as_they_go(measured, tmp_path):
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "plan.jsonl").write_bytes((measured / "plan.jsonl").read_bytes())
    results = (measured / RESULTS).read_text()
    (folder / RESULTS).write_text(results[: len(results) // 2])
    report = read_bundle(folder, tmp_path / "t.csv")
    assert 0 < report["entries"] < report["wanted"]
    assert "have no result" in report["remarks"][0]
    assert "not calibrated" in report["remarks"][1]


def test_what_is_no_bundle(measured, tmp_path):
    with pytest.raises(UsageError, match="Cannot read the plan"):
        read_bundle(tmp_path, tmp_path / "t.csv")
    with pytest.raises(UsageError, match="not an empty folder"):
        bundle_table(SMALL, measured, platform_uri="ort:cpu", multiple=64)
    with pytest.raises(UsageError, match="ort:PROVIDER"):
        bundle_table(SMALL, tmp_path / "n", platform_uri="synthetic:", multiple=64)
    with pytest.raises(UsageError, match="A bundle measures time alone"):
        bundle_table(SMALL, tmp_path / "n", platform_uri="ort:cpu?energy=auto", multiple=64)
    (tmp_path / "plan.jsonl").write_bytes((measured / "plan.jsonl").read_bytes())
    with pytest.raises(UsageError, match=r"copy results\.jsonl back"):
        read_bundle(tmp_path, tmp_path / "t.csv")
    (tmp_path / RESULTS).write_text('{"kind": "fatal", "error": "no numpy"}\n')
    with pytest.raises(DeviceError, match="no numpy"):
        read_bundle(tmp_path, tmp_path / "t.csv")


def probe_s(probe, device):
    """Seconds of one tiny model, so chosen that each layer comes out as the device has it."""
    if probe.kind == "call":
        return CALL_S
    if probe.kind == "layer":
        return device.layer_s(probe.shape) + (CALL_S if op_of(probe.shape.op).rows else 0.0)
    if probe.kind != "cold":
        return 0.0
    whole = next(t.factor for t in terms(REFILL) if t.probe == probe)
    chain = [t for t in terms(REFILL) if t.probe != probe]
    others_s = sum(t.factor * probe_s(t.probe, device) for t in chain)
    return (device.layer_s(REFILL) - others_s) / whole


def run_there(folder, device, *, networks=True):
    """What a device that never was would bring back."""
    plan = folder / "plan.jsonl"
    carried = Carried.from_json(json.loads(plan.read_text().splitlines()[0])["about"])
    wanted = {shape: terms(shape) for shape in carried.layers}
    ids, _ = OrtPlatform().plan(wanted, Effort(), weight_bits=8)
    info = device.describe()
    records = [
        {"kind": "info", "device": "Abacus", "machine": "beads", "runtime": "onnxruntime 1.0",
         "block": info.block, "layout": info.layout, "cache_mb": info.cache_mb, "clock": "cpu",
         "processors": 2},
        *({"kind": "visit", "id": name, "ns": [1e9 * probe_s(probe, device)]}
          for probe, name in ids.items()),
        *({"kind": "visit", "id": name, "ns": [1e9 * device.truth(layers)]}
          for name, layers in carried.networks.items() if networks),
    ]  # fmt: skip
    (folder / RESULTS).write_text("".join(json.dumps(r) + "\n" for r in records))


class Unwritten:
    """A traced network whose files nobody reads."""

    name = "mobilenet_v1"
    network = trace(mobilenet_v1(width=0.25, num_classes=10), (3, 32, 32))

    def writer(self, info):
        return lambda sizes: b""


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("multiple", [4, 8, 16, 32])
def test_whatever_block_the_device_has_every_network_gets_a_price(block, multiple, tmp_path):
    device = SyntheticPlatform(block=block)
    write_bundle(Unwritten(), tmp_path / "b", platform_uri="ort:cpu", multiple=multiple)
    run_there(tmp_path / "b", device)
    said = read_bundle(tmp_path / "b", tmp_path / "t.csv")
    assert (said["entries"], said["calibrated"]) == (said["wanted"], True)
    assert said["device"]["block"] == block
    assert (said["coverage"]["networks"], said["coverage"]["refused"]) == (20, 0)
    assert said["coverage"]["estimated"] == 0 or multiple < block
    table, network = LookupTable.load(tmp_path / "t.csv"), Unwritten.network
    for seed in range(100, 120):  # other networks than those that import looked at
        layers = network.at(random_sizes(network, multiple, seed))
        assert table.price(layers) == pytest.approx(device.truth(layers), rel=0.05)


def test_import_says_what_is_estimated_and_what_is_refused(tmp_path):
    write_bundle(Unwritten(), tmp_path / "b", platform_uri="ort:cpu", multiple=8)
    run_there(tmp_path / "b", SyntheticPlatform(block=16))
    said = read_bundle(tmp_path / "b", tmp_path / "t.csv")
    share = said["coverage"]["share"]
    assert 0 < share < 0.1
    assert f"{said['coverage']['estimated']} of 20 networks" in said["remarks"][0]
    assert f"up to {share:.1%} of the whole" in said["remarks"][0]
    assert "blocks of 16" in said["remarks"][0]
    records = (tmp_path / "b" / RESULTS).read_text().splitlines(keepends=True)
    (tmp_path / "b" / RESULTS).write_text("".join(records[:20]))
    said = read_bundle(tmp_path / "b", tmp_path / "t.csv")
    assert said["coverage"]["refused"] == 20
    assert "20 of 20 networks of random widths have no price" in said["remarks"][-1]


def test_providers_without_blocks_are_planned_once():
    network = Unwritten.network
    request = TableRequest(network, {}, 8)
    gpu = plan_for_any(request, Options(provider="cuda"))
    assert set(gpu) < set(plan_for_any(request, Options()))


def test_what_is_carried_survives_json():
    conv = LayerShape("conv", 3, 8, (8, 8), (8, 8), inputs=(1, 2))
    carried = Carried("net", Options(threads=2), (OVERHEAD, conv), {"a": (conv, conv)}, ((conv,),))
    assert Carried.from_json(json.loads(json.dumps(carried.to_json()))) == carried


def test_the_command_line_says_how_many_networks_have_a_price(tmp_path, capsys):
    write_bundle(Unwritten(), tmp_path / "b", platform_uri="ort:cpu", multiple=16)
    run_there(tmp_path / "b", SyntheticPlatform(block=16))
    with pytest.raises(SystemExit) as stop:
        main(["table", "import", str(tmp_path / "b"), "-o", str(tmp_path / "t.csv")])
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert "77 of 77 layers on Abacus; it prices 20 of 20 networks" in out
    assert err == ""
    with pytest.raises(SystemExit):
        main(["table", "show", str(tmp_path / "t.csv"), "--most", "1"])
    out, _ = capsys.readouterr()
    assert "call overhead:   5 µs\n" in out
    assert "cold weights:    21.31 µs per MB\n" in out
    assert "at 1 ms, exponent" in out

"""A table of a device that is reached by hand: out as a folder, back as results."""

import json
import subprocess
import sys

import pytest

from netadapt.assembly import Source
from netadapt.errors import DeviceError, UsageError
from netadapt.platforms.ort.saturation import this_machine_saturates
from netadapt.table import bundle_table
from netadapt.tables.bundle import RESULTS, read_bundle
from netadapt.tables.table import LookupTable

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
    (tmp_path / "plan.jsonl").write_bytes((measured / "plan.jsonl").read_bytes())
    with pytest.raises(UsageError, match=r"copy results\.jsonl back"):
        read_bundle(tmp_path, tmp_path / "t.csv")
    (tmp_path / RESULTS).write_text('{"kind": "fatal", "error": "no numpy"}\n')
    with pytest.raises(DeviceError, match="no numpy"):
        read_bundle(tmp_path, tmp_path / "t.csv")

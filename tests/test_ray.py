"""Candidates tried on a Ray cluster of two nodes, one of whose workers is killed."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netadapt.runs import read_journal
from netadapt.runs.events import Warned
from tests import accidents
from tests.test_processes import result, run, serial  # noqa: F401

ray = pytest.importorskip("ray")

NODES = ("127.0.0.2", "127.0.0.3")
ROOT = Path(__file__).parent.parent
SMALL = ("--num-cpus=1", "--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats")


def free_port():
    with socket.socket() as probe:
        probe.bind((NODES[0], 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes of one core each, as ``ray start`` makes them; the folder of accidents."""
    folder, port, client = tmp_path_factory.mktemp("ray"), free_port(), free_port()
    environment = os.environ | {
        accidents.VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "RAY_raylet_start_wait_time_s": "120",
    }  # fmt: skip
    head = [
        "--head",
        f"--port={port}",
        "--include-dashboard=false",
        f"--ray-client-server-port={client}",
    ]
    member = [f"--address={NODES[0]}:{port}"]
    nodes = []
    try:
        for address, own in zip(NODES, (head, member), strict=True):
            log = folder / f"{address}.log"
            start = ["start", "--block", f"--node-ip-address={address}", *own, *SMALL]
            with log.open("w") as out:
                nodes.append(
                    subprocess.Popen(
                        [sys.executable, "-u", "-m", "ray.scripts.scripts", *start],
                        env=environment, stdout=out, stderr=out, cwd=ROOT,
                    )
                )  # fmt: skip
            _wait_until_started(nodes[-1], log)
        yield folder, f"{NODES[0]}:{port}"
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.wait(60)


def _wait_until_started(node, log):
    until_s = time.monotonic() + 120
    while "Ray runtime started" not in log.read_text():
        assert node.poll() is None, log.read_text()
        assert time.monotonic() < until_s, log.read_text()
        time.sleep(0.1)


def test_a_cluster_of_two_nodes_gives_the_bits_of_a_serial_run_though_a_worker_is_killed(
    cluster, serial, tmp_path, monkeypatch  # noqa: F811
):  # fmt: skip
    folder, address = cluster
    monkeypatch.setenv("RAY_ADDRESS", address)
    accidents.plan(folder, "killed")
    run(tmp_path / "run", "--workers", "ray")
    assert not (folder / "killed").exists()
    assert result(tmp_path / "run") == serial
    warnings = [r.event.text for r in read_journal(tmp_path / "run") if isinstance(r.event, Warned)]
    assert any("was lost (" in text and "trying" in text for text in warnings), warnings
    print(warnings)

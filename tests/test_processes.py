"""Candidates tried in processes of their own, which die and hang: the bits of a serial run."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from netadapt.cli import main
from netadapt.errors import WorkerError
from netadapt.runs import last, read_journal
from netadapt.runs.events import Finished, Started, Warned
from netadapt.workers.cluster import connected
from tests import accidents, raynodes

SETTINGS = [
    "adapt", accidents.MODEL, "--task", accidents.TASK, "--budget", "70%", "--quiet",
    "--on", "device=synthetic:?block=8&noise=0.05", "--epochs", "1", "--short-steps", "4",
    "--long-epochs", "0.5", "--distill", "--rungs", "2:50%,1:100%", "--initial-reduction", "12%",
]  # fmt: skip

RAY = (3, "There is no Ray cluster at ray://127.0.0.1:9")
if raynodes.MISSING:
    RAY = (2, "run pip install netadapt[ray]")


def words(folder, *more):
    return [*SETTINGS, "--run", str(folder), *more]


def run(folder, *more):
    with pytest.raises(SystemExit) as ended:
        main(words(folder, *more))
    assert ended.value.code == 0


def result(folder):
    """All that decides what a run came to, and the bits of every network that it kept."""
    finished = last(read_journal(folder), Finished)
    weights = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "weights").glob("*.safetensors")
    }
    return finished.widths, finished.before.accuracy, finished.after.accuracy, weights


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial") / "run"
    run(folder)
    told = result(folder)
    assert len(told[-1]) >= 3  # the original, a step or more, the result
    return told


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one_though_one_is_killed_and_one_hangs(
    serial, tmp_path, monkeypatch
):
    monkeypatch.setenv(accidents.VARIABLE, str(tmp_path))
    accidents.plan(tmp_path, "killed", "hangs")
    run(tmp_path / "run", "--workers", "2", "--trial-limit", "5s")
    assert not [name for name in accidents.ACCIDENTS if (tmp_path / name).exists()]
    assert result(tmp_path / "run") == serial
    records = read_journal(tmp_path / "run")
    warnings = [r.event.text for r in records if isinstance(r.event, Warned)]
    assert any("was ended by SIGKILL, trying" in text for text in warnings)
    assert any("gave no sign of life for 5 s and was ended, trying" in text for text in warnings)
    started = last(records, Started)
    assert started.execution["workers"] == "2"
    assert "execution" not in started.settings["config"]


@pytest.mark.slow
@pytest.mark.skipif(bool(raynodes.MISSING), reason=raynodes.MISSING)
def test_a_ray_cluster_of_two_nodes_gives_the_same_bits_though_a_worker_is_killed(
    serial, tmp_path, monkeypatch
):
    accidents.plan(tmp_path, "killed")
    with raynodes.two_nodes(tmp_path, **{accidents.VARIABLE: str(tmp_path)}) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        run(tmp_path / "run", "--workers", "ray")
    assert not (tmp_path / "killed").exists()
    assert result(tmp_path / "run") == serial
    warnings = [r.event.text for r in read_journal(tmp_path / "run") if isinstance(r.event, Warned)]
    assert any("was lost (" in text and "trying" in text for text in warnings), warnings


@pytest.mark.slow
def test_a_head_that_dies_leaves_no_orphans_and_the_same_command_continues(
    serial, tmp_path, monkeypatch
):
    monkeypatch.setenv(accidents.VARIABLE, str(tmp_path))
    folder = tmp_path / "run"
    command = [sys.executable, "-c", _HEAD, *words(folder, "--workers", "2")]
    (tmp_path / "orphaned").touch()
    cwd = Path(__file__).parent.parent
    head = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert head.returncode == -signal.SIGKILL, head.stderr
    orphan = int((tmp_path / "orphan").read_text())
    assert orphan != os.getpid()
    until_s = time.monotonic() + 60
    while _runs(orphan):
        assert time.monotonic() < until_s, "the worker outlived the run"
        time.sleep(0.05)
    accidents.plan(tmp_path)
    run(folder)  # who tries candidates may change midway
    assert result(folder) == serial


_HEAD = """
import os, sys
from pathlib import Path
if __name__ == "__main__":
    (Path(os.environ["ACCIDENTS"]) / "head").write_text(str(os.getpid()))
    from netadapt.cli import main
    main(sys.argv[1:])
"""


def _runs(pid):
    """Whether a process does something yet; one that has ended may wait for its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return (
            stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
            if stat.parent.parent.is_dir()
            else True
        )
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("workers", "code", "said"),
    [
        ("0", 2, "Error: --workers is '0'; give a number of processes from 1 to 1024, GPUs such"),
        ("gpu", 2, "Error: --workers is 'gpu'; give a number of processes"),
        (f"cuda:{torch.cuda.device_count() + 9}", 3, "is not available: PyTorch"),
        ("ray://127.0.0.1:9", *RAY),
    ],
)
def test_workers_that_cannot_be_had_are_told_before_there_is_a_run(
    tmp_path, capfd, workers, code, said
):
    with pytest.raises(SystemExit) as ended:
        main(words(tmp_path / "run", "--workers", workers))
    errors = capfd.readouterr().err
    assert (ended.value.code, errors.count("\n")) == (code, 1), errors
    assert errors.startswith("Error: ")
    assert said in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(bool(raynodes.MISSING), reason=raynodes.MISSING)
def test_a_ray_cluster_that_has_died_is_told_at_once(monkeypatch):
    """Ray keeps its address, and would try for minutes."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    told = pytest.raises(WorkerError, match="There is no Ray cluster here")
    with told, connected("auto", "cpu", threads=1):
        pass

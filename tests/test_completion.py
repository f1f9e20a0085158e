"""What the shell is told: runs, platform URIs, and the scripts that ask for them."""

import os
import subprocess
import sys

import pytest

from netadapt.cli.completion import RunFolder, platform_uris


def completed(words, cwd):
    """What bash gets for a command line that ends in its last word."""
    environment = {
        **os.environ,
        "_NETADAPT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["netadapt", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = "from netadapt.cli import main; main([])"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, text=True,
                          capture_output=True)  # fmt: skip
    return done.stdout.split()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two runs and one that is none."""
    for name in ("one", "two", "none"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / "runs" / name / "journal.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(incomplete):
    return [item.value for item in RunFolder().shell_complete(None, None, incomplete)]


def test_runs_are_completed_and_other_folders_are_not(place):
    assert names("") == ["runs/one", "runs/two"]
    assert names("runs/t") == ["runs/two"]
    assert names("runs/") == ["runs/one", "runs/two"]
    assert RunFolder().shell_complete(None, None, "els")[0].type == "dir"


def test_uris_are_completed_behind_a_name_too():
    assert "ssh://" in platform_uris(None, None, "ss")
    assert platform_uris(None, None, "phone=ss") == ["phone=ssh://"]
    assert "ort:cpu?precision=int8" in platform_uris(None, None, "ort:cpu?p")
    assert "eyeriss:" in platform_uris(None, None, "")


def test_the_shell_gets_commands_and_runs(place):
    assert completed(["rep"], place) == ["plain,report"]
    assert completed(["report", "runs/o"], place) == ["plain,runs/one"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell, tmp_path):
    environment = {**os.environ, "_NETADAPT_COMPLETE": f"{shell}_source"}
    code = "from netadapt.cli import main; main([])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True,
                          capture_output=True)  # fmt: skip
    assert "_NETADAPT_COMPLETE" in done.stdout

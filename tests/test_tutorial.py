"""The tutorial: each of its commands, in order, as written but with less work."""

import re
import shlex
from pathlib import Path

import pytest

from netadapt.cli import main

DOCS = Path(__file__).parent.parent / "docs"
LESS_WORK = {
    "mobilenet_v1 -a width=0.25": "tests.examples:small_net",
    "--epochs 15": "--epochs 0.2",
    "--long-epochs 5": "--long-epochs 0.2 --short-steps 1 --finalists 1 --on synthetic: "
    "--initial-reduction 100%",
}


def commands():
    blocks = re.findall(r"^```\n(.*?)^```$", (DOCS / "tutorial.md").read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def test_every_command_of_the_tutorial_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(commands()) == 13
    for command in commands():
        for long, short in LESS_WORK.items():
            command = command.replace(long, short)
        program, *arguments = shlex.split(command)
        assert program == "netadapt"
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0, (command, capsys.readouterr().err)
    assert "Sweden" in Path("runs/first/report.html").read_text()
    assert "one_group against uniform" in Path("compare.html").read_text()
    assert Path("first-step/adapted.onnx").is_file()

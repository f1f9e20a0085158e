"""The worked examples of docs/tasks.md, each run from training to its exported result."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch

import netadapt
from netadapt.cli import main

EXAMPLES = Path(__file__).resolve().parent.parent / "scripts" / "examples"


@pytest.mark.parametrize(
    ("name", "model", "size", "share"),
    [
        ("segmentation", ["segmentation:model"], 64, True),
        ("detection", ["detection:model"], 32, True),
        ("regression", ["mobilenet_v1", "-a", "width=0.25"], 32, False),
    ],
)
def test_each_example_adapts_and_loads(tmp_path, capsys, monkeypatch, name, model, size, share):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = import_module(name)
    draw = example.draw
    monkeypatch.setattr(example, "draw", lambda count, seed: draw(count // 4, seed))  # is enough
    folder = tmp_path / "run"
    command = [
        "adapt", *model, "--task", f"{name}:task", "--on", "synthetic:", "--budget", "85%",
        "--run", str(folder), "--epochs", "0.1", "--short-steps", "1", "--long-epochs", "0.1",
        "--finalists", "1", "--initial-reduction", "20%", "--batch-size", "16", "--lr", "0.001",
        "-q",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main([*command, "--json"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    result = json.loads(out)
    assert result["met"]
    assert result["metric_is_share"] is share
    with torch.no_grad():
        netadapt.load(folder)(torch.zeros(1, 3, size, size))

    with pytest.raises(SystemExit):
        main(command)  # a finished run is shown
    row = next(line for line in capsys.readouterr().out.splitlines() if result["metric"] in line)
    assert ("points" in row) is share
    assert ("%" in row) is share

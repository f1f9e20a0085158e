"""Runs as their journals tell them; reads files only."""

from pathlib import Path
from typing import Any

from netadapt.errors import NetAdaptError, UsageError
from netadapt.runs import read_journal, steps_of


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Every run in a folder, by name.

    Returns:
        For each run: ``run``, ``state`` (``finished``, ``unfinished`` or ``damaged``),
        ``iterations``, ``cost``, ``original``, ``unit``, ``accuracy``, ``split``, ``budget``.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}; name the one that holds the runs.")
    return [summarize(path.parent) for path in sorted(folder.glob("*/journal.jsonl"))]


def summarize(run: Path) -> dict[str, Any]:
    """One run in figures, from its journal."""
    summary: dict[str, Any] = {
        "run": str(run), "state": "damaged", "iterations": 0, "cost": None, "original": None,
        "unit": "s", "share": True, "accuracy": None, "split": "holdout", "budget": "?",
    }  # fmt: skip
    try:
        events = read_journal(run)
        steps = steps_of(events)
        settings = next(e["settings"] for e in events if e["event"] == "run")
    except (NetAdaptError, KeyError, StopIteration):
        return summary
    summary["state"] = "unfinished"
    summary["budget"] = settings["config"]["budget"]
    if steps:
        summary |= {
            "iterations": steps[-1].iteration,
            "cost": steps[-1].measured,
            "original": steps[0].measured,
            "accuracy": steps[-1].accuracy,
        }
    for event in events:
        if event["event"] == "network":
            summary["share"] = event["share"]
        if event["event"] == "result":
            summary |= {
                "state": "finished",
                "cost": event["after"]["cost"],
                "original": event["before"]["cost"],
                "unit": event["unit"],
                "accuracy": event["after"]["accuracy"],
                "split": "test",
            }
    return summary

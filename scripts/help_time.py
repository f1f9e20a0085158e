"""Time of ``netadapt --help`` beside that of Python itself, in turn.

Run as ``python scripts/help_time.py``; processor time hardly depends on what else runs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from provenance import write_csv

RESULTS = Path(__file__).resolve().parent.parent / "results"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "netadapt --help": ["-m", "netadapt", "--help"],
    "netadapt adapt --help": ["-m", "netadapt", "adapt", "--help"],
    "netadapt init": ["-m", "netadapt", "init"],
}


def timed(arguments: list[str]) -> tuple[float, float]:
    """Processor and elapsed seconds of a Python process."""
    before, started_s = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after, elapsed_s = os.times(), time.perf_counter() - started_s
    cpu_s = after.children_user + after.children_system
    return cpu_s - before.children_user - before.children_system, elapsed_s


def main() -> None:
    """Time each in turn, and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS / "help_time.csv")
    args = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(args.runs):
        for name, arguments in COMMANDS.items():
            times[name].append(timed(arguments))
    rows = [
        {
            "command": name,
            "cpu_s": f"{statistics.median(cpu for cpu, _ in found):.3f}",
            "wall_s": f"{statistics.median(wall for _, wall in found):.3f}",
            "runs": args.runs,
        }
        for name, found in times.items()
    ]
    write_csv(args.out, rows, sys.argv)


if __name__ == "__main__":
    main()

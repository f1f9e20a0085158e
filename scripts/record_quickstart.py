#!/usr/bin/env python3
"""Run the quickstart's main job once, and record what it took and what came out.

    python scripts/record_quickstart.py

Writes results/quickstart.json and lookup_tables/mobilenet_v1-digits.csv, the table of that run.
"""

import json
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provenance import write_provenance

from netadapt.carbon.run import read_use

ROOT = Path(__file__).resolve().parent.parent
QUICKSTART = ROOT / "scripts" / "quickstart"


def job() -> list[str]:
    """The arguments of netadapt in scripts/quickstart, without those that a user may add."""
    text = QUICKSTART.read_text().replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith("exec netadapt ")]
    return [word for word in shlex.split(line)[2:] if word != "$@"]


def profile(run: Path, wall_s: float) -> dict[str, float]:
    """Seconds of each phase of a run by its journal; the start of Python is ``other``."""
    seconds: dict[str, float] = {}
    for phase in read_use(run).phases:
        if phase.name != "other":
            seconds[phase.name] = round(seconds.get(phase.name, 0.0) + phase.seconds, 1)
    return {**seconds, "other": round(wall_s - sum(seconds.values()), 1)}


def main() -> None:
    """Run, time, write."""
    arguments = job()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        started = time.monotonic()
        finished = subprocess.run(
            [sys.executable, "-m", "netadapt", *arguments, "--json", "--run", str(run)],
            check=True,
            stdout=subprocess.PIPE,
        )
        wall_s = time.monotonic() - started
        # ru_maxrss is in kilobytes on Linux, and of the largest child.
        peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        result = json.loads(finished.stdout)
        del result["folder"]
        report = {
            "command": shlex.join(["netadapt", *arguments]),
            "wall_s": round(wall_s, 1),
            "phases_s": profile(run, wall_s),
            "peak_memory_bytes": peak_bytes,
            **result,
        }
        shutil.copyfile(run / "table.csv", ROOT / "lookup_tables" / "mobilenet_v1-digits.csv")
    target = ROOT / "results" / "quickstart.json"
    target.write_text(json.dumps(report, indent=1) + "\n")
    write_provenance(target, sys.argv)


if __name__ == "__main__":
    main()

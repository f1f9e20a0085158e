#!/usr/bin/env python3
"""Run the quickstart's main job once, and record what it took and what came out.

    python scripts/record_quickstart.py

Writes results/quickstart.json and lookup_tables/mobilenet_v1-digits.csv, the table of that run.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provenance import write_provenance

ROOT = Path(__file__).resolve().parent.parent
JOB = ["adapt", "mobilenet_v1", "--data", "digits", "--budget", "60%"]


def main() -> None:
    """Run, time, write."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        started = time.monotonic()
        finished = subprocess.run(
            [sys.executable, "-m", "netadapt", *JOB, "--json", "--run", str(run)],
            check=True,
            stdout=subprocess.PIPE,
        )
        wall_s = time.monotonic() - started
        # ru_maxrss is in kilobytes on Linux, and of the largest child.
        peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        result = json.loads(finished.stdout)
        del result["folder"]
        report = {
            "command": " ".join(["netadapt", *JOB]),
            "wall_s": round(wall_s, 1),
            "peak_memory_bytes": peak_bytes,
            **result,
        }
        shutil.copyfile(run / "table.csv", ROOT / "lookup_tables" / "mobilenet_v1-digits.csv")
    target = ROOT / "results" / "quickstart.json"
    target.write_text(json.dumps(report, indent=1) + "\n")
    write_provenance(target, sys.argv)


if __name__ == "__main__":
    main()

"""What every experiment writes beside its result: command, versions and machine."""

import csv
import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "numpy", "scikit-learn")


def processor() -> str:
    """The processor's model name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def write_provenance(result: Path, argv: Sequence[str]) -> None:
    """Write ``RESULT.provenance.json`` beside a result.

    Args:
        result: the file that the experiment wrote.
        argv: the command line, script first; of paths from the root only the last name is kept,
            for where a folder lies is nobody else's business.
    """
    words = [Path(word).name if Path(word).is_absolute() else word for word in argv[1:]]
    facts = {
        "command": " ".join(["python", f"scripts/{Path(argv[0]).name}", *words]),
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "machine": {"processor": processor(), "cores": usable_cores(), "system": platform.system()},
    }
    target = result.with_name(f"{result.name}.provenance.json")
    target.write_text(json.dumps(facts, indent=1) + "\n")


def write_csv(result: Path, rows: Sequence[Mapping[str, object]], argv: Sequence[str]) -> None:
    """Write rows of equal columns as CSV, and their provenance beside them."""
    with result.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_provenance(result, argv)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

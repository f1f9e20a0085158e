"""Our tables beside published latency predictors: results/table_vs_published.csv.

Run as ``python scripts/compare_published.py`` after ``scripts/table_accuracy.py``, whose figures it
takes. The devices, networks and numbers of networks differ: it shows the order of magnitude and
what each needs, and decides nothing.
"""

import csv
import sys
from pathlib import Path

from provenance import processor, write_csv

PUBLISHED = [
    {
        "predictor": "nn-Meter", "device": "Cortex-A76 CPU (TFLite)", "networks": 26000,
        "within_5pct": "", "within_10pct": 0.990, "mean_error": "",
        "needs": "3,000 to 10,000 samples of each kind of kernel",
        "source": "nn-Meter README (Zhang et al., MobiSys 2021)",
    },
    {
        "predictor": "nn-Meter", "device": "Adreno 640 GPU (TFLite)", "networks": 26000,
        "within_5pct": "", "within_10pct": 0.991, "mean_error": "",
        "needs": "3,000 to 10,000 samples of each kind of kernel",
        "source": "nn-Meter README (Zhang et al., MobiSys 2021)",
    },
    {
        "predictor": "nn-Meter", "device": "Myriad VPU (OpenVINO)", "networks": 26000,
        "within_5pct": "", "within_10pct": 0.834, "mean_error": "",
        "needs": "3,000 to 10,000 samples of each kind of kernel",
        "source": "nn-Meter README (Zhang et al., MobiSys 2021)",
    },
    {
        "predictor": "LitePred", "device": "Xiaomi 11 CPU (ONNX Runtime)", "networks": "",
        "within_5pct": 0.905, "within_10pct": 0.989, "mean_error": "",
        "needs": "1,400 samples, 0.48 h on the device, and pre-trained predictors",
        "source": "LitePred README (Feng et al., NSDI 2024)",
    },
    {
        "predictor": "LitePred", "device": "Xiaomi 12 CPU, int8 (TFLite)", "networks": "",
        "within_5pct": 0.957, "within_10pct": 1.0, "mean_error": "",
        "needs": "3,100 samples, 0.05 h on the device, and pre-trained predictors",
        "source": "LitePred README (Feng et al., NSDI 2024)",
    },
]  # fmt: skip


def ours(path: Path) -> list[dict[str, object]]:
    """One row per precision and number of threads, over all networks verified."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["predictor"] == "table"]
    found = []
    for threads, precision in dict.fromkeys((row["threads"], row["precision"]) for row in rows):
        same = [r for r in rows if (r["threads"], r["precision"]) == (threads, precision)]

        def mean(name: str, same: list[dict[str, str]] = same) -> float:
            return round(sum(float(row[name]) for row in same) / len(same), 4)

        entries = ", ".join(f"{r['entries']} for {r['model']} at {r['input_px']} px" for r in same)
        found.append({
            "predictor": "netadapt",
            "device": f"{processor()}, {threads} thread(s), {precision} (ONNX Runtime)",
            "networks": 8 * len(same),
            "within_5pct": mean("within_5pct"), "within_10pct": mean("within_10pct"),
            "mean_error": mean("mean_error"),
            "needs": f"rows: {entries}; and four whole networks each",
            "source": "results/table_accuracy.csv",
        })  # fmt: skip
    return found


def main() -> None:
    """Write the comparison."""
    out = Path("results/table_vs_published.csv")
    rows = [*ours(Path("results/table_accuracy.csv")), *PUBLISHED]
    write_csv(out, rows, sys.argv)


if __name__ == "__main__":
    main()

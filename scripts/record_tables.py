"""Measure the example tables: lookup_tables/*.csv.

Run as ``python scripts/record_tables.py`` on a quiet machine; about three minutes. Each is what
``netadapt table build MODEL`` writes: widths in multiples of the block, 16 here.
"""

from pathlib import Path

from netadapt.assembly import Source
from netadapt.table import build_table

TABLES = {
    "mobilenet_v1.csv": ("mobilenet_v1", "ort:cpu"),
    "mobilenet_v2.csv": ("mobilenet_v2", "ort:cpu"),
    "mobilenet_v3_small.csv": ("mobilenet_v3_small", "ort:cpu"),
    "mobilenet_v1-int8.csv": ("mobilenet_v1", "ort:cpu?precision=int8"),
}


def main() -> None:
    """Measure them anew."""
    for name, (model, uri) in TABLES.items():
        path = Path("lookup_tables") / name
        path.unlink(missing_ok=True)
        report = build_table(Source(model, {}), path, platform_uri=uri)
        print(path, report["entries"], report["calibration"], flush=True)


if __name__ == "__main__":
    main()

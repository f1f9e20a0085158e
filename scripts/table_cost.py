"""What a lookup table costs to measure: results/table_cost.csv.

Run as ``python scripts/table_cost.py`` on a quiet machine; about two minutes. 1,000 different
layers of a network, each at 40 runs (4 shuffled passes of 10), from the layer shapes to the table:
ONNX models are written, sessions opened, runs timed, differences taken. ``run_share`` is the part
of that wall time that is spent inside ``session.run``, by the clock of the program that measures.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from provenance import write_csv

from netadapt.assembly import Source, assemble
from netadapt.network import LayerShape, Network
from netadapt.platforms import Effort, open_platform
from netadapt.platforms.link import Item, Link, Record, converse
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.tables.build import LAYERS
from netadapt.tables.correction import random_sizes
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import plan_grid

CASES = [
    ("mobilenet_v1", {}, 224, "ort:cpu"),
    ("mobilenet_v2", {}, 224, "ort:cpu"),
    ("mobilenet_v1", {"width": 0.5}, 32, "ort:cpu"),
    ("mobilenet_v1", {}, 224, "ort:cpu?precision=int8"),
]
ENTRIES = 1000
FORTY = Effort(passes=4, bursts=2, runs=5)


def different_layers(network: Network, number: int) -> tuple[LayerShape, ...]:
    """Layers of networks of random widths, multiples of 8, until there are so many."""
    found: dict[LayerShape, None] = dict.fromkeys(network.at({}))
    for seed in count():
        if len(found) >= number:
            return tuple(found)[:number]
        found |= dict.fromkeys(network.at(random_sizes(network, 8, seed)))
    raise AssertionError


def cost(uri: str, shapes: Sequence[LayerShape], effort: Effort) -> dict[str, object]:
    """Measure a table and time that."""
    ends: list[Record] = []

    def listening(
        link: Link, settings: Mapping[str, Any], items: Sequence[Item]
    ) -> Iterator[Record]:
        for record in converse(link, settings, items):
            if record["kind"] == "done":
                ends.append(record)
            yield record

    platform = open_platform(uri)
    assert isinstance(platform, OrtPlatform)
    info = platform.describe()
    platform = replace(platform, talk=listening)
    began_s = time.perf_counter()
    table = LookupTable(info).fill(platform, shapes, effort=effort)
    wall_s = time.perf_counter() - began_s
    run_s = sum(end["run_s"] for end in ends)
    return {
        "entries": len(shapes), "runs": effort.passes * effort.bursts * effort.runs,
        "wall_s": round(wall_s, 2), "run_s": round(run_s, 2), "run_share": round(run_s / wall_s, 3),
        "canary_spread": round(table.canary_spread, 3),
    }  # fmt: skip


def main() -> None:
    """Time a thousand layers, and a grid, of each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--out", type=Path, default=Path("results/table_cost.csv"))
    options = parser.parse_args()
    rows = []
    for name, arguments, size, uri in CASES:
        network = assemble(Source(name, arguments, input_size=size)).network
        info = open_platform(uri).describe()
        jobs = {
            "different layers": (different_layers(network, options.entries), FORTY),
            "grid": (plan_grid(network, info.block, info.block), LAYERS),
        }
        for job, (shapes, effort) in jobs.items():
            model = name + "".join(f" {k}={v}" for k, v in arguments.items())
            rows.append({"model": model, "input_px": size, "precision": info.precision,
                         "what": job, **cost(uri, shapes, effort)})  # fmt: skip
            print(rows[-1], flush=True)
    write_csv(options.out, rows, sys.argv)


if __name__ == "__main__":
    main()

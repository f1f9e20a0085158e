#!/usr/bin/env python3
"""What a network at other widths costs to write: exported anew, and cut from a template.

    python scripts/export_cost.py [MODEL ...]

Writes results/export_cost.csv: for each model the seconds of processor time of one export by torch,
of making the template, and of cutting one network from it (the median of several); and the sentence
of those that cannot be cut. Images are of 224 pixels, weights random.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from provenance import write_csv

from netadapt.export import to_onnx
from netadapt.export.exporter import Exporter
from netadapt.export.widths import uneven_keep
from netadapt.models import ModelSpec
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace

RESULTS = Path(__file__).resolve().parent.parent / "results"
ZOO = [
    *["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "resnet18", "resnet50"],
    *["regnet_y_400mf", "efficientnet_b0", "squeezenet1_1", "densenet121", "googlenet"],
    *["inception_v3", "shufflenet_v2_x1_0", "convnext_tiny"],
]
SIZES = {"inception_v3": 299}
CUTS = 7


def seconds(work: Callable[[], object]) -> float:
    """Processor time of a piece of work: other work on the machine counts little."""
    began = time.process_time()
    work()
    return time.process_time() - began


def costs(name: str) -> dict[str, str]:
    """One row."""
    size = SIZES.get(name, 224)
    spec = ModelSpec(name, 1000, (3, size, size))
    model = spec.build().eval()
    network = trace(model, spec.input_shape)
    smaller = shrink(model, network, uneven_keep(network, CUTS))
    export_s = seconds(lambda: to_onnx(smaller, spec.input_shape))
    exporter = Exporter(model, network)
    template_s = seconds(lambda: exporter.template)
    keeps = [uneven_keep(network, seed) for seed in range(CUTS)]
    cut_s = None
    if not exporter.remark:
        cut_s = median(seconds(lambda keep=keep: exporter.kept(keep)) for keep in keeps)
    return {
        "model": name,
        "groups": str(len(keeps[0])),
        "weights_mb": f"{4e-6 * network.params({}):.0f}",
        "export_s": f"{export_s:.2f}",
        "template_s": f"{template_s:.2f}",
        "cut_ms": "" if cut_s is None else f"{1e3 * cut_s:.1f}",
        "times_faster": "" if cut_s is None else f"{export_s / cut_s:.0f}",
        "remark": exporter.remark,
    }


def main() -> None:
    """Write the rows of the models named, or of all."""
    torch.set_num_threads(1)
    rows = []
    for name in sys.argv[1:] or ZOO:
        rows.append(costs(name))
        print(*rows[-1].values(), flush=True)
    if not sys.argv[1:]:
        write_csv(RESULTS / "export_cost.csv", rows, sys.argv)


if __name__ == "__main__":
    main()

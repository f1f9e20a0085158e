#!/usr/bin/env python3
"""Prune every torchvision CNN at random, save it, load it back in every format, and compare.

    python scripts/export_zoo.py [MODEL ...]

Writes results/export_zoo.csv: for each model the kind of loader, and the largest difference of each
format from the pruned model's output, relative to its largest.
"""

import random
import runpy
import sys
import tempfile
import time
from pathlib import Path

import torch
from provenance import write_csv
from torch import Tensor, nn

from netadapt import export
from netadapt.models import ModelSpec
from netadapt.network import Network, keep_first, shrinkable
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace

RESULTS = Path(__file__).resolve().parent.parent / "results"
ZOO = [
    *["alexnet", "vgg11", "vgg11_bn", "squeezenet1_0", "squeezenet1_1", "resnet18", "resnet50"],
    *["wide_resnet50_2", "resnext50_32x4d", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"],
    *["mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0", "efficientnet_b0", "efficientnet_v2_s"],
    *["regnet_x_400mf", "regnet_y_400mf", "densenet121", "convnext_tiny", "googlenet"],
    *["inception_v3", "shufflenet_v2_x1_0"],
]
SIZES = {"inception_v3": 299}  # its auxiliary head takes no less


def enlivened(model: nn.Module) -> nn.Module:
    """Random statistics, so that no normalization is the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model


def random_sizes(network: Network, seed: int = 0) -> dict[str, int]:
    """Between a half and all of each group."""
    rng = random.Random(seed)
    return {g.id: rng.randint((g.size + 1) // 2, g.size) for g in shrinkable(network)}


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected output."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


def check(name: str) -> dict[str, str]:
    """Prune one model, save it, and compare every way of loading it."""
    started = time.monotonic()
    size = SIZES.get(name, 64)
    spec = ModelSpec(name, 10, (3, size, size))
    model = enlivened(spec.build()).eval()
    network = trace(model, spec.input_shape)
    sizes = random_sizes(network)
    keep = {g: units for g, units in keep_first(network, sizes).items() if g in sizes}
    pruned = shrink(model, network, keep).eval()
    images = torch.randn(2, *spec.input_shape, generator=torch.Generator().manual_seed(1))
    with tempfile.TemporaryDirectory() as text, torch.no_grad():
        folder = Path(text)
        report = export.write_result(
            folder, pruned, spec=spec, network=network, sizes=sizes, images=images
        )
        expected = export.first_output(pruned(images))
        loaded = runpy.run_path(str(folder / "load_adapted.py"))["load"]()
        own = export.load(folder)
        program = torch.export.load(folder / "adapted.pt2").module()
        row = {
            "model": name,
            "groups": str(len(sizes)),
            "params_before": str(network.params({})),
            "params_after": str(network.params(sizes)),
            "loader": report["loader"],
            "loader_difference": f"{difference(_each(loaded, images), expected):.1e}",
            "own_class_difference": f"{difference(_each(own, images), expected):.1e}",
            "pt2_difference": f"{difference(_each(program, images), expected):.1e}",
            "onnx_difference": f"{report['onnx_difference']:.1e}",
            "seconds": f"{time.monotonic() - started:.1f}",
        }
    return row


def _each(model: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([export.first_output(model(image[None])) for image in images])


def main() -> None:
    """Check the models named, or all."""
    torch.set_num_threads(1)
    names = sys.argv[1:] or ZOO
    rows = []
    failed = []
    for name in names:
        try:
            rows.append(check(name))
            print(*rows[-1].values(), flush=True)
        except Exception as error:  # one model's failure is a finding, not the end
            failed.append(name)
            print(f"{name} FAILED {type(error).__name__}: {str(error)[:300]}", flush=True)
    if not sys.argv[1:]:
        target = RESULTS / "export_zoo.csv"
        write_csv(target, rows, sys.argv)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()

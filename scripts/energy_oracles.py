"""How far the modelled hardware is off what chips and papers say: every figure beside the model's.

    python scripts/energy_oracles.py [results/energy_oracles.csv]

Takes seconds and needs nothing but netadapt.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from provenance import write_csv

from netadapt.network import LayerShape
from netadapt.platforms.accelerators import crossbar
from netadapt.platforms.accelerators.eyeriss import Eyeriss, layer_energy
from netadapt.platforms.accelerators.layer_energy import total
from netadapt.platforms.accelerators.loops import loops_of
from netadapt.platforms.accelerators.published import (
    ALEXNET,
    ALEXNET_BATCH,
    ISAAC_TILE_PJ_PER_MAC,
    VGG16,
    VGG16_BATCH,
    ChipLayer,
)
from netadapt.platforms.accelerators.row_stationary import accesses


@dataclass(frozen=True)
class Oracle:
    """One published figure and what the model says."""

    hardware: str
    what: str
    unit: str
    published: float
    modelled: float

    def row(self) -> dict[str, object]:
        """As a line of the result."""
        return {
            "hardware": self.hardware, "what": self.what, "unit": self.unit,
            "published": f"{self.published:.5g}", "modelled": f"{self.modelled:.5g}",
            "ratio": f"{self.modelled / self.published:.3f}",
        }  # fmt: skip


def eyeriss(network: str, layers: Sequence[ChipLayer], batch: int) -> Iterator[Oracle]:
    """Traffic, time and energy of each layer as the chip mapped it, then of all."""
    sums: dict[tuple[str, str], list[float]] = {}
    for layer in layers:
        moved = accesses(loops_of(layer.shape), layer.mapping, batch, layer.zeros)
        chip = Eyeriss(batch)
        given, modelled, best = (
            batch * layer_energy(layer.shape, chip, layer.zeros, *how).without("dram")
            for how in ((layer.mapping, layer.total_s), (layer.mapping,), ())
        )
        for what, unit, published, found in (
            ("buffer traffic", "MB", layer.buffer_mb, moved.buffer_bytes * 1e-6),
            ("DRAM traffic", "MB", layer.dram_mb, moved.dram_words * 2e-6),
            ("processing time", "ms", layer.processing_s * 1e3, moved.processing_s * 1e3),
            ("total time", "ms", layer.total_s * 1e3, moved.total_s * 1e3),
            ("chip energy, the chip's time", "mJ", layer.energy_j * 1e3, given * 1e3),
            ("chip energy, modelled time", "mJ", layer.energy_j * 1e3, modelled * 1e3),
            ("chip energy, best mapping", "mJ", layer.energy_j * 1e3, best * 1e3),
        ):
            name = f"{network} {layer.name}, batch {batch}: {what}"
            yield Oracle("Eyeriss", name, unit, published, found)
            both = sums.setdefault((what, unit), [0.0, 0.0])
            both[0] += published
            both[1] += found
    for (what, unit), (published, found) in sums.items():
        yield Oracle("Eyeriss", f"{network} all, batch {batch}: {what}", unit, published, found)


def isaac() -> Iterator[Oracle]:
    """The tile, by way of a layer that fills one array."""
    full = LayerShape("conv", 128, 16, (7, 7), (7, 7))
    pj = crossbar.layer_energy(full).energy_j * 1e12 / full.macs
    yield Oracle("ISAAC", "tile, 16-bit MAC", "pJ", ISAAC_TILE_PJ_PER_MAC, pj)


def mobilenet_to_alexnet() -> Iterator[Oracle]:
    """The ratio that the Eyeriss v2 paper measured on the first chip (JETCAS 2019)."""
    heads = ((9216, 4096), (4096, 4096), (4096, 1000))
    heavy = [*(layer.shape for layer in ALEXNET), *(LayerShape("linear", *h) for h in heads)]
    light_sum, heavy_sum = (
        total([layer_energy(shape, Eyeriss(1)) for shape in shapes])
        for shapes in (mobilenet_half_128(), heavy)
    )
    assert light_sum.latency_s is not None
    assert heavy_sum.latency_s is not None
    speed = heavy_sum.latency_s / light_sum.latency_s
    frugality = heavy_sum.without("dram") / light_sum.without("dram")
    what = "MobileNet-0.5-128 to AlexNet, batch 1, dense"
    yield Oracle("Eyeriss", f"{what}: speed", "x", 17.9, speed)
    yield Oracle("Eyeriss", f"{what}: inferences per joule", "x", 16.8, frugality)


def mobilenet_half_128() -> list[LayerShape]:
    """MobileNetV1 with half the channels for 128 x 128 pixels."""

    def conv(cin: int, cout: int, side: int, kernel: int, stride: int, groups: int) -> LayerShape:
        pads = (kernel // 2,) * 2
        return LayerShape("conv", cin, cout, (side * stride,) * 2, (side,) * 2, (kernel,) * 2,
                          (stride,) * 2, pads, groups=groups)  # fmt: skip

    shapes, side, cin = [conv(3, 16, 64, 3, 2, 1)], 64, 16
    blocks = [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), *[(256, 1)] * 5]
    for cout, stride in [*blocks, (512, 2), (512, 1)]:
        side //= stride
        shapes += [conv(cin, cin, side, 3, stride, cin), conv(cin, cout, side, 1, 1, 1)]
        cin = cout
    return [*shapes, LayerShape("linear", cin, 1000)]


def main(argv: Sequence[str]) -> None:
    """Write the table."""
    oracles = [
        *eyeriss("AlexNet", ALEXNET, ALEXNET_BATCH), *eyeriss("VGG-16", VGG16, VGG16_BATCH),
        *mobilenet_to_alexnet(), *isaac(),
    ]  # fmt: skip
    result = Path(argv[1] if len(argv) > 1 else "results/energy_oracles.csv")
    write_csv(result, [oracle.row() for oracle in oracles], argv)


if __name__ == "__main__":
    main(sys.argv)

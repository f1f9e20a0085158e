"""What the chips did by their own papers: figures that the models are held against.

Eyeriss: JSSC 2017, tables V (AlexNet) and VI (VGG-16), convolutions only, and the mappings of its
table III. Its row for CONV3 gives (q, r, t) = (4, 1, 4); the buffer traffic that table V measures
needs (3, 2, 2), as CONV4 and CONV5 have. The mappings of VGG-16 are not published: these are
inferred from its traffic. Outputs' zeros are those of the next layer's input; where pooling comes
between, as CNNergy (Manasi et al., 2020) has them for AlexNet and a guess for VGG-16.
"""

from dataclasses import dataclass

from netadapt.network import LayerShape
from netadapt.platforms.accelerators.row_stationary import RowStationary, Zeros


@dataclass(frozen=True, slots=True)
class ChipLayer:
    """One layer as it ran on the chip, figures for the whole batch.

    Attributes:
        name: as in the paper.
        shape: the layer.
        mapping: how it was cut.
        power_w: the chip's power, without DRAM.
        total_s, processing_s: time with and without waiting for DRAM.
        buffer_mb, dram_mb: traffic in megabytes (10^6 bytes).
        zeros: shares of zeros of its input and output.
    """

    name: str
    shape: LayerShape
    mapping: RowStationary[float]
    power_w: float
    total_s: float
    processing_s: float
    buffer_mb: float
    dram_mb: float
    zeros: Zeros

    @property
    def energy_j(self) -> float:
        """Joules of the batch, without DRAM."""
        return self.power_w * self.total_s


def _conv(cin: int, cout: int, side_in: int, side_out: int, kernel: int, groups: int) -> LayerShape:
    stride = 4 if kernel == 11 else 1
    return LayerShape(
        "conv", cin, cout, (side_in,) * 2, (side_out,) * 2, (kernel,) * 2, (stride,) * 2,
        (0 if kernel == 11 else kernel // 2,) * 2, groups=groups, bias=True, act="relu",
    )  # fmt: skip


_C3_TO_C5 = RowStationary(e=13, p=16, q=3, r=2, t=2, m=64, n=4, u=1)

ALEXNET_BATCH = 4
ALEXNET = tuple(
    ChipLayer(
        name, _conv(*sizes), mapping, mw * 1e-3, ms * 1e-3, processing_ms * 1e-3, *mb, Zeros(*zeros)
    )
    for name, sizes, mapping, mw, ms, processing_ms, mb, zeros in (
        ("C1", (3, 96, 227, 55, 11, 1), RowStationary(e=7, p=16, q=1, r=1, t=2, m=96, n=1, u=1),
         332, 20.9, 16.5, (18.5, 5.0), (0.0001, 0.5102)),
        ("C2", (96, 256, 27, 27, 5, 2), RowStationary(e=27, p=16, q=2, r=1, t=1, m=64, n=1, u=1),
         288, 41.9, 39.2, (77.6, 4.0), (0.387, 0.8066)),
        ("C3", (256, 384, 13, 13, 3, 1), _C3_TO_C5,
         266, 23.6, 21.8, (50.2, 3.0), (0.725, 0.7244)),
        ("C4", (384, 384, 13, 13, 3, 2), _C3_TO_C5,
         235, 18.4, 16.0, (37.4, 2.1), (0.793, 0.7018)),
        ("C5", (384, 256, 13, 13, 3, 2), _C3_TO_C5,
         236, 10.5, 10.0, (24.9, 1.3), (0.776, 0.905)),
    )
)  # fmt: skip
"""AlexNet on Eyeriss, 4 images (JSSC 2017, table V)."""

_C1_C2 = RowStationary(e=13, p=8, q=1, r=1, t=4, m=32, n=1, u=1)
_C3 = RowStationary(e=13, p=16, q=2, r=1, t=4, m=64, n=1, u=1)
_C4 = RowStationary(e=28, p=16, q=4, r=1, t=2, m=32, n=1, u=1)
_C5 = RowStationary(e=14, p=16, q=4, r=2, t=2, m=32, n=3, u=1)

VGG16_BATCH = 3
VGG16 = tuple(
    ChipLayer(
        name, _conv(cin, cout, side, side, 3, 1), mapping, mw * 1e-3, ms * 1e-3,
        processing_ms * 1e-3, buffer_mb, dram_mb, Zeros(*zeros),
    )
    for name, cin, cout, side, mapping, mw, ms, processing_ms, buffer_mb, dram_mb, zeros in (
        ("C1-1", 3, 64, 224, _C1_C2, 247, 76.2, 38.0, 112.6, 15.4, (0.016, 0.477)),
        ("C1-2", 64, 64, 224, _C1_C2, 218, 910.3, 810.6, 2402.8, 54.0, (0.477, 0.477)),
        ("C2-1", 64, 128, 112, _C1_C2, 242, 470.3, 405.3, 1201.4, 33.4, (0.248, 0.387)),
        ("C2-2", 128, 128, 112, _C1_C2, 231, 894.3, 810.8, 2402.8, 48.5, (0.387, 0.6)),
        ("C3-1", 128, 256, 56, _C3, 254, 241.1, 204.0, 607.4, 20.2, (0.397, 0.581)),
        ("C3-2", 256, 256, 56, _C3, 235, 460.9, 408.1, 1214.8, 32.2, (0.581, 0.587)),
        ("C3-3", 256, 256, 56, _C3, 233, 457.7, 408.1, 1214.8, 30.8, (0.587, 0.7)),
        ("C4-1", 256, 512, 28, _C4, 278, 135.8, 105.1, 321.8, 17.8, (0.643, 0.747)),
        ("C4-2", 512, 512, 28, _C4, 261, 254.8, 210.0, 643.7, 28.6, (0.747, 0.854)),
        ("C4-3", 512, 512, 28, _C4, 240, 246.3, 210.0, 643.7, 22.8, (0.854, 0.85)),
        ("C5-1", 512, 512, 14, _C5, 258, 54.3, 48.3, 90.0, 6.3, (0.794, 0.874)),
        ("C5-2", 512, 512, 14, _C5, 236, 53.7, 48.5, 90.0, 5.7, (0.874, 0.885)),
        ("C5-3", 512, 512, 14, _C5, 230, 53.7, 48.5, 90.0, 5.6, (0.885, 0.9)),
    )
)  # fmt: skip
"""VGG-16 on Eyeriss, 3 images (JSSC 2017, table VI)."""

ISAAC_TILE_PJ_PER_MAC = 2.684
"""A tile of ISAAC (ISCA 2016, table I): 329.8 mW at 122.9 G multiply-accumulates of 16 bits a s."""

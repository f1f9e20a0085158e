"""Joules for each access on Eyeriss, as named sets from one source each: never mixed."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netadapt.platforms.accelerators.layer_energy import IFMAP, OTHER, PSUM, WEIGHT, Part
from netadapt.platforms.accelerators.loops import N
from netadapt.platforms.accelerators.row_stationary import Accesses


@dataclass(frozen=True, slots=True)
class CostSet:
    """Picojoules for each event, all from one source; words have 16 bits.

    Attributes:
        name: what selects it.
        technology: process and supply that the figures hold for.
        mac_pj: a multiply-accumulate.
        rf_ifmap_pj, rf_weight_pj, rf_psum_pj: a word read from or written to the memories of a
            processing element.
        array_pj: a word from one processing element to the next.
        buffer_pj: a word in or out of the global buffer.
        dram_pj: a word from or to DRAM.
        static_w: watts of clock, control and leakage while a layer runs; 0 where a source has
            none, so that energies of two sets do not compare.
    """

    name: str
    technology: str
    mac_pj: float
    rf_ifmap_pj: float
    rf_weight_pj: float
    rf_psum_pj: float
    array_pj: float
    buffer_pj: float
    dram_pj: float
    static_w: float

    def energy_pj(self, accesses: Accesses[N]) -> N:
        """Picojoules of a batch, DRAM included."""
        whole = 0 * accesses.cycles
        for _, _, pj in self._picojoules(accesses, accesses.total_s):
            whole = whole + pj
        return whole

    def parts(
        self, accesses: Accesses[float], latency_s: float, images: int = 1
    ) -> tuple[Part, ...]:
        """Joules for one image by level and kind of data.

        Args:
            accesses: for the batch.
            latency_s: how long clock and leakage are paid for, for the batch.
            images: of the batch, which share the joules.
        """
        scale = 1e-12 / images
        return tuple(
            Part(level, data, pj * scale)
            for level, data, pj in self._picojoules(accesses, latency_s)
        )

    def _picojoules(
        self, accesses: Accesses[N], latency_s: N
    ) -> tuple[tuple[str, str, N | float], ...]:
        """By level and kind of data.

        A zero input gates the multiplication, the filter's read and the sum's read and write; the
        input itself is read to know that it is zero.
        """
        busy = accesses.nonzero_macs
        return (
            ("mac", OTHER, busy * self.mac_pj),
            ("rf", IFMAP, accesses.macs * self.rf_ifmap_pj),
            ("rf", WEIGHT, busy * self.rf_weight_pj),
            ("rf", PSUM, 2 * busy * self.rf_psum_pj),
            ("array", PSUM, accesses.array_psum * self.array_pj),
            ("buffer", IFMAP, accesses.buffer_ifmap * self.buffer_pj),
            ("buffer", PSUM, accesses.buffer_psum * self.buffer_pj),
            ("static", OTHER, self.static_w * latency_s * 1e12),
            ("dram", IFMAP, accesses.dram_ifmap * self.dram_pj),
            ("dram", WEIGHT, accesses.dram_weight * self.dram_pj),
            ("dram", PSUM, accesses.dram_psum * self.dram_pj),
        )


_JSSC_MAC_PJ = 1.694

JSSC2017 = CostSet(
    "jssc2017", "65 nm, 1 V", mac_pj=_JSSC_MAC_PJ, rf_ifmap_pj=_JSSC_MAC_PJ,
    rf_weight_pj=_JSSC_MAC_PJ, rf_psum_pj=_JSSC_MAC_PJ, array_pj=2 * _JSSC_MAC_PJ,
    buffer_pj=6 * _JSSC_MAC_PJ, dram_pj=200 * _JSSC_MAC_PJ, static_w=0.145,
)  # fmt: skip
"""The chip: ratios 1 : 1 : 2 : 6 : 200 (Chen et al., ISCA 2016, table IV) of a 16-bit MAC in 65 nm.

The power of clock, control and leakage is fitted to the five layers of AlexNet that JSSC 2017
measures; it makes up about half of the chip's energy.
"""

ACCELERGY = CostSet(
    "accelergy", "40 nm, tables", mac_pj=2.2, rf_ifmap_pj=0.146, rf_weight_pj=0.824,
    rf_psum_pj=0.153, array_pj=0.221, buffer_pj=(28.074 + 28.386) / 2 / 4, dram_pj=512 / 4,
    static_w=0.0,
)  # fmt: skip
"""Average energies that Accelergy computes for its Eyeriss-like example.

Source: Accelergy-Project/timeloop-accelergy-exercises, 04_eyeriss_like, ERT_summary at bfda6af
(buffer: 64-bit reads and writes, 4 words each); DRAM from Accelergy-Project/baseline-designs,
eyeriss_like at 1932af8 (LPDDR4, 512 pJ for 64 bits). Neither holds clock or leakage.
"""

COST_SETS: Mapping[str, CostSet] = MappingProxyType({c.name: c for c in (JSSC2017, ACCELERGY)})
"""Cost sets by name."""

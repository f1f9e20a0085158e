"""What disturbs weights that are held as conductances: published presets, as data.

Conductances are relative to the largest one, ``g = G / Gmax`` in 0..1; a weight is the difference
of two cells. Programming errors are drawn once for a chip and stay; drift is drawn with them and
grows; read noise is new at every read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Drift:
    """Conductances that fall as ``((t + t0) / t0) ** -nu``, each cell with its own exponent.

    Attributes:
        mean: slope over ln(g), offset, least and largest mean of ``nu``.
        spread: the same of its standard deviation.
        t0_s: seconds after programming from which drift counts.
    """

    mean: tuple[float, float, float, float]
    spread: tuple[float, float, float, float]
    t0_s: float


@dataclass(frozen=True, slots=True)
class Flicker:
    """Read noise that grows with age: ``g * min(a / g**b, cap) * sqrt(ln((t + tr) / (2 tr)))``.

    Attributes:
        a, b, cap: of the amplitude.
        read_s: how long a read takes (tr).
    """

    a: float
    b: float
    cap: float
    read_s: float


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of cell.

    Attributes:
        name: what selects it.
        source: where the numbers stand.
        g_max_us: largest conductance in microsiemens.
        programming: standard deviation of the programming error in microsiemens, as coefficients of
            1, g, g^2, ...; with the seconds after programming from which they hold.
        drift: None where errors over time are part of ``programming``.
        flicker: None where read noise is relative alone.
        read: standard deviation of a read, relative to the conductance.
    """

    name: str
    source: str
    g_max_us: float
    programming: tuple[tuple[float, tuple[float, ...]], ...]
    drift: Drift | None = None
    flicker: Flicker | None = None
    read: float = 0.0

    def programming_at(self, seconds: float) -> tuple[float, ...]:
        """Coefficients of the programming error, relative to the largest conductance.

        Args:
            seconds: since programming; the last coefficients that hold by then.
        """
        known = [c for start, c in self.programming if start <= seconds]
        chosen = known[-1] if known else self.programming[0][1]
        return tuple(c / self.g_max_us for c in chosen)


PCM = Noise(
    "pcm",
    "phase-change memory, PCMLikeNoiseModel of IBM's aihwkit at 4545f11 (Nandakumar et al., 2019; "
    "Joshi et al., Nature Communications 2020)",
    g_max_us=25.0,
    programming=((0.0, (0.26348, 1.9650, -1.1731)),),
    drift=Drift((-0.0155, 0.0244, 0.049, 0.1), (-0.0125, -0.0059, 0.008, 0.045), 20.0),
    flicker=Flicker(0.0088, 0.65, 0.2, 250e-9),
)
"""The default: the best characterised of all."""

RRAM = Noise(
    "rram",
    "resistive memory of Wan et al., Nature 2022, as ReRamWan2022NoiseModel of aihwkit at 4545f11 "
    "has it; read noise about 1 %",
    g_max_us=40.0,
    programming=(
        (1.0, (0.348, 16.030, -43.853, 45.393, -16.815)),
        (86_400.0, (0.701, 22.086, -50.773, 47.095, -16.458)),
        (172_800.0, (0.782, 20.274, -43.507, 37.062, -11.934)),
    ),
    read=0.01,
)
"""Measured one second, one day and two days after programming; in between, the earlier one."""

SIMPLE = Noise(
    "simple",
    "every conductance off by 10 %, the device variation of DNN+NeuroSim V1.3 at 388f421",
    g_max_us=1.0,
    programming=((0.0, (0.0, 0.1)),),
)
"""No device in particular. NeuroSim's on/off ratio of 10 and its 5-bit converters are settings."""

NOISES: Mapping[str, Noise] = MappingProxyType({n.name: n for n in (PCM, RRAM, SIMPLE)})
"""Kinds of cells by name."""


@dataclass(frozen=True, slots=True)
class Converters:
    """What stands between digital numbers and an array (defaults of aihwkit's inference presets).

    Attributes:
        input_bits: of inputs, each vector scaled to its largest element.
        adc_bits: of outputs.
        bound: largest output that is converted, in units of the largest weight and input.
        output_noise: standard deviation that an output takes on, in the same units.
    """

    input_bits: int = 8
    adc_bits: int = 9
    bound: float = 12.0
    output_noise: float = 0.06


@dataclass(frozen=True, slots=True)
class AnalogHardware:
    """How a network's layers compute in arrays of cells.

    Attributes:
        noise: of the cells.
        seconds: between programming and use.
        converters: None for perfect ones.
        on_off: largest over smallest conductance; infinite if cells can be switched off.
        rescaled: whether each layer's outputs are scaled by one factor that undoes the mean drift,
            as every such chip does in use; without it accuracy is lost within minutes.
    """

    noise: Noise = PCM
    seconds: float = 25.0
    converters: Converters | None = Converters()
    on_off: float = float("inf")
    rescaled: bool = True

"""Whole networks correct what a sum over layers gets wrong.

A layer timed between two others finds more of its data in the caches than it does in a network, and
the more so the larger the network. Over the widths of one network the error is close to a power of
the sum itself, so that two numbers remove it::

    cost = scale * sum * (sum / 1 ms) ** exponent

They are fitted to a few measured networks of different widths. The correction is monotone: it
changes no order, neither of networks nor of proposals. For other resources than time, the
reference is likewise a thousandth of the base unit.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from netadapt.errors import DeviceError
from netadapt.network import Network, Sizes, nearest_choice, shrinkable
from netadapt.platforms import Effort

SHARES = {"full": 1.0, "3/4": 0.75, "1/2": 0.5}
"""Uniform widths of the networks that calibrate, as shares of each group's."""

SPREAD = Effort(passes=10, min_seconds=0.02)
"""How whole networks are measured where a table is held against them.

Shared machines have slow seconds and fast ones. Many short visits spread over time meet both, and
the 10th percentile over all of them is that of the fast ones.
"""

_UNEVEN_SEED = 1 << 32  # no seed that a verification would be given
_REFERENCE = 1e-3
_NOISE = 0.01  # relative error of a measured network
_LOOSE = 0.1  # how far the exponent is expected from zero


@dataclass(frozen=True, slots=True)
class Calibration:
    """The correction.

    Attributes:
        scale: factor at a sum of a thousandth of the unit: 1 ms.
        exponent: by how much more the correction grows with the sum; above -1.
        networks: what it was fitted to, for the record; empty if to nothing.
    """

    scale: float = 1.0
    exponent: float = 0.0
    networks: str = ""

    def apply(self, total: float) -> float:
        """The corrected sum, in the same unit."""
        if self.exponent == 0.0 or total <= 0.0:
            return self.scale * total
        return self.scale * total * math.pow(total / _REFERENCE, self.exponent)


def fit(pairs: Sequence[tuple[float, float]], *, networks: str) -> Calibration:
    """The correction of least squared relative error, with the prior that it is proportional.

    A single network comes out exactly, by scale alone.

    Args:
        pairs: what was measured, and the sum, of each network.
        networks: their names, for the record.

    Raises:
        DeviceError: a measurement or a sum is not above zero.
    """
    for measured, total in pairs:
        if measured <= 0 or total <= 0:
            raise DeviceError(
                f"{networks} was measured at {measured} and priced at {total}; both must be "
                "above zero to calibrate a table. Measure it again."
            )
    x = [math.log(total / _REFERENCE) for _, total in pairs]
    y = [math.log(measured / total) for measured, total in pairs]
    x_mean, y_mean = fmean(x), fmean(y)
    covariance = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    variance = sum((a - x_mean) ** 2 for a in x)
    exponent = covariance / (variance + (_NOISE / _LOOSE) ** 2)
    return Calibration(math.exp(y_mean - exponent * x_mean), exponent, networks)


def calibration_sizes(network: Network, multiple: int) -> Mapping[str, Sizes]:
    """The widths to calibrate on: all, uniformly three quarters and a half, and one uneven choice.

    These surround what a search comes by. A quarter of all widths is not among them: layers of one
    or two blocks follow other laws, and would bend the fit for all others.

    Args:
        network: the network at its full widths.
        multiple: widths are multiples of so many channels.

    Returns:
        Group sizes by name; equal ones once.
    """
    found: dict[str, Sizes] = {}
    chosen = {name: _uniform(network, multiple, share) for name, share in SHARES.items()}
    chosen["uneven"] = random_sizes(network, multiple, _UNEVEN_SEED)
    for name, sizes in chosen.items():
        changed = {group: size for group, size in sizes.items() if size != network.sizes[group]}
        if changed not in found.values():
            found[name] = changed
    return found


def _uniform(network: Network, multiple: int, share: float) -> dict[str, int]:
    return {
        group.id: nearest_choice(group, share * group.size, multiple)
        for group in shrinkable(network)
    }


def random_sizes(network: Network, multiple: int, seed: int) -> dict[str, int]:
    """Widths between a quarter and all of each group, multiples of ``multiple`` channels."""
    source = random.Random(seed)
    return {
        group.id: nearest_choice(group, source.uniform(0.25, 1.0) * group.size, multiple)
        for group in shrinkable(network)
    }

"""Power by class of layer, fitted to the energy of measured networks.

A layer is too short for a window of energy, and differences of two windows drown in their noise. So
a table holds, besides its layers' times, the joules of some whole networks, each with the seconds
that the table gives its layers by class. Their energy is ``sum(watts[c] * seconds[c])``; the watts
are those of least squared relative error that are not below zero, with a prior: as long as the data
say nothing, every class draws what the network as a whole does (see :data:`LOOSE`). A power law as
in :mod:`.correction` then takes away what grows with the network.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from netadapt.network import LayerShape
from netadapt.platforms.bench.rounds import NORMAL
from netadapt.tables.correction import Calibration, fit

COLD = "cold weights"
"""Seconds of reading weights that the cache does not hold."""

CALL = "call"
"""Seconds of a call before any layer runs."""

NOISE = 0.02
"""Relative error of a network's measured energy, as the prior takes it."""

LOOSE = 0.5
"""Standard deviation of a class's power around the common one, relative to it, before any data.

The ridge is ``(NOISE / LOOSE) ** 2`` on each class's relative deviation.
"""


@dataclass(frozen=True, slots=True)
class NetworkEnergy:
    """The measured energy of one network.

    Attributes:
        name: what it is, such as ``3/4`` or ``random 7``.
        layers: fingerprint of its layer shapes.
        joules: of one inference, the median of the windows.
        spread: interquartile range over the median.
        windows: how many.
        sensor: what was read, and what it covers.
        seconds: of its layers by class, as the table has them.
    """

    name: str
    layers: str
    joules: float
    spread: float
    windows: int
    sensor: str
    seconds: Mapping[str, float]

    def to_text(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "NetworkEnergy":
        """What :meth:`to_text` wrote.

        Raises:
            ValueError: a number or a text is not where it should be.
        """
        try:
            told: dict[str, Any] = json.loads(text)
            seconds = {str(name): float(value) for name, value in told["seconds"].items()}
            row = cls(
                str(told["name"]), str(told["layers"]), float(told["joules"]),
                float(told["spread"]), int(told["windows"]), str(told["sensor"]), seconds,
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the energy of a network, {text[:60]!r}, was cut or edited; remove that line"
            ) from error
        numbers = (row.joules, row.spread, *seconds.values())
        if not all(math.isfinite(number) for number in numbers) or row.joules <= 0:
            raise ValueError(f"the energy of {row.name} is no number above zero")
        return row


@dataclass(frozen=True, slots=True)
class Power:
    """What a class of layers draws while it runs, above an idle device.

    Attributes:
        watts: by the table's time.
        low, high: the 95 % interval, by the residuals and the prior; none of it below zero.
    """

    watts: float
    low: float
    high: float


@dataclass(frozen=True)
class Powers:
    """The fit.

    Attributes:
        classes: power of each class of layers that was seen.
        common: power of the networks as wholes, for classes that were not.
        calibration: of the sum.
        residual: root of the mean squared relative error on the networks it was fitted to.
        networks: how many those are.
    """

    classes: Mapping[str, Power]
    common: float
    calibration: Calibration
    residual: float
    networks: int

    def watts(self, name: str) -> float:
        """Power of a class."""
        known = self.classes.get(name)
        return self.common if known is None else known.watts

    def joules(self, seconds: Mapping[str, float]) -> float:
        """Energy of a network by its seconds, before calibration."""
        return sum(self.watts(name) * value for name, value in seconds.items())


def layer_class(shape: LayerShape) -> str:
    """What layers of one power are put together as."""
    if shape.op == "conv":
        if shape.groups > 1:
            return "depthwise" if shape.groups == shape.cin else "grouped convolution"
        return "pointwise" if shape.kernel == (1, 1) else "convolution"
    return "linear" if shape.op == "linear" else "other"


def fit_powers(rows: Sequence[NetworkEnergy]) -> Powers:
    """Non-negative least squares of relative errors, with a ridge towards one common power.

    Args:
        rows: at least one measured network.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.seconds if row.seconds[name]))
    joules = np.array([row.joules for row in rows])
    seconds = np.array([[row.seconds.get(name, 0.0) for name in names] for row in rows])
    relative = seconds / joules[:, None]  # seconds for each joule [networks, classes]
    totals = relative.sum(axis=1)
    common = float(totals.sum() / (totals @ totals))
    ridge = NOISE / LOOSE * np.eye(len(names))
    matrix = np.vstack([relative * common, ridge])
    target = np.concatenate([np.ones(len(rows)), ridge.sum(axis=0)])
    shares, _ = nnls(matrix, target)
    errors = relative @ (shares * common) - 1
    residual = float(np.sqrt(np.mean(errors**2)))
    deviation = max(residual * math.sqrt(len(rows) / max(1, len(rows) - len(names))), 1e-9)
    sds = deviation * np.sqrt(np.diag(np.linalg.inv(matrix.T @ matrix)))
    classes = {
        name: Power(
            float(share * common),
            max(0.0, float((share - NORMAL * sd) * common)),
            float((share + NORMAL * sd) * common),
        )
        for name, share, sd in zip(names, shares, sds, strict=True)
    }
    plain = Powers(classes, common, Calibration(), residual, len(rows))
    pairs = [(row.joules, plain.joules(row.seconds)) for row in rows]
    calibration = fit(pairs, networks=f"{len(rows)} networks")
    return Powers(classes, common, calibration, residual, len(rows))

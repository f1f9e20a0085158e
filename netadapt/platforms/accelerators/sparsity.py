"""Zeros among the activations of each layer, for hardware that gains by them.

They belong to a network with its weights, not to the hardware: they are counted in images, or read
from a file, and told to a platform before it prices that network.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netadapt.errors import UnknownName, UsageError
from netadapt.platforms.accelerators.row_stationary import DENSE, Zeros

MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Sparsity:
    """What is known of the zeros in each layer of a network.

    Attributes:
        source: :data:`MEASURED` in images, or the file that tells them.
        shares: of zeros in the input of a layer, by its name; None before they are measured.
        layers: zeros in and out of each layer, by its name; None before the network is known.
    """

    source: str
    shares: Mapping[str, float] | None = None
    layers: Mapping[str, Zeros] | None = None

    def __str__(self) -> str:
        """As it stands beside a figure."""
        return "zeros by layer, " + (
            "measured in holdout images" if self.source == MEASURED else f"of {self.source}"
        )

    def of(self, names: Sequence[str], shares: Mapping[str, float]) -> "Sparsity":
        """The same, of a network whose layers that multiply are these, in order.

        Raises:
            UnknownName: zeros are told of a layer that is not among them.
        """
        for name in shares:
            if name not in names:
                raise UnknownName(
                    "layer that multiplies", name, names,
                    f"{self.source} tells its zeros; give the file of this network.",
                )  # fmt: skip
        between = dict(zip(names, zeros_by_layer(shares, names), strict=True))
        return replace(self, shares=dict(shares), layers=between)


def zeros_by_layer(
    ifmap_zeros: Mapping[str, float], names: Sequence[str], default: Zeros = DENSE
) -> tuple[Zeros, ...]:
    """Zeros of each layer's input and output, from the shares of zeros in each layer's input.

    A layer's output is taken to hold as many zeros as the next layer's input: exact in a chain. The
    first layer's input is an image, which the chip does not compress.

    Args:
        ifmap_zeros: share of zeros in the input of a layer, by its name.
        names: all layers in the order in which they run.
        default: for layers that are not named.
    """
    shares = [ifmap_zeros.get(name, default.ifmap) for name in names]
    between = zip(shares, [*shares[1:], 0.0], strict=True)
    return tuple(Zeros(share, after, coded=n > 0) for n, (share, after) in enumerate(between))


def read_zeros(path: Path) -> Sparsity:
    """Shares of zeros by layer from a JSON file: ``{"conv2": 0.4}``, alone or under ``zeros``.

    The latter is what ``netadapt inspect --json`` writes.

    Raises:
        UsageError: there is no such file, or it does not hold shares by name.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"zeros is a share of activations from 0 to below 1, '{MEASURED}', or a JSON file with "
            f"a share for each layer; {path} cannot be read as one ({error})."
        ) from None
    if isinstance(told, dict) and isinstance(told.get("zeros"), dict):
        told = told["zeros"]
    if not isinstance(told, dict) or not told or not _are_shares(told.values()):
        raise UsageError(
            f"{path} must hold the share of zeros in the input of each layer, from 0 to 1, by the "
            'layer\'s name, like {"conv2": 0.4}.'
        )
    return Sparsity(str(path), {name: float(share) for name, share in told.items()})


def _are_shares(values: Iterable[object]) -> bool:
    return all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1 for v in values
    )

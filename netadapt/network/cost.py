"""What a network costs: a sum over layers."""

from collections.abc import Sequence
from typing import Protocol

from netadapt.network.layers import LayerShape


class Cost(Protocol):
    """Prices layers one by one, so that the search re-prices only what a change touches."""

    @property
    def unit(self) -> str:
        """``s``, ``J``, or what is counted, such as ``MACs``."""
        ...

    def layer(self, shape: LayerShape) -> float:
        """Cost of one layer inside a network."""
        ...

    def network(self, layers: float, weights: int) -> float:
        """Cost of a network whose layers cost ``layers`` together and hold ``weights`` elements."""
        ...


class Count:
    """A property of the layer shapes alone, such as MACs: a proxy, and it says so by its unit."""

    def __init__(self, unit: str, attribute: str) -> None:
        self.unit = unit
        self._attribute = attribute

    def layer(self, shape: LayerShape) -> float:
        """The count of one layer."""
        return float(getattr(shape, self._attribute))

    def network(self, layers: float, weights: int) -> float:
        """The sum over layers; ``weights`` has no further effect."""
        return layers


MACS = Count("MACs", "macs")
WEIGHTS = Count("weights", "weights")


def cost_of(cost: Cost, layers: Sequence[LayerShape]) -> float:
    """Cost of a whole network given by its layer shapes."""
    return cost.network(sum(map(cost.layer, layers)), sum(shape.weights for shape in layers))

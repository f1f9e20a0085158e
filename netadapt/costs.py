"""What a network costs: a sum over layers, and how to re-price it when one group changes."""

from collections.abc import Sequence
from typing import Protocol

from netadapt.network import LayerShape, Network, Sizes


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


class Pricing:
    """The cost of a network at some sizes, re-priced one group at a time.

    Args:
        network: the network.
        sizes: sizes of its groups; groups left out keep their present size.
        cost: what prices the layers.
    """

    def __init__(self, network: Network, sizes: Sizes, cost: Cost) -> None:
        self._network = network
        self._cost = cost
        self.sizes = network.complete(sizes)
        shapes = network.at(self.sizes)
        self._prices = [cost.layer(shape) for shape in shapes]
        self._weights = [shape.weights for shape in shapes]
        self._layers_total = sum(self._prices)
        self._weights_total = sum(self._weights)
        self.total = cost.network(self._layers_total, self._weights_total)

    def with_group(self, group: str, size: int) -> float:
        """The network's cost if this one group had this size; pays only for changed layers."""
        sizes = {**self.sizes, group: size}
        layers, weights = self._layers_total, self._weights_total
        for position in self._network.mentions[group]:
            shape = self._network.shape_of(position, sizes)
            layers += self._cost.layer(shape) - self._prices[position]
            weights += shape.weights - self._weights[position]
        return self._cost.network(layers, weights)

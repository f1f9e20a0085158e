"""Prices of a network, re-priced when one group changes."""

from netadapt.network import Cost, Network, Sizes


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

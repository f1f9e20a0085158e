"""Prices of a network, re-priced when some of its groups change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netadapt.network import Cost, Network, Sizes, shrinkable
from netadapt.runs import PassedOver


class Pricing:
    """The cost of a network at some sizes, re-priced group by group.

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

    @property
    def layers(self) -> dict[str, float]:
        """The cost of each layer that runs, alone, in order of execution."""
        names = (layer.name for layer in self._network.costed)
        return dict(zip(names, self._prices, strict=True))

    def changed(self, changes: Sizes) -> float:
        """The network's cost if these groups had these sizes; pays only for changed layers."""
        sizes = {**self.sizes, **changes}
        layers, weights = self._layers_total, self._weights_total
        mentions = self._network.mentions
        for position in {position for group in changes for position in mentions[group]}:
            shape = self._network.shape_of(position, sizes)
            layers += self._cost.layer(shape) - self._prices[position]
            weights += shape.weights - self._weights[position]
        return self._cost.network(layers, weights)


@dataclass(frozen=True, slots=True)
class Scale:
    """How a price counts: ``price * bias / target``, at most 1 where the target is reached.

    Attributes:
        bias: measured over predicted, of the network as it stands.
        target: what it has to get down to.
    """

    bias: float
    target: float


class Loads:
    """How far a network is from the targets of an iteration, in one number.

    The load is the largest of predicted cost over target, over all bounds; where it is at most 1,
    every target is reached. Strategies need no more than this, and know no resource.

    Args:
        network: the network.
        sizes: present sizes of its groups.
        costs: what prices it, by the key of each bound.
        scales: bias and target of each bound, by the same keys.
        passed_over: changes that were measured before, and what their prices lack.
    """

    def __init__(
        self,
        network: Network,
        sizes: Sizes,
        costs: Mapping[str, Cost],
        scales: Mapping[str, Scale],
        passed_over: Iterable[PassedOver] = (),
    ) -> None:
        self._network, self._costs, self._targets = network, costs, scales
        self._pricings = {key: Pricing(network, sizes, cost) for key, cost in costs.items()}
        self._scales = {key: scales[key].bias / scales[key].target for key in costs}
        self.sizes = network.complete(sizes)
        self._excess = {frozenset(p.changes.items()): p.excess for p in passed_over}
        self.present = self.changed({})

    def changed(self, changes: Sizes) -> float:
        """The load if these groups had these sizes."""
        return max(self.each(changes).values())

    def each(self, changes: Sizes) -> dict[str, float]:
        """Predicted cost over target of each bound, by key, if these groups had these sizes."""
        return {key: price * self._scales[key] for key, price in self.prices(changes).items()}

    def moved(self, sizes: Sizes) -> "Loads":
        """The same with other present sizes, so that changes from there are paid for alone."""
        return Loads(self._network, sizes, self._costs, self._targets)

    @property
    def layers(self) -> dict[str, float]:
        """Predicted cost of each layer as it stands, in what the largest load is of."""
        key = max(
            self._pricings, key=lambda key: self._pricings[key].changed({}) * self._scales[key]
        )
        return self._pricings[key].layers

    def prices(self, changes: Sizes) -> dict[str, float]:
        """The predicted cost by each key, not rescaled, if these groups had these sizes."""
        prices = {key: pricing.changed(changes) for key, pricing in self._pricings.items()}
        excess = self._excess.get(frozenset(changes.items())) if self._excess else None
        return {key: p + excess[key] for key, p in prices.items()} if excess else prices


def comfortable_reduction(network: Network, sizes: Sizes, cost: Cost, multiple: int) -> float:
    """A cost reduction that a third of the groups can each reach, with half of what they have.

    A network of many small groups offers little per group. Asked for more than one group can
    give, NetAdapt would empty whole groups; asked for this much it keeps a choice.

    Returns:
        The reduction in the unit of the cost; zero if nothing can shrink.
    """
    pricing = Pricing(network, sizes, cost)
    savings = [
        pricing.total - min(pricing.changed({group.id: size}) for size in choices)
        for group in shrinkable(network)
        if (choices := group.smaller(pricing.sizes[group.id], multiple))
    ]
    useful = sorted((saving for saving in savings if saving > 0), reverse=True)
    return 0.5 * useful[(len(useful) - 1) // 3] if useful else 0.0

"""Energy by a lookup table: times of layers, and powers fitted to the joules of whole networks."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netadapt.errors import TableError
from netadapt.network import LayerShape, Network, Sizes, nearest_choice, shrinkable
from netadapt.platforms import Platform, Progress, Workload
from netadapt.tables.correction import SPREAD, calibration_sizes
from netadapt.tables.lookup import LookupTable
from netadapt.tables.powers import CALL, COLD, NetworkEnergy, Powers, layer_class
from netadapt.tables.rows import append

NETWORKS = 30
"""Networks whose energy is measured for a table; each takes three windows of five seconds or more.

With about eight classes of layers, half of them would leave each class few numbers of its own.
"""

_SEED = (1 << 33) + 1  # no seed that a verification would be given
_DRAWS = 8  # until one gives widths that no other has
_LEAST = 0.25
_SCATTER = 0.3


@dataclass(frozen=True)
class EnergyCost:
    """Prices layers and networks in joules; a :class:`netadapt.network.cost.Cost`.

    Attributes:
        table: the times of layers.
        powers: what each class of layers draws.
        unit: joules.
    """

    table: LookupTable
    powers: Powers
    unit: str = "J"

    @classmethod
    def of(cls, table: LookupTable) -> "EnergyCost":
        """What a table says of energy.

        Raises:
            TableError: it holds the energy of no network.
        """
        if table.powers is None:
            raise TableError(
                "The lookup table holds no network's energy, and prices time alone; measure some "
                "on a device with a sensor with 'netadapt table build --resource energy'."
            )
        return cls(table, table.powers)

    def layer(self, shape: LayerShape) -> float:
        """Joules of one layer inside a network, before calibration; errors as of the table."""
        computing_s, cold_s = split(self.table, shape)
        computing_j = self.powers.watts(layer_class(shape)) * computing_s
        return computing_j + self.powers.watts(COLD) * cold_s

    def network(self, layers: float, weights: int) -> float:
        """Joules of a network whose layers take ``layers`` and hold ``weights`` elements."""
        cold_j = self.powers.watts(COLD) * self.table.refill(weights)
        call_j = self.powers.watts(CALL) * self.table.overhead
        return self.powers.calibration.apply(layers - cold_j + call_j)


def split(table: LookupTable, shape: LayerShape) -> tuple[float, float]:
    """Seconds of a layer inside a network: computing, and reading weights that no cache holds.

    Raises:
        TableError: no layer of its kind was measured.
    """
    computing_s = max(0.0, table.alone(shape) - table.streamed(shape.weights))
    return computing_s, table.layer(shape) - computing_s


def seconds_by_class(table: LookupTable, shapes: Sequence[LayerShape]) -> dict[str, float]:
    """What a table says of a network's time, by class of layer, before calibration."""
    found: dict[str, float] = {CALL: table.overhead}
    cold_s = -table.refill(sum(shape.weights for shape in shapes))
    for shape in shapes:
        name, (computing_s, layer_cold_s) = layer_class(shape), split(table, shape)
        found[name] = found.get(name, 0.0) + computing_s
        cold_s += layer_cold_s
    return {**found, COLD: max(0.0, cold_s)}


def energy_sizes(network: Network, multiple: int, count: int = NETWORKS) -> dict[str, Sizes]:
    """The widths whose energy is measured: those that calibrate, then random ones, of any level.

    None is there twice, which would tell nothing new in as many windows.

    Args:
        network: the network at its full widths.
        multiple: widths are multiples of so many channels.
        count: how many; fewer where widths have not as many choices.

    Returns:
        Group sizes by name.
    """
    found: dict[str, Sizes] = dict(calibration_sizes(network, multiple))
    known = [network.complete(sizes) for sizes in found.values()]
    more = max(0, count - len(found))
    for n in range(more):
        level = _LEAST + (1 - _LEAST) * (n + 0.5) / more
        seeds = range(_SEED + n, _SEED + n + _DRAWS * more, more)
        draws = (_scattered(network, multiple, level, seed) for seed in seeds)
        new = next((sizes for sizes in draws if network.complete(sizes) not in known), None)
        if new is not None:
            found[f"random {n}"] = new
            known.append(network.complete(new))
    return dict(list(found.items())[:count])


def _scattered(network: Network, multiple: int, level: float, seed: int) -> dict[str, int]:
    """Widths scattered around a common share of each group's.

    Dense layers shrink with the square of a common share and depthwise ones with the share itself;
    of widths that are all drawn alike, the two would keep their proportion.
    """
    source = random.Random(seed)
    shares = {
        group.id: min(1.0, max(_LEAST, level + source.uniform(-_SCATTER, _SCATTER)))
        for group in shrinkable(network)
    }
    return {
        group.id: nearest_choice(group, shares[group.id] * group.size, multiple)
        for group in shrinkable(network)
    }


def fingerprint(shapes: Sequence[LayerShape]) -> str:
    """Tells networks apart by their layers alone."""
    return hashlib.sha256("\n".join(map(str, shapes)).encode()).hexdigest()[:16]


def unmeasured(table: LookupTable, works: Mapping[str, Workload]) -> dict[str, Workload]:
    """The networks whose energy the table does not hold."""
    known = {row.layers for row in table.energies}
    return {name: work for name, work in works.items() if fingerprint(work.layers) not in known}


def complete_energies(
    table: LookupTable,
    platform: Platform,
    works: Mapping[str, Workload],
    *,
    path: Path,
    progress: Progress | None = None,
) -> LookupTable:
    """A table with the energy of these networks; each is a line of the file once it is measured.

    Args:
        table: has a price for every layer of them.
        platform: the device, which measures energy.
        works: the networks by name.
        path: where the table is kept.
        progress: called as they are measured.

    Raises:
        DeviceError: the sensor cannot be read any more; what it told by then is in the file.
    """
    missing = unmeasured(table, works)
    if not missing:
        return table
    table.save(path)
    rows, warnings = list(table.energies), dict.fromkeys(table.warnings)
    sensor = platform.describe().sensor
    for done, (name, work) in enumerate(missing.items(), start=1):
        reading = platform.measure_networks([work], SPREAD)[0]["energy"]
        row = NetworkEnergy(
            name, fingerprint(work.layers), reading.value, reading.spread, len(reading.samples),
            sensor, seconds_by_class(table, work.layers),
        )  # fmt: skip
        append(path, f"# energy: {row.to_text()}\n")
        rows.append(row)
        warnings.update(dict.fromkeys(reading.warnings))
        if progress is not None:
            progress(done, len(missing))
    table = replace(table, energies=tuple(rows), warnings=tuple(warnings))
    table.save(path)
    return table


def describe_energy(table: LookupTable) -> dict[str, Any] | None:
    """What a table says of energy, as plain JSON values; None if nothing."""
    powers = table.powers
    if powers is None:
        return None
    return {
        "networks": powers.networks,
        "sensors": sorted({row.sensor for row in table.energies}),
        "windows": min(row.windows for row in table.energies),
        "residual": powers.residual,
        "scale": powers.calibration.scale,
        "exponent": powers.calibration.exponent,
        "common_w": powers.common,
        "classes": [
            {"class": name, "watts": power.watts, "low": power.low, "high": power.high}
            for name, power in sorted(powers.classes.items(), key=lambda item: -item[1].watts)
        ],
    }

"""A recorded lookup table as a device: for tests, demonstrations, and the same result again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netadapt.errors import DeviceError, TableError, UsageError
from netadapt.network import LayerShape, cost_of
from netadapt.platforms import CANARY, REFILL, Effort, Progress, Readings, Workload
from netadapt.platforms.measurement import DeviceInfo, Measurement
from netadapt.tables.energy import EnergyCost
from netadapt.tables.lookup import Entry, LookupTable


@dataclass(frozen=True)
class ReplayPlatform:
    """Answers from a table: layers by their rows, networks by their price."""

    path: Path
    table: LookupTable

    @property
    def uri(self) -> str:
        """What opens it again."""
        return f"replay:{self.path}"

    @property
    def resources(self) -> tuple[str, ...]:
        """What it tells of whole networks: energy too, where a table holds some."""
        energy = ("energy",) if self.table.energies else ()
        return (self.table.resource, *energy)

    def describe(self) -> DeviceInfo:
        """The device that was recorded, with what told its energy."""
        sensors = {row.sensor for row in self.table.energies}
        return replace(self.table.info, sensor=" and ".join(sorted(sensors)))

    def measure_layers(
        self,
        shapes: Sequence[LayerShape],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> Iterator[tuple[LayerShape, Measurement]]:
        """The rows of these layers, then the recorded canary.

        Raises:
            DeviceError: one was never recorded; those before it have been yielded by then.
        """
        for done, shape in enumerate(dict.fromkeys(shapes), start=1):
            if shape == REFILL and shape not in self.table.entries:
                continue
            yield shape, _replayed(self._entry(shape))
            if progress is not None:
                progress(done, len(shapes))
        if CANARY in self.table.entries:
            yield CANARY, _replayed(self.table.entries[CANARY])

    def measure_networks(
        self,
        models: Sequence[Workload],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> list[Readings]:
        """The price of each network, the same in every run.

        What was never recorded is estimated from layers of its kind, with a warning.

        Raises:
            DeviceError: a layer was never recorded, or the layers of a network are not known.
        """
        found: list[Readings] = []
        for done, model in enumerate(models, start=1):
            if not model.layers:
                raise DeviceError(
                    f"{self.uri} prices a network by its layers, and those of {model.name} are "
                    "not known; give a model by name instead of a file."
                )
            try:
                price = self.table.price(model.layers)
            except TableError as error:
                raise DeviceError(f"{self.uri} cannot answer for {model.name}. {error}") from error
            estimated = self.table.estimated(model.layers)
            warnings = (
                (
                    f"{len(estimated)} layers of {model.name} were never recorded and are "
                    "estimated from others; record a table that holds them.",
                )
                if estimated
                else ()
            )
            readings = {
                self.table.resource: Measurement((price,), "model", warnings, self.table.unit)
            }
            if self.table.energies:
                joules = cost_of(EnergyCost.of(self.table), model.layers)
                readings["energy"] = Measurement((joules,), "model", warnings, "J")
            found.append(readings)
            if progress is not None:
                progress(done, len(models))
        return found

    def _entry(self, shape: LayerShape) -> Entry:
        entry = self.table.entry(shape)
        if entry is None:
            raise DeviceError(
                f"{self.path} holds no recording of the layer {shape}; record it on the device "
                "with 'netadapt table build', or choose widths that were recorded."
            )
        return entry


def _replayed(entry: Entry) -> Measurement:
    """Samples with the recorded quantiles: of 11, the 2nd, 6th and 10th are these quantiles."""
    low, middle, high = entry.p10, entry.median, entry.p90
    return Measurement((low,) * 5 + (middle,) * 4 + (high,) * 2, "model")


def open_replay(rest: str, options: Mapping[str, str]) -> ReplayPlatform:
    """``replay:table.csv``.

    Raises:
        DeviceError: the table cannot be read.
    """
    if not rest:
        raise UsageError("Give the table to replay, like replay:lookup_tables/mobilenet_v1.csv.")
    path = Path(rest)
    try:
        return ReplayPlatform(path, LookupTable.load(path))
    except TableError as error:
        raise DeviceError(f"Cannot replay {path}. {error}") from error

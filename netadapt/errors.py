"""Every error a user can meet, and the exit code each ends the command line with.

    NetAdaptError
    ├── BudgetUnreachable   1   no channel group can shrink further; the run is kept
    ├── CheckFailed         1   a verification ran and did not pass
    ├── UsageError          2   an argument, setting or file is not what it should be
    │   ├── SettingsError   2   settings of a run are wrong; the message tells all that are
    │   ├── UnknownName     2   no such model, data set, ...; the nearest names are suggested
    │   ├── ModelError      2   a model cannot be built, traced, or given these weights
    │   ├── ShapeError      2   the shape of a model's input is not known, or is another one
    │   ├── DataError       2   a data set cannot be read or cannot be learned from
    │   │   └── MetricError 2   a metric gave something else than a finite number
    │   ├── TableError      2   a lookup table is unreadable, or of another device or settings
    │   └── SettingsChanged 2   a run folder holds a run with other settings
    ├── DeviceError         3   the target device cannot be reached or cannot measure
    │   ├── UnmappableLayer 3   a layer that modelled hardware cannot compute
    │   └── WorkerError     3   workers cannot be reached, or all of them were lost
    ├── TrainingError       4   training diverged (NaN or infinite loss)
    └── RunError            5   the run folder is locked, damaged, or the disk is full

Exit code 0 means that the budget or check was met, 101 an error inside netadapt, 130 an interrupt,
141 that whoever read the output has gone.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


_LONGEST = 200
"""Characters of a name that is compared with others."""


class NetAdaptError(Exception):
    """Root of all errors that netadapt raises on purpose.

    The message is one or two full sentences: what, where, what was expected and found, what to do.
    """

    exit_code = 1


class BudgetUnreachable(NetAdaptError):
    """Nothing is left to remove and the budget is not met."""


class CheckFailed(NetAdaptError):
    """A verification ran to its end and did not pass."""


class UsageError(NetAdaptError):
    """An argument, a setting or an input file is not what it should be."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one setting.

    Attributes:
        setting: its path, such as ``tuning.recipe.lr``.
        text: the rest of a sentence that begins with the path.
    """

    setting: str
    text: str

    def __str__(self) -> str:
        """The whole sentence."""
        return f"{self.setting} {self.text}"


class SettingsError(UsageError):
    """Settings of a run are not what they should be.

    Args:
        faults: all that is wrong, so that all can be mended at once.
        source: the file that the settings are in; empty if they are in none.
    """

    def __init__(self, faults: Iterable[Fault], source: str = "") -> None:
        self.faults = tuple(faults)
        self.source = source
        where = f"{source}: " if source else ""
        if len(self.faults) == 1:
            super().__init__(f"{where}{self.faults[0]}")
            return
        told = "".join(f"\n  {fault}" for fault in self.faults)
        super().__init__(f"{where}{len(self.faults)} settings are wrong.{told}")


def nearest(name: str, known: Iterable[str], *, count: int = 1, cutoff: float = 0.5) -> list[str]:
    """The names that may have been meant; of a text that is far too long for any, none.

    Args:
        name: what was written.
        known: what it may have been.
        count: how many to give at most.
        cutoff: how alike they are at least, from 0 to 1.
    """
    if len(name) > _LONGEST:
        return []  # they would be compared for minutes
    return difflib.get_close_matches(name, list(known), n=count, cutoff=cutoff)


class UnknownName(UsageError):
    """A name that is in no registry; the message suggests the nearest ones.

    Args:
        what: the kind of thing, such as ``model``.
        name: what was asked for.
        known: all names that would have been accepted.
        hint: one more sentence on what else is accepted.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = nearest(name, names, count=3)
        said = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}."
        super().__init__(f"There is no {what} {name!r}; {said} {hint}".rstrip())
        self.suggestions = near


def named(what: str, name: str, registry: Mapping[str, T], hint: str = "") -> T:
    """Look a name up.

    Raises:
        UnknownName: there is none in the registry; arguments as there.
    """
    if name not in registry:
        raise UnknownName(what, name, registry, hint)
    return registry[name]


class ModelError(UsageError):
    """A model cannot be built, traced, or given these weights."""


class ShapeError(UsageError):
    """The shape of a model's input is not known, or is not the one that was given."""


class DataError(UsageError):
    """A data set cannot be read, or cannot be learned from."""


class MetricError(DataError):
    """A metric gave something else than a finite number in its range."""


class TableError(UsageError):
    """A lookup table is unreadable, or was measured on another device or with other settings."""


class AlreadyMet(UsageError):
    """The unpruned network, or the run to go on from, is within the budgets already."""


class SettingsChanged(UsageError):
    """A run folder holds a run that was started with other settings."""


class DeviceError(NetAdaptError):
    """The target device cannot be reached, or cannot measure what it was asked to."""

    exit_code = 3


class UnmappableLayer(DeviceError):
    """A layer that modelled hardware cannot compute: it has no price, rather than none at all."""


class WorkerError(DeviceError):
    """Those who try candidates cannot be reached, or were lost again and again."""


class TrainingError(NetAdaptError):
    """Training diverged: the loss is not a finite number."""

    exit_code = 4


class RunError(NetAdaptError):
    """The run folder is locked by another process, damaged, or cannot be written."""

    exit_code = 5

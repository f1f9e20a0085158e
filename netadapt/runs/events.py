"""What happens in a run, as typed values: each line of the journal is one of these, with its time.

A report, a footprint or a comparison needs the journal alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, get_args

from netadapt.runs.progress import Progress
from netadapt.runs.step import Step
from netadapt.runs.trial import Outcome, Phase


@dataclass(frozen=True, slots=True)
class Started:
    """The first line of every journal.

    Attributes:
        format: version of the journal's format.
        settings: what decides the result; a run continues only if these are equal.
        execution: how it is executed, which may change from day to day.
        versions: of netadapt, Python, and the packages that compute.
        command: the command line, or empty.
        machine: what trains: processor, cores, system.
    """

    format: int
    settings: Mapping[str, Any]
    execution: Mapping[str, Any]
    versions: Mapping[str, str]
    command: str = ""
    machine: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Continued:
    """The run was taken up again."""

    execution: Mapping[str, Any]
    versions: Mapping[str, str]
    command: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A channel group as the report shows it.

    Attributes:
        id: qualified name of the first module that produces its channels.
        size: units.
        channels_per_unit: output channels in one unit.
        fixed: why it may not shrink; empty if it may.
    """

    id: str
    size: int
    channels_per_unit: int
    fixed: str


@dataclass(frozen=True, slots=True)
class Traced:
    """The model was traced.

    Attributes:
        groups: every channel group.
        fixed: ``(layer, reason)`` of each layer that keeps its width.
        params, macs: of the unpruned network.
        multiple: widths become multiples of it.
        metric: what accuracy is; higher is better.
        metric_is_share: whether it lies in 0..1 and reads as a percentage.
        images: how many the splits hold.
        zeros: share of zeros in the input of each layer, where a device gains by them.
    """

    groups: tuple[Group, ...]
    fixed: tuple[tuple[str, str], ...]
    params: int
    macs: int
    multiple: int
    metric: str
    metric_is_share: bool
    images: Mapping[str, int]
    zeros: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoundSet:
    """A budget met the unpruned network: what is allowed.

    Attributes:
        key: names the bound in steps.
        resource: a name in :data:`netadapt.units.RESOURCES`.
        unit: its base unit.
        device: name of the device; empty where it does not matter.
        limit: what is allowed, in the unit.
        original: what the unpruned network uses.
    """

    key: str
    resource: str
    unit: str
    device: str
    limit: float
    original: float


@dataclass(frozen=True, slots=True)
class TableMeasured:
    """Rows were added to a lookup table.

    Attributes:
        device: name of the device.
        rows: how many.
        seconds: how long it took.
        warnings: what disturbed it, each with its remedy.
        energy_j: drawn meanwhile by the machine that trains; None where no sensor told it.
        sensor: what was read; empty without energy.
        what: the rows are of: ``layers``, or ``networks`` whose energy was measured.
    """

    device: str
    rows: int
    seconds: float
    warnings: tuple[str, ...] = ()
    energy_j: float | None = None
    sensor: str = ""
    what: str = "layers"


@dataclass(frozen=True, slots=True)
class Trained:
    """A long training is done: ``what`` is ``original`` or ``adapted``."""

    what: str
    iteration: int
    epochs: float
    phase: Phase


@dataclass(frozen=True, slots=True)
class Inherited:
    """The steps so far are those of an earlier run, whose journal tells what they took.

    Attributes:
        run: its name.
        weights: SHA-256 of those of the last step.
        iteration: of the last step.
    """

    run: str
    weights: str
    iteration: int


@dataclass(frozen=True, slots=True)
class IterationStarted:
    """An iteration begins.

    Attributes:
        iteration: from 1.
        targets: cost to get down to, by the key of each bound.
        proposals: how many networks are tried.
        trials: how many trials that takes, over all rungs.
    """

    iteration: int
    targets: Mapping[str, float]
    proposals: int
    trials: int


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate was tried.

    Attributes:
        iteration: from 1.
        name: what shrank.
        changes: new sizes of groups.
        predicted: its cost by what steers, by the key of each bound, not rescaled.
        outcome: what came of it.
    """

    iteration: int
    name: str
    changes: Mapping[str, int]
    predicted: Mapping[str, float]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Measured:
    """A network was measured beside the unpruned one.

    Attributes:
        iteration: of the network.
        device: name of the device.
        readings: statistics by resource, see :meth:`netadapt.platforms.measurement.Measurement`.
        unpruned: the same of the unpruned network, at the same time.
        phase: what it took.
        warnings: what disturbed it, each with its remedy.
    """

    iteration: int
    device: str
    readings: Mapping[str, Mapping[str, Any]]
    unpruned: Mapping[str, Mapping[str, Any]]
    phase: Phase
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepTaken:
    """An iteration is finished, or measured anew."""

    step: Step


@dataclass(frozen=True, slots=True)
class Stored:
    """Weights were written: ``sha256`` of the file; empty where none was."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Exported:
    """Files were written."""

    files: Mapping[str, int]
    phase: Phase


@dataclass(frozen=True, slots=True)
class LayerCost:
    """A layer before and after.

    Attributes:
        name: of the layer.
        op: its kind.
        before, after: its shape in words.
        cost_before, cost_after: by the key of each bound, as what steers prices it.
    """

    name: str
    op: str
    before: str
    after: str
    cost_before: Mapping[str, float]
    cost_after: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """A network as it is reported.

    Attributes:
        costs: measured, by the key of each bound.
        spreads: interquartile range over median of each.
        accuracy: the task's metric on test images; the mean over chips where no two are alike.
        macs, params, onnx_bytes: counted.
        accuracy_spread: standard deviation between chips.
        chips: how many were scored; 1 where all compute the same.
        uncertainties: half of the 95 % interval of each cost beside the unpruned network's, over
            the cost; only of those that were measured in turn with it.
    """

    costs: Mapping[str, float]
    spreads: Mapping[str, float]
    accuracy: float
    macs: int
    params: int
    onnx_bytes: int
    accuracy_spread: float = 0.0
    chips: int = 1
    uncertainties: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The last line of a finished run.

    Attributes:
        met: whether every budget is met, as measured.
        before, after: the unpruned and the adapted network.
        predicted: costs of the adapted network by what steers, scaled on the unpruned one alone.
        widths: ``(group, before, after)`` in output channels, of the groups that shrank.
        layers: every layer that runs, before and after.
        devices: each device in words, by name.
        precisions: what each computes in, by name.
        onnx_difference: of the ONNX file's outputs from torch's, relative.
        loader: ``graph`` or ``program``: what the generated loader reads.
        iterations: how many steps were taken.
    """

    met: bool
    before: Figures
    after: Figures
    predicted: Mapping[str, float]
    widths: tuple[tuple[str, int, int], ...]
    layers: tuple[LayerCost, ...]
    devices: Mapping[str, str]
    precisions: Mapping[str, str]
    onnx_difference: float
    loader: str
    iterations: int


@dataclass(frozen=True, slots=True)
class Scored:
    """The accuracy of a network was told beside any trial: ``what`` is as in :class:`Trained`."""

    what: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class Stopped:
    """A run has ended short of its budgets, and why, as a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class CrossChecked:
    """What codecarbon says of the energy of this session of the run, beside our own figures.

    Attributes:
        version, seconds: of codecarbon, and how long it watched.
        country: whose intensity it took, by its own table.
        kwh: that it arrived at, measured or assumed.
        carbon_g: grams of CO2 equivalent.
        watts: the power that it arrived at, of each part of the computer.
    """

    version: str
    country: str
    seconds: float
    kwh: float
    carbon_g: float
    watts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a user should know, as a sentence."""

    text: str


Event = (
    Started | Continued | Traced | BoundSet | TableMeasured | Trained | Inherited | IterationStarted
    | Tried | Measured | StepTaken | Stored | Exported | Finished | Scored | Stopped | CrossChecked
    | Warned
)  # fmt: skip
"""Every event of a journal."""

Listener = Callable[[Event | Progress], None]
"""Called with every event as it is written, and with passing news that the journal omits."""

KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True, slots=True)
class Record:
    """An event and when it happened, in seconds since 1970."""

    time: float
    event: Event


@cache
def _converter() -> Any:
    import cattrs

    return cattrs.Converter(forbid_extra_keys=True)


def to_json(record: Record) -> dict[str, Any]:
    """A record as plain JSON values."""
    name = type(record.event).__name__
    return {"event": name, "time": record.time, **asdict(record.event)}


def from_json(data: Mapping[str, Any]) -> Record:
    """Read what :func:`to_json` wrote.

    Raises:
        ValueError: it is no record of a run.
    """
    try:
        values = dict(data)
        kind, time = KINDS[values.pop("event")], float(values.pop("time"))
        return Record(time, _converter().structure(values, kind))
    except Exception as error:  # whatever the values lack or have too many of
        raise ValueError(f"no record of a run: {type(error).__name__}") from error

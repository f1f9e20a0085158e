"""The main job: adapt a model to budgets measured on devices.

    load or train -> trace -> measure -> search -> long fine-tune -> export -> measure the result

:mod:`netadapt.search.loop` holds the loop; this module opens what it works on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from netadapt import data, export, training
from netadapt.assembly import Assembly, Source, assemble
from netadapt.carbon.crosscheck import check_codecarbon, cross_checked
from netadapt.config import RunConfig, checked
from netadapt.errors import BudgetUnreachable, UsageError
from netadapt.export.analog import score_on
from netadapt.export_run import write_missing
from netadapt.inherit import Ancestor, inherit
from netadapt.models import restore, save_weights
from netadapt.network import Network, cost_of
from netadapt.platforms import Platform, open_platform
from netadapt.platforms.accelerators.platform import ModelledPlatform
from netadapt.plugins import lookup
from netadapt.provenance import machine, versions
from netadapt.pruning.importance import IMPORTANCES
from netadapt.pruning.moments import unwatched
from netadapt.runs import Listener, Phase, Record, Run, Step, StepCost, last, silent
from netadapt.runs.events import (
    BoundSet,
    Finished,
    Group,
    Inherited,
    Scored,
    Started,
    Stopped,
    Traced,
    Trained,
    Warned,
)
from netadapt.runs.stopwatch import stopwatch_of
from netadapt.search.budgets import Bound, Meter, bounds, meters
from netadapt.search.fleet import Device, Fleet, check_sources, scored_as
from netadapt.search.loop import Space, check_reachable, search
from netadapt.search.selection import SELECTIONS
from netadapt.search.strategies import COMPARING, STRATEGIES
from netadapt.space import (
    asked_of,
    check_finalists,
    job_of,
    multiple_of,
    settings_of,
    space_of,
    told_zeros,
)
from netadapt.tables.build import open_table
from netadapt.units import Budget
from netadapt.workbench import Workbench, rehearse, report_on
from netadapt.workers import Attempt, seated, staffed

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished run reports; costs are in base units, by the key of each bound.

    Attributes:
        folder: the run folder, with the adapted network in every format.
        bounds: what was allowed.
        finished: what was measured before and after; see :class:`netadapt.runs.events.Finished`.
        metric: what accuracy is; higher is better.
        metric_is_share: whether it lies in 0..1 and reads as a percentage.
    """

    folder: Path
    bounds: tuple[BoundSet, ...]
    finished: Finished
    metric: str
    metric_is_share: bool

    @property
    def met(self) -> bool:
        """Whether every budget is met, as measured."""
        return self.finished.met

    @classmethod
    def of(cls, folder: Path, records: Sequence[Record]) -> "Result | None":
        """The result that a journal tells; None if the run is not finished."""
        finished, traced = last(records, Finished), last(records, Traced)
        if finished is None or traced is None:
            return None
        allowed = {r.event.key: r.event for r in records if isinstance(r.event, BoundSet)}
        return cls(folder, tuple(allowed.values()), finished, traced.metric, traced.metric_is_share)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        values = asdict(self)
        return {"schema": 2, **values.pop("finished"), **values, "folder": str(self.folder)}


def adapt(
    config: RunConfig, folder: Path, *, fresh: bool = False, notify: Listener = silent,
    command: str = "", codecarbon: str | None = None,
) -> Result:  # fmt: skip
    """Run to the end, or continue where the same run was cut off.

    Args:
        config: all settings; those of an earlier run in the folder that decide the result must be
            equal.
        folder: the run folder.
        fresh: start over.
        notify: called with every event.
        command: the command line, for the record.
        codecarbon: a country, to have codecarbon tell the energy of the run too; see
            :mod:`netadapt.carbon.crosscheck`.

    Returns:
        What was measured before and after.

    Raises:
        BudgetUnreachable: nothing is left to remove; the run is kept.
        NetAdaptError: see :mod:`netadapt.errors`.
    """
    checked(config)
    if codecarbon is not None:
        check_codecarbon(codecarbon)
    config, subject, devices = opened(config)
    settings = settings_of(config, subject, devices, folder, fresh=fresh)
    rehearse(config, subject, folder, fresh=fresh)
    started = Started(
        format=FORMAT,
        settings=settings,
        execution=config.to_json()["execution"],
        versions=versions(),
        command=command,
        machine=machine(*training.placed(config.execution.trainer)),
    )  # fmt: skip
    with (
        seated(config.execution) as desks,
        Run(
            folder, started, fresh=fresh, listener=notify, unsaid={"config": config.unsaid()}
        ) as run,
    ):
        result = Result.of(folder, run.records)
        if result is None:
            with (
                _reported(run),
                cross_checked(run, codecarbon),
                staffed(desks, config.execution, run) as crew,
            ):
                _adapt(config, run, subject, devices, crew)
            result = Result.of(folder, run.records)
        else:
            write_missing(run)
    assert result is not None  # the last line was just written
    return result


@contextmanager
def _reported(run: Run) -> Iterator[None]:
    """Write the page on a run that ends, whether it reaches its budgets or cannot."""
    try:
        yield
    except BudgetUnreachable as error:
        run.append(Stopped(str(error)))
        report_on(run)
        raise
    report_on(run)


def opened(config: RunConfig) -> tuple[RunConfig, Assembly, tuple[Device, ...]]:
    """What a run works on; what it could not work on is refused here, before anything is written.

    Returns:
        The settings, as suits the images; the model with its data; and the devices.

    Raises:
        NetAdaptError: a name or an option is unknown, a device does not answer, has no source of a
            budget's resource, or cannot compute a layer, or the table is of another device.
    """
    subject = open_subject(config)
    config = config.suited(subject.data.pixels)
    if config.importance is None:
        across = config.strategy in COMPARING
        told = across and training.has_gradients(subject.module, subject.data)
        config = replace(config, importance="taylor" if told else "l2")
    devices = open_devices(config, subject)
    asked = meters(config.budgets, list(config.devices))
    check_sources(asked, devices, subject.network.at({}))
    if config.table is not None:
        open_table(config.table, config.table, devices[0].info)
    return config, subject, devices


def open_subject(config: RunConfig) -> Assembly:
    """Load the data and build and trace the model, as a configuration has it.

    Raises:
        UsageError: a name is unknown, or data and model do not fit each other.
    """
    for what, name, registry in (
        ("strategy", config.strategy, STRATEGIES),
        ("selection", config.selection, SELECTIONS),
        ("importance", config.importance, IMPORTANCES),
    ):
        if name is not None:
            lookup(what, name, registry)
    subject = assemble(
        Source(
            config.model,
            config.model_args,
            config.weights,
            config.input_size,
            data=config.data,
            seed=config.seed,
            limit=config.limit,
            data_workers=config.execution.data_workers,
        )
    )
    check_finalists(config, subject.network)
    return subject


def open_devices(config: RunConfig, subject: Assembly) -> tuple[Device, ...]:
    """Every device of a configuration, asked what it is, and told of the model what it asks.

    Raises:
        UsageError: a URI or an option is not what it should be, or zeros are to be measured in a
            model that is not trained yet.
        DeviceError: a device cannot be reached.
    """
    opened = {name: open_platform(uri) for name, uri in config.devices.items()}
    return tuple(
        Device(name, _told(platform, config, subject), platform.describe())
        for name, platform in opened.items()
    )


def _told(platform: Platform, config: RunConfig, subject: Assembly) -> Platform:
    """The platform, with the zeros of the model's layers if it asks for them."""
    if not isinstance(platform, ModelledPlatform):
        return platform
    if platform.needs_zeros and needs_training(config, subject.data):
        raise UsageError(
            f"{platform.uri} counts zeros in a trained network, and this one is yet to be "
            "trained; train it with 'netadapt train' and give its weights, or give a share of "
            "zeros for all layers, like zeros=0.5."
        )
    return told_zeros(platform, subject)


def _adapt(
    config: RunConfig, run: Run, subject: Assembly, devices: tuple[Device, ...],
    crew: Attempt | None,
) -> None:  # fmt: skip
    """Everything up to the last line of the journal."""
    network = asked_of(config, subject)
    multiple = multiple_of(config, devices)
    if run.last(Traced) is None:
        images = next(iter(subject.data.batches("holdout", batch_size=1)))[0]
        export.rehearse(subject.module, subject.spec, network, images)
        run.append(describe_network(network, subject.data, multiple, devices))
        if network.untrained:
            text = "The training mode was not followed, so that its own parts stay as they are"
            run.append(Warned(f"{text}: {network.untrained}"))
        for layer, reason in unwatched(subject.module, network).items() if config.repair else ():
            run.warn(f"{layer} is not repaired after a cut: it {reason}.")
        left_open = None in (config.tuning.recipe.distill, config.tuning.short.distill)
        if left_open and (reason := training.obstacle(subject.module, subject.data)):
            run.warn(f"Fine-tunes learn from labels alone, because {reason}.")
    asked = meters(config.budgets, [device.name for device in devices])
    watch = stopwatch_of(config.execution.trainer)
    fleet = Fleet(devices, tuple(asked), network, multiple, run, config.table, watch)
    job = job_of(config, subject, devices, run)
    workbench = Workbench(config, subject, fleet, run, job, crew=crew)
    if config.after is not None and run.last(Inherited) is None:
        _inherit(config, run, asked)
    first = run.steps[0] if run.steps else None
    if first is None:
        measured = fleet.original(workbench.original())
        originals = {key: m.value for key, m in measured.items()}
    else:
        originals = first.measured
    inherited = run.last(Inherited)
    begun = run.steps[inherited.iteration] if inherited else None
    space = space_of(config, subject, devices, originals, begun)
    workbench.bounds = space.bounds
    if first is None:
        for bound in space.bounds:
            run.append(_as_event(bound))
        spreads = {key: m.spread for key, m in measured.items()}
        _first_step(workbench, space, spreads)
    else:
        restore(subject.module, run.weights_path("original"))
    search(space, workbench, run)
    run.append(workbench.finished())


def _inherit(config: RunConfig, run: Run, asked: Mapping[Meter, Budget]) -> None:
    """Take over the steps of the run that this one goes on from."""
    assert config.after is not None
    ancestor = Ancestor.of(config.after)
    for bound in bounds(asked, ancestor.steps[0].measured):
        run.append(_as_event(bound))
    inherit(run, ancestor)


def _as_event(bound: Bound) -> BoundSet:
    meter: Meter = bound.meter
    return BoundSet(
        bound.key, meter.resource, bound.unit, meter.device, bound.limit, bound.original
    )


def _first_step(workbench: "Workbench", space: Space, spreads: Mapping[str, float]) -> None:
    """The unpruned network: priced, trained if it has no weights, and scored."""
    run, config, subject = workbench.run, workbench.config, workbench.subject
    costs = workbench.costs({})
    # Refuse what cannot be reached before hours go into training.
    check_reachable(space, costs)
    if run.last(Trained, what="original") is not None:
        restore(subject.module, run.weights_path("original"))
    else:
        if needs_training(config, subject.data):
            epochs = config.tuning.train_epochs
            phase = workbench.trained(
                subject.module, epochs, seed=config.seed, what="train", name="original"
            )
        else:
            epochs, phase = 0.0, Phase("training", 0.0)
            save_weights(subject.module, run.weights_path("original"))
        run.append(Trained("original", 0, epochs, phase))
    accuracy = _holdout(workbench)
    layers = subject.network.at({})
    run.commit(
        Step(
            iteration=0,
            name="",
            keep={},
            costs={
                bound.key: StepCost(
                    measured=bound.original,
                    predicted=cost_of(costs[bound.key], layers),
                    target=bound.original,
                    spread=spreads[bound.key],
                )
                for bound in space.bounds
            },
            accuracy=accuracy,
            weights="original",
        )
    )


def _holdout(workbench: Workbench) -> float:
    """The unpruned network's accuracy on holdout images, as the least exact device computes."""
    subject, trainer = workbench.subject, workbench.config.execution.trainer
    with workbench.fleet.watch.lap() as lap:
        score = score_on(
            scored_as(workbench.fleet.devices),
            subject.module,
            lambda model: training.accuracy(model, subject.data, "holdout", trainer=trainer),
        )
    images = len(subject.data.holdout) * len(score.scores)
    workbench.run.append(Scored("original", lap.phase("scoring", scored=images)))
    return score.mean


def needs_training(config: RunConfig, task: data.Task) -> bool:
    """Whether the model cannot do the task yet.

    Published weights are of ImageNet's 1000 classes; for any other number the classifier is fresh.
    """
    if config.weights is None:
        return True
    return not Path(config.weights).is_file() and task.num_classes != 1000


def describe_network(
    network: Network, task: data.Task, multiple: int, devices: Sequence[Device]
) -> Traced:
    """A traced network for the journal, with the zeros that a device was told of its layers."""
    told = (d.platform.sparsity for d in devices if isinstance(d.platform, ModelledPlatform))
    return Traced(
        groups=tuple(
            Group(g.id, g.size, g.channels_per_unit, g.fixed) for g in network.groups.values()
        ),
        fixed=tuple((f.layer, f.reason) for f in network.fixed),
        params=network.params({}),
        macs=network.macs({}),
        multiple=multiple,
        metric=task.metric_name,
        metric_is_share=task.metric_is_share,
        images={"train": len(task.train), "holdout": len(task.holdout), "test": len(task.test)},
        zeros=next((sparsity.shares for sparsity in told if sparsity and sparsity.shares), {}),
    )

"""What a run would do, before it does it: ``netadapt adapt --dry-run``.

The unpruned network is measured, and a training step is timed; nothing is trained, no table is
built, and nothing is written.
"""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from netadapt import training
from netadapt.adapt import needs_training, opened
from netadapt.assembly import Assembly
from netadapt.config import RunConfig
from netadapt.config.rungs import Rung, applicable
from netadapt.export.analog import analog_of
from netadapt.network import MACS, Cost, cost_of
from netadapt.platforms import LayerTimer, Platform, Workload, open_platform
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.turns import ENERGY_ROUNDS, ENERGY_WINDOW_S
from netadapt.provenance import machine, versions
from netadapt.runs import Run, Step, StepCost
from netadapt.runs.events import Started
from netadapt.search.budgets import load, meters
from netadapt.search.fleet import DECIDING, WHOLE, Device, Fleet, modelled, scored_as
from netadapt.search.loop import Space, aims, check_reachable
from netadapt.search.pricing import Loads
from netadapt.search.proposing import proposed
from netadapt.search.strategies import Proposal, Situation
from netadapt.search.strategies.situation import alike
from netadapt.space import job_of, settings_of, space_of
from netadapt.tables.build import LAYERS, open_table
from netadapt.tables.energy import EnergyCost, energy_sizes, unmeasured
from netadapt.tables.plan import TableRequest, measuring_s, plan
from netadapt.workbench import Workbench

_Key = tuple[object, ...]

_MOST_ITERATIONS = 10_000
_BYTES_PER_PARAMETER = 4
_RESULT_FORMATS = 4  # of about the size of the network: .onnx, .pt2, .pt and the weights of the run
_START_S = 1.0  # of a process that measures networks
_BYTES_PER_TRIAL = 2000  # a line of the journal


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What is to be measured of layers on one device.

    Attributes:
        device: its name.
        rows: how many layers.
        seconds: about how long all of it takes.
        networks: how many whole networks, in windows of energy.
    """

    device: str
    rows: int
    seconds: float
    networks: int = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do.

    Attributes:
        bounds: each budget in base units, with what the unpruned network measures.
        tables: what is to be measured first.
        stand_in: keys of the bounds that MACs stood in for, as their table is not measured yet.
        proposals: of the first iteration: name, new sizes, and the load they are predicted at.
        iterations: how many the schedule needs, if each reaches its targets.
        trials: tried in each iteration, over all rungs.
        phases: about how many seconds each phase takes.
        disk_bytes: about how much the run folder will hold.
    """

    bounds: tuple[dict[str, Any], ...]
    tables: tuple[TablePlan, ...]
    stand_in: tuple[str, ...]
    proposals: tuple[dict[str, Any], ...]
    iterations: int
    trials: int
    phases: Mapping[str, float]
    disk_bytes: int

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values, and the seconds of all phases together."""
        return {"schema": 1, **asdict(self), "seconds": sum(self.phases.values())}


def plan_run(config: RunConfig) -> Preview:
    """Look ahead at a run.

    Raises:
        BudgetUnreachable: even the smallest network is predicted above a budget.
        NetAdaptError: see :mod:`netadapt.errors`; whatever would stop the run at its start.
    """
    config, subject, devices = opened(config)
    with TemporaryDirectory() as folder:
        settings = settings_of(config, subject, devices, Path(folder) / "run", fresh=True)
        started = Started(2, settings, {}, versions(), machine=machine())
        with Run(Path(folder) / "run", started) as run:
            asked = meters(config.budgets, [device.name for device in devices])
            fleet = Fleet(devices, tuple(asked), subject.network, multiple=1, run=run)
            bench = Workbench(config, subject, fleet, run, job_of(config, subject, devices, run))
            measured = fleet.original(bench.original())
            originals = {key: m.value for key, m in measured.items()}
            space = space_of(config, subject, devices, originals)
            tables = tuple(_table_plan(config, subject, d, space.multiple) for d in devices)
            costs, stand_in = _costs(config, devices, fleet, space)
    check_reachable(space, costs)
    first = _first_step(space, costs, {key: m.spread for key, m in measured.items()})
    aim = aims(first, space, costs)
    loads = Loads(space.network, {}, costs, aim)
    asked_for, proposals = _asked(space, loads)
    iterations = _iterations(first, space, costs)
    rungs = applicable(space.rungs, len(proposals))
    thinned = next(iter(rungs.values())).keep < len(proposals)
    screened = asked_for | ({_key(p) for p in proposals} if thinned else set())
    analog = analog_of(scored_as(devices))
    phases = _phases(
        config, subject, iterations, len(screened), rungs, chips=analog[1] if analog else 1
    )
    phases["tables"] = sum(table.seconds for table in tables)
    trials = len(screened) + sum(rung.keep for rung in rungs.values())
    return Preview(
        bounds=tuple(
            {"key": b.key, "unit": b.unit, "limit": b.limit, "original": b.original}
            for b in space.bounds
        ),
        tables=tables,
        stand_in=stand_in,
        proposals=tuple(
            {"name": p.name, "changes": dict(p.changes), "load": p.load} for p in proposals
        ),
        iterations=iterations,
        trials=trials,
        phases=phases,
        disk_bytes=_disk_bytes(space, iterations, trials, _stored(rungs)),
    )


def _asked(space: Space, loads: Loads) -> tuple[set[_Key], list[Proposal]]:
    """What the strategy has screened before it proposes, and what it then proposes.

    Nothing is tried in a preview, so that all units and all of what is screened look alike to it.
    """
    screened: set[_Key] = set()

    def screen(proposals: Sequence[Proposal]) -> list[float]:
        screened.update(map(_key, proposals))
        return [0.0] * len(proposals)

    situation = Situation(
        space.network, loads, space.multiple, alike(space.network), screen, space.seed
    )
    proposals = proposed(space.strategy, situation)
    return screened, proposals


def _key(proposal: Proposal) -> _Key:
    return (proposal.name, *sorted(proposal.changes.items()))


def _disk_bytes(space: Space, iterations: int, trials: int, meanwhile: int) -> int:
    """Of the unpruned weights, those of each iteration, the result or candidates, and the journal.

    Weights shrink with the square of the widths, as counts do; time falls about as widths do. The
    weights of an iteration are taken to lie halfway, on average.
    """
    shares = [(b.limit / b.original) ** (2 if b.measured else 1) for b in space.bounds]
    left = min(1.0, *shares)
    networks = 1 + iterations * (1 + left) / 2 + max(_RESULT_FORMATS, meanwhile) * left
    weights_bytes = _BYTES_PER_PARAMETER * space.network.params({}) * networks
    return round(weights_bytes + iterations * trials * _BYTES_PER_TRIAL)


def _table_plan(config: RunConfig, subject: Assembly, device: Device, multiple: int) -> TablePlan:
    """The rows that a device's table lacks."""
    if not isinstance(device.platform, LayerTimer):
        return TablePlan(device.name, 0, 0.0)
    table = open_table(config.table, Path("no-table-of-its-own.csv"), device.info)
    asked = meters(config.budgets, list(config.devices))
    by_power = any(
        (m.resource, m.device) == ("energy", device.name)
        and modelled(device.platform, "energy") is None
        for m in asked
    )
    chosen = energy_sizes(subject.network, multiple) if by_power else {}
    request = TableRequest(subject.network, {}, multiple, others=tuple(chosen.values()))
    shapes = plan(request, device.info, table.entries)
    works = {name: Workload(name, b"", subject.network.at(s)) for name, s in chosen.items()}
    networks = len(unmeasured(table, works))
    seconds = measuring_s(shapes, LAYERS) + networks * networks_s(device.platform, 1)
    return TablePlan(device.name, len(shapes), seconds, networks)


def networks_s(platform: Platform, networks: int) -> float:
    """Seconds of the windows in which a device's sensor is read; 0 where it has none."""
    if not isinstance(platform, OrtPlatform) or not platform.options.energy:
        return 0.0
    return ENERGY_ROUNDS * (networks + 1) * (ENERGY_WINDOW_S + 1.0)


def _costs(
    config: RunConfig, devices: tuple[Device, ...], fleet: Fleet, space: Space
) -> tuple[dict[str, Cost], tuple[str, ...]]:
    """What prices the network by each key, with MACs for tables that are not there yet."""
    costs: dict[str, Cost] = {}
    stand_in = []
    for meter in fleet.meters:
        known = fleet.formula(meter)
        if known is None and config.table is not None and meter.device == devices[0].name:
            table = open_table(config.table, config.table, devices[0].info)
            ready = not table.lacking(space.network.at({}))
            if ready and meter.resource != "energy":
                known = table
            elif ready and table.energies:
                known = EnergyCost.of(table)
        if known is None:
            stand_in.append(meter.key)
        costs[meter.key] = known or MACS
    return costs, tuple(stand_in)


def _first_step(space: Space, costs: Mapping[str, Cost], spreads: Mapping[str, float]) -> Step:
    layers = space.network.at({})
    return Step(
        0, "", {},
        {
            b.key: StepCost(b.original, cost_of(costs[b.key], layers), b.original, spreads[b.key])
            for b in space.bounds
        },
        accuracy=0.0,
    )  # fmt: skip


def _iterations(first: Step, space: Space, costs: Mapping[str, Cost]) -> int:
    """How many iterations the schedule needs if each reaches its targets, and no more."""
    step, iterations = first, 0
    while load(step.measured, space.bounds) > 1 and iterations < _MOST_ITERATIONS:
        iterations += 1
        reached = {
            key: replace(step.costs[key], measured=aim.target, target=aim.target)
            for key, aim in aims(step, space, costs).items()
        }
        step = Step(iterations, "", {}, reached, accuracy=0.0)
    return iterations


def _phases(
    config: RunConfig,
    subject: Assembly,
    iterations: int,
    screened: int,
    rungs: Mapping[int, Rung],
    *,
    chips: int,
) -> dict[str, float]:
    """Seconds of each phase, from a timed training step and a timed forward pass.

    Every candidate is taken to be scored on all images, though a race may need fewer; on analog
    hardware those of the last rung are scored on each of the chips.
    """
    task, tuning = subject.data, config.tuning
    step_s, image_s = _timed(config, subject)
    images = len(task.train)
    epoch = max(1, images // tuning.recipe.batch_size)
    short_s, long_s = (
        step_s + image_s * recipe.batch_size * training.distils(recipe, subject.module, task)
        for recipe in (tuning.short, tuning.recipe)
    )
    holdout_s = image_s * len(task.holdout)
    screen_s = image_s * tuning.screen_batches * 128 + holdout_s
    scored = _scored(rungs, chips)
    tune_s = short_s * _steps(rungs, tuning.steps_for(images)) + scored * holdout_s
    training_s = tuning.train_epochs * epoch * step_s if needs_training(config, task) else 0.0
    return {
        "training": training_s + tuning.long_epochs * epoch * long_s,
        "screening": iterations * screened * screen_s,
        "tuning": iterations * tune_s,
        "measuring": sum(
            _weighing_s(open_platform(uri), iterations) for uri in config.devices.values()
        ),
    }


def _weighing_s(platform: Platform, iterations: int) -> float:
    """Seconds of measuring whole networks on a device, and once so that a search may end by it."""
    windows_s = networks_s(platform, 2)
    each_s = _START_S + 4 * WHOLE.min_seconds + windows_s
    deciding_s = DECIDING.invocations * _START_S + DECIDING.spread_s + windows_s
    return (iterations + 2) * each_s + deciding_s


def _steps(rungs: Mapping[int, Rung], total: int) -> int:
    """Optimizer steps of all candidates of an iteration."""
    ends = [0, *(rung.steps(total) for rung in rungs.values())]
    keeps = [rung.keep for rung in rungs.values()]
    return sum(k * (e - b) for k, b, e in zip(keeps, ends[:-1], ends[1:], strict=True))


def _scored(rungs: Mapping[int, Rung], chips: int) -> int:
    """How often candidates of an iteration are scored: after each rung, after the last by chip."""
    *earlier, last = (rung.keep for rung in rungs.values())
    return sum(earlier) + last * chips


def _stored(rungs: Mapping[int, Rung]) -> int:
    """Files of the size of a network that the candidates of an iteration leave meanwhile.

    Where there are several rungs, a candidate's place holds its weights and their momenta.
    """
    several = len(rungs) > 1
    return max(rung.keep for rung in rungs.values()) * (3 if several else 1)


def _timed(config: RunConfig, subject: Assembly) -> tuple[float, float]:
    """Seconds of a training step, and of an image that only goes forward."""
    model, task = copy.deepcopy(subject.module), subject.data
    trainer, recipe = config.execution.trainer, config.tuning.recipe
    training.fine_tune(model, task, training.Course(recipe, steps=1, trainer=trainer))  # warms up
    steps = 3
    result = training.fine_tune(model, task, training.Course(recipe, steps, trainer=trainer))
    started_s = time.perf_counter()
    images = training.recalibrate_bn(model, task, batches=2, trainer=trainer)
    forward_s = time.perf_counter() - started_s
    # A model without batch normalization is not run at all: a forward pass is a third of a step.
    image_s = forward_s / images if images else result.seconds / result.images_seen / 3
    return result.seconds / steps, image_s

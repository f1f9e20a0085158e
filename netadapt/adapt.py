"""The main job: adapt a model to a budget measured on a device.

    load or train -> trace -> table -> search -> long fine-tune -> export -> measure the result

:mod:`netadapt.search` holds the loop; this module gives it real networks to work on.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from netadapt import data, export, training
from netadapt.config import RunConfig
from netadapt.errors import UsageError, named
from netadapt.export.deployment import calibration_images, deployable
from netadapt.files import write_atomically
from netadapt.models import ModelSpec
from netadapt.network import Network, cost_of
from netadapt.platforms import LayerTimer, Workload, open_layer_timer
from netadapt.platforms.measurement import DeviceInfo
from netadapt.pruning.importance import IMPORTANCES
from netadapt.pruning.surgery import shrink
from netadapt.runs import Run, Step, read_journal, restore, steps_of
from netadapt.search import loop as search
from netadapt.search.strategies import STRATEGIES
from netadapt.tables.build import open_table
from netadapt.tracing import trace
from netadapt.workshop import WHOLE, Notify, Shop, derived_seed, silent, training_progress

INT8_NAME = "adapted.int8.onnx"
"""The result in 8 bits, where that is what was measured."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished run reports.

    Attributes:
        folder: the run folder, with the adapted network in every format.
        met: whether the measured cost is within the budget.
        before, after: ``cost`` (in ``unit``), ``spread``, ``accuracy`` (on test images, in [0, 1]),
            ``macs``, ``params`` and ``onnx_bytes`` of the unpruned and the adapted network.
        unit: ``s`` or ``J``.
        limit: the budget in that unit.
        widths: ``{group: (before, after)}`` in output channels, of the groups that shrank.
        predicted: cost of the adapted network by the table, calibrated on the unpruned one.
        device: what it was measured on.
        precision: ``float32`` or ``int8``: of what was measured and scored.
        metric: what ``accuracy`` is; higher is better.
        metric_is_share: whether it lies in 0..1 and reads as a percentage.
    """

    folder: Path
    met: bool
    before: Mapping[str, float]
    after: Mapping[str, float]
    unit: str
    limit: float
    widths: Mapping[str, tuple[int, int]]
    predicted: float
    device: str
    precision: str
    metric: str
    metric_is_share: bool

    @classmethod
    def from_event(cls, folder: Path, event: Mapping[str, Any]) -> "Result":
        """Read a ``result`` event."""
        widths = {group: (pair[0], pair[1]) for group, pair in event["widths"].items()}
        return cls(
            folder=folder,
            met=event["met"],
            before=event["before"],
            after=event["after"],
            unit=event["unit"],
            limit=event["limit"],
            widths=widths,
            predicted=event["predicted"],
            device=event["device"],
            precision=event["precision"],
            metric=event["metric"],
            metric_is_share=event["metric_is_share"],
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return {"schema": 1, **asdict(self), "folder": str(self.folder)}


def adapt(
    config: RunConfig, folder: Path, *, fresh: bool = False, notify: Notify = silent
) -> Result:
    """Run to the end, or continue where the same run was cut off.

    Args:
        config: all settings; those of an earlier run in the folder must be equal.
        folder: the run folder.
        fresh: start over.
        notify: called with every event.

    Returns:
        What was measured before and after.

    Raises:
        BudgetUnreachable: nothing is left to remove; the run is kept.
        NetAdaptError: see :mod:`netadapt.errors`.
    """
    named("strategy", config.strategy, STRATEGIES)
    named("selection", config.selection, search.SELECTIONS)
    named("importance", config.importance, IMPORTANCES)
    task = data.load(config.data, input_size=config.input_size, seed=config.seed)
    spec = ModelSpec(config.model, task.num_classes, task.input_shape, dict(config.model_args))
    model = spec.build(config.weights, seed=config.seed)
    platform = open_layer_timer(next(iter(config.devices.values())))
    info = platform.describe()
    settings = {
        "config": config.result_json(), "model": spec.to_json(), "data": task.describe(),
        "device": info.to_json(),
    }  # fmt: skip
    with Run(folder, settings, fresh=fresh, listener=notify) as run:
        finished = run.found("result")
        if finished is not None:
            return Result.from_event(folder, finished)
        return _adapt(config, run, task, spec, model, platform, info, notify)


def _adapt(
    config: RunConfig,
    run: Run,
    task: data.Task,
    spec: ModelSpec,
    model: nn.Module,
    platform: LayerTimer,
    info: DeviceInfo,
    notify: Notify,
) -> Result:
    network = trace(model, task.input_shape)
    multiple = config.multiple or info.multiple
    run.append("network", **describe_network(network, multiple), share=task.metric_is_share)
    shop = Shop(
        original=model,
        network=network,
        task=task,
        platform=platform,
        table=open_table(config.table, run.folder / "table.csv", info),
        multiple=multiple,
        config=config,
        run=run,
        notify=notify,
    )
    first = _first_step(shop)
    plan = shop.plan(first.measured)
    while True:
        step = search.search(network, plan=plan, workshop=shop, run=run, first=first)
        finished = _finish(shop, spec, plan, first, step)
        if finished["met"]:
            run.append("result", **finished)
            return Result.from_event(run.folder, finished)
        # The exported network measured above the budget after all: go on from what it measured.
        run.commit(replace(step, measured=finished["after"]["cost"]))


def _first_step(shop: Shop) -> Step:
    """The unpruned network: measured, priced, trained if it has no weights, and scored."""
    run, config, network = shop.run, shop.config, shop.network
    steps = run.steps()
    if steps:
        run.restore(shop.original, "original")
        return steps[0]
    cost = shop.cost({})
    measurement = shop.platform.measure_networks(
        [Workload("the unpruned network", shop.unpruned, network.at({}))], WHOLE
    )[0]["latency"]
    # Refuse what cannot be reached before hours go into training.
    search.check_reachable(network, cost, shop.plan(measurement.p10), measurement.p10)
    if run.found("trained"):
        run.restore(shop.original, "original")
    else:
        if needs_training(config, shop.task):
            run.append("training", epochs=config.tuning.train_epochs)
            training.fine_tune(
                shop.original,
                shop.task,
                recipe=config.tuning.recipe,
                epochs=config.tuning.train_epochs,
                seed=config.seed,
                trainer=config.execution.trainer,
                progress=training_progress(shop.notify, "train"),
            )
        run.save_weights("original", shop.original)
        run.append("trained")
    return run.commit(
        Step(
            iteration=0,
            name="",
            keep={},
            target=measurement.p10,
            predicted=cost_of(cost, network.at({})),
            measured=measurement.p10,
            accuracy=shop.accuracy(shop.original, "holdout"),
            weights="original",
            spread=measurement.spread,
        )
    )


def _finish(
    shop: Shop, spec: ModelSpec, plan: search.Plan, first: Step, step: Step
) -> dict[str, Any]:
    """Fine-tune at length, export, measure the exported file, test on images no choice ever saw."""
    run, config = shop.run, shop.config
    model = shrink(shop.original, shop.network, step.keep)
    if run.found("finetuned", iteration=step.iteration):
        run.restore(model, "adapted")
    else:
        run.restore(model, step.weights)
        run.append("finetuning", epochs=config.tuning.long_epochs, iteration=step.iteration)
        training.fine_tune(
            model,
            shop.task,
            recipe=config.tuning.recipe,
            epochs=config.tuning.long_epochs,
            seed=derived_seed(config.seed, "long"),
            trainer=config.execution.trainer,
            progress=training_progress(shop.notify, "long fine-tune"),
        )
        run.save_weights("adapted", model)
        run.append("finetuned", iteration=step.iteration)
    images = next(iter(shop.task.batches("holdout", batch_size=4)))[0]
    written = export.write_result(
        run.folder, model, spec=spec, network=shop.network, sizes=step.sizes, images=images
    )
    info = shop.table.info
    plain = info.precision == "float32" and info.batch == 1
    deployed = (run.folder / "adapted.onnx").read_bytes() if plain else shop.deployable(model)
    onnx = deployed if info.batch == 1 else shop.single(model)
    if info.precision == "int8":
        write_atomically(run.folder / INT8_NAME, onnx)
    measurement = shop.measure_beside(deployed, step.sizes)
    unpruned = shop.single(shop.original)  # with its trained weights
    return {
        "met": measurement.p10 <= plan.limit,
        "limit": plan.limit,
        "unit": shop.table.unit,
        "before": shop.figures(shop.original, {}, unpruned, first.measured, first.spread),
        "after": shop.figures(model, step.sizes, onnx, measurement.p10, measurement.spread),
        "predicted": step.predicted * first.bias,
        "widths": shop.widths(step),
        "device": f"{info.device} ({info.platform}, {info.threads} thread(s), {info.precision}, "
        f"{info.runtime})",
        "precision": info.precision,
        "metric": shop.task.metric_name,
        "metric_is_share": shop.task.metric_is_share,
        "onnx_difference": written["onnx_difference"],
        "loader": written["loader"],
        "iterations": step.iteration,
    }  # fmt: skip


def needs_training(config: RunConfig, task: data.Task) -> bool:
    """Whether the model cannot do the task yet.

    Published weights are of ImageNet's 1000 classes; for any other number the classifier is fresh.
    """
    if config.weights is None:
        return True
    return not Path(config.weights).is_file() and task.num_classes != 1000


def describe_network(network: Network, multiple: int) -> dict[str, Any]:
    """A traced network in figures, for the journal."""
    able = [group for group in network.groups.values() if group.choices(multiple)]
    return {
        "groups": len(able),
        "fixed": len(network.groups) - len(able),
        "params": network.params({}),
        "macs": network.macs({}),
        "multiple": multiple,
    }


def export_run(run: Path, out: Path, *, step: int | None = None) -> dict[str, Any]:
    """Write the network of a run, finished or not, in every format.

    Args:
        run: the run folder; only read.
        out: where to write.
        step: which iteration; ``None`` takes the result, or the last step of an unfinished run.

    Raises:
        UsageError: the folder holds no run, or no such step.
    """
    events = read_journal(run)
    steps = steps_of(events)
    if not steps:
        raise UsageError(f"{run} holds no finished step to export; continue its run first.")
    if step is not None and step > steps[-1].iteration:
        raise UsageError(f"{run} has steps 0 to {steps[-1].iteration}; there is no step {step}.")
    chosen = steps[-1] if step is None else steps[step]
    finished = step is None and any(
        e["event"] == "finetuned" and e["iteration"] == chosen.iteration for e in events
    )
    settings = events[0]["settings"]
    config, spec = settings["config"], ModelSpec.from_json(settings["model"])
    task = data.load(config["data"], input_size=config["input_size"], seed=config["seed"])
    original = spec.build()
    network = trace(original, spec.input_shape)
    model = shrink(original, network, chosen.keep)
    restore(model, run, "adapted" if finished else chosen.weights)
    images = next(iter(task.batches("holdout", batch_size=4)))[0]
    written = export.write_result(
        out, model, spec=spec, network=network, sizes=chosen.sizes, images=images
    )
    info = replace(DeviceInfo.from_json(settings["device"]), batch=1)
    if info.precision == "int8":
        onnx = deployable(model, spec.input_shape, info, calibration_images(task))
        write_atomically(out / INT8_NAME, onnx)
        written["files"][INT8_NAME] = len(onnx)
    return written

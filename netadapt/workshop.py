"""What the search asks for, done with real models on a real device."""

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from netadapt import data, training
from netadapt.config import RunConfig
from netadapt.data.task import SplitName
from netadapt.errors import UsageError
from netadapt.export.deployment import OnnxModel, calibration_images, deployable
from netadapt.network import Cost, Network, Sizes
from netadapt.platforms import Effort, LayerTimer, Workload
from netadapt.platforms.measurement import Measurement
from netadapt.pruning.importance import IMPORTANCES, top
from netadapt.pruning.surgery import shrink
from netadapt.runs import Run, Step
from netadapt.search import loop as search
from netadapt.search.strategies import STRATEGIES, Proposal
from netadapt.tables.build import complete_table
from netadapt.tables.plan import TableRequest
from netadapt.tables.table import LookupTable
from netadapt.units import RESOURCES, format_quantity

Notify = Callable[[dict[str, Any]], None]
"""Called with every event of the journal, and with passing ones (``progress``) that it omits."""


def silent(event: dict[str, Any]) -> None:
    """The listener that ignores everything."""


WHOLE = Effort(passes=6, min_seconds=0.2)
"""How long whole networks are measured: short ones need many runs for a steady 10th percentile."""


@dataclass
class Shop:
    """The workshop of the search: real models, a real device.

    Attributes:
        original: the unpruned model with its trained weights.
        network: what was traced from it.
        task: images, loss and metric.
        platform: the device to measure on.
        table: what prices the network; grows as the search asks.
        multiple: widths are multiples of it.
        config: all settings.
        run: the run folder.
        notify: called with events that are not worth the journal.
    """

    original: nn.Module
    network: Network
    task: data.Task
    platform: LayerTimer
    table: LookupTable
    multiple: int
    config: RunConfig
    run: Run
    notify: Notify
    _base: tuple[str, nn.Module] | None = field(default=None, init=False)

    @cached_property
    def unpruned(self) -> bytes:
        """The unpruned model as the device runs it; measured beside each candidate to see drift."""
        return self.deployable(self.original)

    @cached_property
    def _images(self) -> Any:
        return calibration_images(self.task) if self.table.info.precision == "int8" else None

    def deployable(self, model: nn.Module) -> bytes:
        """A model as the device runs it."""
        return deployable(model, self.network.input_shape, self.table.info, self._images)

    def cost(self, sizes: Sizes) -> Cost:
        """The table, with every layer measured that the next proposals may need."""
        started, known = time.monotonic(), len(self.table.entries)
        self.table = complete_table(
            self.table,
            self.platform,
            TableRequest(self.network, sizes, self.multiple),
            path=self.run.folder / "table.csv",
            progress=counted_progress(self.notify, "lookup table"),
        )
        measured = len(self.table.entries) - known
        if measured:
            self.run.append(
                "table",
                measured=measured,
                seconds=time.monotonic() - started,
                device=self.table.info.device,
            )
        return self.table

    def screen(self, step: Step, proposal: Proposal) -> float:
        """Holdout accuracy after re-estimating batch normalization, without any training."""
        model, _ = self._candidate(step, proposal)
        training.recalibrate_bn(
            model, self.task, batches=self.config.tuning.screen_batches, seed=self.config.seed,
            device=self.config.device,
        )  # fmt: skip
        return self.accuracy(model, "holdout")

    def tune(self, step: Step, proposal: Proposal, name: str) -> tuple[float, Step]:
        """Short-term fine-tune of a proposal, from the weights of the step before."""
        model, keep = self._candidate(step, proposal)
        tuning = self.config.tuning
        training.fine_tune(
            model,
            self.task,
            recipe=tuning.short,
            steps=tuning.steps_for(len(self.task.train)),
            seed=derived_seed(self.config.seed, step.iteration + 1, proposal.name),
            device=self.config.device,
        )
        accuracy = self.accuracy(model, "holdout")
        self.run.save_weights(name, model)
        return accuracy, Step(
            iteration=step.iteration + 1,
            name=proposal.name,
            keep=keep,
            target=0.0,
            predicted=proposal.predicted,
            measured=0.0,
            accuracy=accuracy,
            weights=name,
            reaches=proposal.reaches,
        )

    def measure(self, step: Step) -> Measurement:
        """Measure a step's network beside the unpruned one, corrected for drift."""
        return self.measure_beside(self.deployable(self.model_at(step)), step.sizes)

    def measure_beside(self, onnx: bytes, sizes: Sizes) -> Measurement:
        """Measure a network, its runs interleaved with those of the unpruned one.

        Machines have slow and fast minutes. What the unpruned network takes now, over what it took
        at first, is the drift; the result is divided by it.
        """
        now, candidate = (
            reading["latency"]
            for reading in self.platform.measure_networks(
                [
                    Workload("the unpruned network", self.unpruned, self.network.at({})),
                    Workload("the candidate", onnx, self.network.at(sizes)),
                ],
                WHOLE,
            )
        )
        drift = now.p10 / self.run.steps()[0].measured
        self.run.append(
            "measured", drift=drift, measurement=candidate.summary(), unpruned=now.summary()
        )
        return candidate.scaled(1 / drift)

    def plan(self, original: float) -> search.Plan:
        """What decides the search, for the measured cost of the unpruned network."""
        config = self.config
        return search.Plan(
            limit=budget_limit(config, self.table.unit, original),
            strategy=STRATEGIES[config.strategy],
            schedule=config.schedule,
            selection=search.SELECTIONS[config.selection],
            multiple=self.multiple,
            finalists=config.finalists,
        )

    def single(self, model: nn.Module) -> bytes:
        """A model as the device runs it, but for one image."""
        info = replace(self.table.info, batch=1)
        return deployable(model, self.network.input_shape, info, self._images)

    def figures(
        self, model: nn.Module, sizes: Sizes, onnx: bytes, cost: float, spread: float
    ) -> dict[str, float]:
        """What is reported of a network before and after.

        Args:
            model: the network.
            sizes: of its groups.
            onnx: as it runs on the device, for one image.
            cost: measured, in the unit of the table.
            spread: interquartile range over the median of that measurement.
        """
        scored = OnnxModel(onnx) if self.table.info.precision == "int8" else model
        return {
            "cost": cost,
            "spread": spread,
            "accuracy": self.accuracy(scored, "test"),
            "macs": self.network.macs(sizes),
            "params": self.network.params(sizes),
            "onnx_bytes": len(onnx),
        }

    def widths(self, step: Step) -> dict[str, tuple[int, int]]:
        """Output channels before and after, of each group that shrank."""
        groups = self.network.groups
        return {
            group: (
                groups[group].size * groups[group].channels_per_unit,
                size * groups[group].channels_per_unit,
            )
            for group, size in step.sizes.items()
        }

    def discard(self, name: str) -> None:
        """Remove the weights of a candidate that lost."""
        self.run.drop_weights(name)

    def model_at(self, step: Step) -> nn.Module:
        """The model of a step, with its weights; the caller must not change it."""
        if self._base is None or self._base[0] != step.weights:
            model = shrink(self.original, self.network, step.keep)
            self.run.restore(model, step.weights)
            self._base = (step.weights, model)
        return self._base[1]

    def _candidate(self, step: Step, proposal: Proposal) -> tuple[nn.Module, dict[str, Any]]:
        """The proposal as a model, and the units of the unpruned network that it keeps."""
        base = self.model_at(step)
        network = self.network.narrow(step.keep)
        tensors = dict(base.named_parameters(remove_duplicate=False))
        score = IMPORTANCES[self.config.importance]
        chosen = {
            group: top(score(tensors, network.groups[group]), size)
            for group, size in proposal.changes.items()
        }
        keep = dict(step.keep)
        for group, units in chosen.items():
            present = keep.get(group, tuple(range(self.network.groups[group].size)))
            keep[group] = tuple(present[unit] for unit in units)
        return shrink(base, network, chosen), keep

    def accuracy(self, model: nn.Module, split: SplitName) -> float:
        """The task's metric over a split."""
        return training.accuracy(model, self.task, split, device=self.config.device)


def derived_seed(*parts: object) -> int:
    """A seed that depends on all parts, the same in every process."""
    return zlib.crc32(repr(parts).encode())


def training_progress(notify: Notify, what: str) -> training.Progress:
    """A training callback that reports as ``progress`` events."""

    def report(done: int, total: int, loss: float) -> None:
        notify({"event": "progress", "what": what, "done": done, "total": total, "loss": loss})

    return report


def counted_progress(notify: Notify, what: str) -> Callable[[int, int], None]:
    """A measuring callback that reports as ``progress`` events."""

    def report(done: int, total: int) -> None:
        notify({"event": "progress", "what": what, "done": done, "total": total})

    return report


def budget_limit(config: RunConfig, unit: str, original: float) -> float:
    """The budget in the unit of the cost.

    Raises:
        UsageError: the budget is of another resource than the device measures, or needs nothing.
    """
    if RESOURCES[config.budget.resource].unit != unit:
        raise UsageError(
            f"{config.platform} measures {'latency' if unit == 's' else 'energy'}, and the budget "
            f"{config.budget} is of another resource; give it like "
            f"{'12ms' if unit == 's' else '3mJ'} or 60%."
        )
    limit = config.budget.limit(original)
    if limit >= original:
        raise UsageError(
            f"The budget {config.budget} is not below the original's measured "
            f"{format_quantity(original, unit)}: there is nothing to do. Give a smaller one."
        )
    return limit

"""The workshop of the search, with real models on real devices."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from netadapt import export, training
from netadapt.assembly import Assembly
from netadapt.config import RunConfig
from netadapt.errors import RunError
from netadapt.export.analog import score_on
from netadapt.export.deployer import Deployer, Written
from netadapt.export.deployment import as_computed, calibration_images
from netadapt.export.widths import sizes_of
from netadapt.files import write_atomically
from netadapt.long_training import LongTraining
from netadapt.models import restore
from netadapt.network import Cost, Network, Sizes, keep_first
from netadapt.platforms import Effort
from netadapt.platforms.measurement import Measurement
from netadapt.pruning.surgery import shrink
from netadapt.report.page import write_report
from netadapt.runs import Job, Keep, Outcome, Run, Step, Trial, last, read_journal
from netadapt.runs.events import (
    Exported,
    Figures,
    Finished,
    LayerCost,
    Scored,
    Traced,
    Trained,
    Warned,
)
from netadapt.search.budgets import Bound, load
from netadapt.search.fleet import DECIDING, WHOLE, Deployment, Fleet, scored_as
from netadapt.search.strategies import Proposal, Scores
from netadapt.training.samples import Samples
from netadapt.workers import Attempt, Evaluator
from netadapt.workers.evaluate import derived_seed
from netadapt.workers.scoring import Scoring

_CANDIDATE = "candidate-"
"""How the names of all that candidates write begin."""

_PLACE = ".place"
"""How the file ends that says where a candidate's fine-tune goes on."""

INT8_NAME = "adapted.int8.onnx"
"""The result in 8 bits, where that is what was measured."""


def rehearse(config: RunConfig, subject: Assembly, folder: Path, *, fresh: bool) -> None:
    """Try the user's own parts on a batch before there is a run, or anything is measured."""
    if not fresh and last(read_journal(folder), Traced) is not None:
        return  # it was done when the run began
    tuning, trainer = config.tuning, config.execution.trainer
    training.rehearse(subject.module, subject.data, tuning.recipe, trainer=trainer)
    for recipe in (tuning.recipe, tuning.short):
        training.distils(recipe, subject.module, subject.data)
    assert config.importance is not None  # chosen when the model was opened
    images = Samples(subject.data, batches=1, seed=config.seed, trainer=trainer)
    Scoring(subject.module, subject.network, images).scores(config.importance)


def report_on(run: Run) -> None:
    """Write the page on the run; one that cannot be written is a warning, not the end of a run."""
    try:
        write_report(run.folder)
    except Exception as error:
        text = f"The report was not written ({type(error).__name__}: {error})."
        with suppress(RunError):
            run.append(Warned(text))


@dataclass
class Workbench:
    """Does the work that :class:`netadapt.search.loop.Workshop` asks for.

    Attributes:
        config: all settings.
        subject: the model with its task.
        fleet: the devices.
        run: the run folder.
        job: what all trials share.
        bounds: the budgets, once the unpruned network was measured.
        crew: tries candidates side by side; None to try them here, one after the other.
    """

    config: RunConfig
    subject: Assembly
    fleet: Fleet
    run: Run
    job: Job
    bounds: tuple[Bound, ...] = ()
    crew: Attempt | None = None
    _files: Written = field(init=False, repr=False)
    _final: dict[str, Measurement] = field(default_factory=dict, init=False, repr=False)
    _written: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Tries candidates in this process."""
        subject = self.subject
        return Evaluator(
            subject.data, subject.module, subject.network, self.fleet.watch, self.run.notify
        )

    @cached_property
    def images(self) -> Any:
        """Training images that give 8-bit activations their ranges."""
        return calibration_images(self.subject.data)

    def costs(self, sizes: Sizes) -> Mapping[str, Cost]:
        """See :meth:`Fleet.costs`."""
        return self.fleet.costs(sizes, self.at)

    def at(self, sizes: Sizes) -> Deployment:
        """The unpruned network at other sizes, with the weights that come first."""
        keep = keep_first(self.subject.network, sizes)
        written = self.deployer.first_of(keep) if sizes else self.deployer.original
        return self._deployment(written, sizes)

    def scores(self, step: Step) -> Scores:
        """See :meth:`Evaluator.scores`."""
        weights = str(self.run.weights_path(step.weights))
        return self.evaluator.scores(self.job, weights, step.keep)

    def attempt(
        self,
        step: Step,
        proposals: Mapping[int, Proposal],
        rung: int,
        part: tuple[int, int] | None = None,
    ) -> Iterator[Outcome]:
        """Screen the proposals, or fine-tune them up to the end of a rung."""
        trials = [
            Trial(
                job=self.job,
                iteration=step.iteration + 1,
                index=index,
                rung=rung,
                name=proposal.name,
                changes=dict(proposal.changes),
                keep=step.keep,
                weights=str(self.run.weights_path(step.weights)),
                part=part,
                **self._training(self.weights(step.iteration + 1, index), rung),
            )
            for index, proposal in proposals.items()
        ]
        return self.crew(trials) if self.crew else map(self.evaluator, trials)

    def _training(self, name: str, rung: int) -> dict[str, Any]:
        """Which steps of a fine-tune a rung takes, and which files it writes."""
        rungs = self.config.ladder
        if rung == 0:
            return {}
        until = rungs[rung - 1].steps(self.job.steps) if rungs else self.job.steps
        last, path = until == self.job.steps, self.run.weights_path
        return {
            "until": until,
            "place": str(path(f"{name}{_PLACE}")) if len(rungs) > 1 else "",
            "out": str(path(name)) if last else "",
        }

    def measure(
        self, step: Step, index: int, outcome: Outcome, *, doubted: bool = False
    ) -> Mapping[str, Measurement]:
        """Measure a candidate's network beside the unpruned one."""
        name = self.weights(step.iteration + 1, index)
        return self._measured(
            outcome.keep, name, step.iteration + 1, effort=DECIDING if doubted else WHOLE
        )

    def settle(self, step: Step) -> Mapping[str, Measurement]:
        """Measure a step's network beside the unpruned one, so that a search may end by it."""
        return self._measured(step.keep, step.weights, step.iteration, effort=DECIDING)

    def _measured(
        self, keep: Keep, weights: str, iteration: int, *, effort: Effort
    ) -> dict[str, Measurement]:
        model, sizes = self._loaded(keep, weights), sizes_of(keep)
        candidate = self._deployment(self.deployer.shrunk(model, sizes), sizes)
        return self._beside(candidate, iteration, effort)

    def weights(self, iteration: int, index: int) -> str:
        """Name of the weights of a candidate."""
        return f"{_CANDIDATE}{iteration:03d}-{index:03d}"

    def keep(self, step: Step) -> None:
        """Drop the weights and places of all candidates but those that steps took."""
        taken = {earlier.weights for earlier in self.run.steps}
        for path in self.run.weights_path(step.weights).parent.glob(f"{_CANDIDATE}*"):
            if path.stem not in taken:
                path.unlink(missing_ok=True)

    def finish(self, step: Step) -> Mapping[str, Measurement]:
        """Fine-tune at length, export, and measure what was exported.

        It has the widths of the step, which settled that it is within the budgets; this shows
        whether the weights change what it costs.
        """
        model = self._finetuned(step)
        with self.fleet.watch.lap() as lap:
            images = next(iter(self.subject.data.batches("holdout", batch_size=4)))[0]
            self._written = export.write_result(
                self.run.folder, model, spec=self.subject.spec, network=self.subject.network,
                sizes=step.sizes, images=images,
            )  # fmt: skip
            seen = self.subject.data.preprocessing
            self._written["files"] |= export.write_preprocessing(self.run.folder, seen)
        self.run.append(Exported(self._written["files"], lap.phase("exporting")))
        file = (self.run.folder / "adapted.onnx").read_bytes()
        self._files = self.deployer.result(model, step.sizes, file)
        for device in self.fleet.devices:
            if device.info.precision == "int8":
                write_atomically(self.run.folder / INT8_NAME, self._files.single(device.info))
        self._final = dict(self._beside(self._deployment(self._files, step.sizes), step.iteration))
        return self._final

    def finished(self) -> Finished:
        """What the run came to; after :meth:`finish`."""
        step, first = self.run.steps[-1], self.run.steps[0]
        model = self._loaded(step.keep, "adapted")
        network, final = self.subject.network, dict(self._final)
        settled = {k: c for k, c in step.costs.items() if c.uncertainty is not None}
        costs = {k: settled[k].measured if k in settled else m.value for k, m in final.items()}
        before = Figures(
            costs=first.measured,
            spreads={key: cost.spread for key, cost in first.costs.items()},
            **self._figures("original", self.subject.module, self.deployer.unpruned(), {}),
        )
        after = Figures(
            costs=costs,
            spreads={k: settled[k].spread if k in settled else m.spread for k, m in final.items()},
            uncertainties={k: c.uncertainty for k, c in settled.items() if c.uncertainty},
            **self._figures("adapted", model, self._files, step.sizes),
        )
        return Finished(
            met=load(costs, self.bounds) <= 1,
            before=before,
            after=after,
            predicted={k: c.predicted * first.costs[k].bias for k, c in step.costs.items()},
            widths=self._widths(step),
            layers=layer_costs(network, step.sizes, self.costs(step.sizes)),
            devices={device.name: str(device) for device in self.fleet.devices},
            precisions={device.name: device.info.precision for device in self.fleet.devices},
            onnx_difference=self._written["onnx_difference"],
            loader=self._written["loader"],
            iterations=step.iteration,
        )

    @property
    def trained(self) -> LongTraining:
        """Trains a network at length."""
        return LongTraining(self.config, self.subject, self.fleet, self.run)

    def original(self) -> Deployment:
        """The unpruned network as it goes to the devices."""
        return self._deployment(self.deployer.original, {})

    @cached_property
    def deployer(self) -> Deployer:
        """Writes the model at any widths."""
        return Deployer(
            self.subject.module,
            self.subject.network,
            lambda: self.images,
            self.run.warn,
        )

    def _deployment(self, written: Written, sizes: Sizes) -> Deployment:
        network = self.subject.network
        return Deployment(
            written.deploy, written.size_bytes, sizes, network.macs(sizes), network.params(sizes)
        )

    def _finetuned(self, step: Step) -> nn.Module:
        """The step's network after the long fine-tune, which is done once."""
        run, tuning = self.run, self.config.tuning
        if run.last(Trained, what="adapted", iteration=step.iteration) is not None:
            return self._loaded(step.keep, "adapted")
        model = self._loaded(step.keep, step.weights)
        phase = self.trained(
            model, tuning.long_epochs, seed=derived_seed(self.config.seed, "long"),
            what="long fine-tune", name="adapted",
        )  # fmt: skip
        run.append(Trained("adapted", step.iteration, tuning.long_epochs, phase))
        return model

    def _loaded(self, keep: Keep, weights: str) -> nn.Module:
        model = shrink(self.subject.module, self.subject.network, keep)
        restore(model, self.run.weights_path(weights))
        return model

    def _beside(
        self, candidate: Deployment, iteration: int, effort: Effort = WHOLE
    ) -> dict[str, Measurement]:
        first = {bound.key: bound.original for bound in self.bounds}
        return self.fleet.beside(
            self.original(), candidate, iteration=iteration, first=first, effort=effort
        )

    def _figures(
        self, what: str, model: nn.Module, written: Written, sizes: Sizes
    ) -> dict[str, Any]:
        """What is reported of a network, scored as the least exact device computes."""
        info, network = scored_as(self.fleet.devices), self.subject.network
        scored = as_computed(written.single(info), info) if info.precision == "int8" else model
        trainer = self.config.execution.trainer
        with self.fleet.watch.lap() as lap:
            score = score_on(
                info,
                scored,
                lambda m: training.accuracy(m, self.subject.data, "test", trainer=trainer),
            )
        images = len(self.subject.data.test) * len(score.scores)
        self.run.append(Scored(what, lap.phase("scoring", scored=images)))
        return {
            "accuracy": score.mean,
            "accuracy_spread": score.spread,
            "chips": len(score.scores),
            "macs": network.macs(sizes),
            "params": network.params(sizes),
            "onnx_bytes": written.size_bytes(info),
        }

    def _widths(self, step: Step) -> tuple[tuple[str, int, int], ...]:
        """Output channels before and after, of each group that shrank."""
        groups = self.subject.network.groups
        return tuple(
            (name, group.size * group.channels_per_unit, size * group.channels_per_unit)
            for name, size in step.sizes.items()
            for group in (groups[name],)
        )


def layer_costs(network: Network, sizes: Sizes, costs: Mapping[str, Cost]) -> tuple[LayerCost, ...]:
    """Every layer that runs, before and after, as what steers prices it."""
    before, after = network.at({}), network.at(sizes)
    return tuple(
        LayerCost(
            layer.name, layer.op, str(old), str(new),
            {key: cost.layer(old) for key, cost in costs.items()},
            {key: cost.layer(new) for key, cost in costs.items()},
        )
        for layer, old, new in zip(network.costed, before, after, strict=True)
    )  # fmt: skip

"""The settings of one run in one frozen value."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from netadapt.config.recipe import Recipe, Tuning
from netadapt.config.rungs import RUNGS, Rung, usual_rungs
from netadapt.config.workers import parse_workers
from netadapt.search.schedule import Schedule
from netadapt.units import Budget


@dataclass(frozen=True, slots=True)
class Execution:
    """How a run is executed; none of it decides the result, so all of it may change midway.

    Attributes:
        trainer: where to train: ``cpu``, ``cuda``, or one GPU of several such as ``cuda:1``.
        checkpoint_every_s: seconds of training between one writing of its place and the next; what
            a run loses at most if it is cut off.
        data_workers: processes that read images from disk, or the examples of a task of your own;
            ``None`` takes as many as suit their cost and the processor, and 0 is none.
        workers: who tries the candidates of an iteration, each one at a time: ``1`` for the run's
            own process, a number of processes, a process for each of some GPUs such as
            ``cuda:0,cuda:1``, ``ray`` for the Ray cluster that runs here, or the address of one,
            such as ``ray://head:10001``.
        trial_limit_s: seconds without news after which a worker is taken for one that hangs;
            ``None`` takes ten times as long as the longest such trial so far took.
    """

    trainer: str = "cpu"
    checkpoint_every_s: float = 600.0
    data_workers: int | None = None
    workers: str = "1"
    trial_limit_s: float | None = None

    def placed(self) -> "Execution":
        """The same; where GPUs try candidates, the first of them also trains at length."""
        gpus = parse_workers(self.workers).gpus
        return replace(self, trainer=gpus[0]) if gpus and self.trainer == "cpu" else self


def _default_devices() -> dict[str, str]:
    return {"ort:cpu": "ort:cpu"}


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Settings of one run; :func:`netadapt.config.check` tells what is wrong with them.

    Attributes:
        model: name of the model, see :func:`netadapt.models.build`.
        data: name of the data set, see :func:`netadapt.data.load`.
        budgets: what to reach, all of it; a budget without a device holds on every device that has
            none of its own for that resource.
        devices: where networks are measured: a name for each device, and its URI. The name is the
            URI itself where no other is given.
        model_args: further arguments of the model.
        weights: weight file of a trained model, or ``pretrained``; without it the model is trained
            first.
        input_size: height and width of the images in pixels; ``None`` takes the data set's.
        limit: images to use of those to learn from, and of those to test on: a share such as
            ``10%``, or the most of each; classes keep their proportions. ``None`` takes all.
        table: an existing lookup table of the first device to start from.
        strategy: what proposes networks, by name or as ``package.module:callable``.
        selection: which proposal is kept: ``accuracy``, ``loss``, or ``ratio`` or ``mobilenet_v3``,
            of accuracy lost to cost saved; by name or as ``package.module:callable``.
        screening: what decides who goes on to the next rung: ``loss``, of as many holdout images as
            it takes to tell candidates apart, or ``selection``, of all of them. Where the selection
            is neither accuracy nor loss, it decides at every rung.
        screening_error: chance per iteration that one of the best by their loss is taken for one
            that is no better than others because not all images were scored; 0 scores all.
        importance: which channels are kept, by name or as ``package.module:callable``. ``None``
            takes ``l2``; of strategy ``knapsack`` ``taylor``, where the loss has a gradient at
            inference.
        repair: whether, after a cut, the layers that read the channels which went take what they
            lack from those that stayed, by least squares on training images.
        schedule: reductions per iteration.
        multiple: widths become multiples of it; 0 takes the device's block.
        rungs: how the proposals of an iteration are thinned out, such as ``4:10%`` and ``2:100%``:
            the best 4 after screening do a tenth of the short fine-tune, the best 2 of them all.
            ``None`` takes those that suit the strategy.
        finalists: how many screened proposals are fine-tuned to the end, in place of rungs; 0 for
            all, unscreened, as the paper does. ``None`` takes the rungs.
        inexact: whether groups may shrink of which a channel takes part in what the others compute,
            as in a normalization over channels.
        tuning: how long each kind of training lasts.
        after: a finished run with the same settings and larger budgets; its search is gone on with.
        seed: decides splits, initial weights and the order of the images.
        execution: how to execute the run; does not decide its result.
    """

    model: str
    data: str
    budgets: tuple[Budget, ...]
    devices: Mapping[str, str] = field(default_factory=_default_devices)
    model_args: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    input_size: int | None = None
    limit: float | None = None
    table: Path | None = None
    strategy: str = "one_group"
    selection: str = "accuracy"
    screening: str = "loss"
    screening_error: float = 0.05
    importance: str | None = None
    repair: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    multiple: int = 0
    rungs: tuple[Rung, ...] | None = None
    finalists: int | None = None
    inexact: bool = True
    tuning: Tuning = field(default_factory=Tuning)
    after: Path | None = None
    seed: int = 0
    execution: Execution = field(default_factory=Execution)

    def to_json(self) -> dict[str, Any]:
        """All settings as plain JSON values."""
        values = asdict(self)
        values["budgets"] = list(values["budgets"])
        values["rungs"] = None if self.rungs is None else list(values["rungs"])
        values["table"] = str(self.table) if self.table else None
        values["after"] = str(self.after) if self.after else None
        return values

    def result_json(self) -> dict[str, Any]:
        """What decides the result, as plain JSON values; a run continues where this is equal."""
        values = self.to_json()
        # Beside finalists they decide nothing, and are told as every version has told them.
        told = self.chosen_rungs if self.finalists is None else RUNGS
        values["rungs"] = [asdict(rung) for rung in told]
        del values["execution"], values["after"]  # where a run lies decides nothing
        if self.limit is None:
            del values["limit"]  # runs that began before there was one go on
        return values

    @staticmethod
    def unsaid() -> dict[str, Any]:
        """What :meth:`result_json` of an earlier version means where it lacks a setting."""
        values = RunConfig("", "", ()).result_json()
        for named in ("model", "data", "budgets", "devices", "model_args"):
            del values[named]  # every version has said them
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunConfig":
        """What :meth:`to_json` wrote; of :meth:`result_json`, with the default execution."""
        tuning = values["tuning"]
        read = {
            "budgets": tuple(Budget(**budget) for budget in values["budgets"]),
            "table": Path(values["table"]) if values["table"] else None,
            "after": Path(values["after"]) if values.get("after") else None,
            "schedule": Schedule(**values["schedule"]),
            "rungs": None
            if values["rungs"] is None or values["finalists"] is not None
            else tuple(Rung(**rung) for rung in values["rungs"]),
            "tuning": Tuning(
                **{
                    **tuning,
                    "recipe": Recipe(**tuning["recipe"]),
                    "short": Recipe(**tuning["short"]),
                }
            ),
            "execution": Execution(**values.get("execution", {})),
        }
        return cls(**{**values, **read})

    def suited(self, pixels: int) -> "RunConfig":
        """The same settings, with what they left open set as suits images of so many pixels."""
        tuning, execution = self.tuning.suited(pixels), self.execution.placed()
        return replace(self, tuning=tuning, execution=execution)

    @property
    def chosen_rungs(self) -> tuple[Rung, ...]:
        """Those that were asked for, or that suit the strategy."""
        return usual_rungs(self.strategy) if self.rungs is None else self.rungs

    @property
    def ladder(self) -> tuple[Rung, ...]:
        """The rungs that hold; none where every proposal is fine-tuned to the end."""
        if self.finalists is None:
            return self.chosen_rungs
        return (Rung(self.finalists),) if self.finalists else ()

    @property
    def budget_name(self) -> str:
        """What tells the run from others of a family, in names of folders."""
        return _file_name("+".join(map(str, self.budgets)))

    @property
    def run_name(self) -> str:
        """Name of the run folder where none is given; it tells budgets, and devices if several."""
        parts = [self.model.replace(".", "-"), Path(self.data).name, self.budget_name]
        if len(self.devices) > 1:
            parts.append("+".join(self.devices))
        if self.limit is not None:
            parts.append(f"limit-{self.limit:g}")
        return "-".join(_file_name(part) for part in parts)


def _file_name(text: str) -> str:
    """The text with nothing in it that a file system or a shell minds."""
    plain = text.replace("%", "pct").replace("µ", "u")
    return re.sub(r"[^\w.+=-]+", "-", plain).strip("-")

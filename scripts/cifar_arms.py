"""The arms of cifar.py: ways of shrinking a network to the same latency, and what each comes to.

    exhaustive     NetAdapt as in the paper: one group an iteration, every proposal fine-tuned
    rungs          the default: screened by loss, 4 of them tried, 2 fine-tuned
    rungs_repair   the same with importance output_error, and repaired after each cut
    several        all groups at once, by what each alone loses; the leader after a tenth is tuned
    several_two    several, with the first two tuned to the end
    several_taylor several, with Taylor importance
    several_error  several, with importance output_error
    knapsack       all groups at once, by Taylor importance per latency, in four iterations
    knapsack_once  the same, all of it in the first iteration; knapsack_twice, in two of equal
                   size; knapsack_eight, in eight
    taught         knapsack, with the original as teacher in all fine-tunes, as by default
    magnitude      one threshold on the norms of all groups
    uniform        one factor for all widths
    random         random widths
    tp_global      Torch-Pruning's magnitude pruner, one threshold for all groups, brought to the
                   same measured latency
    tp_local       the same, one share of every group
    scratch        the widths that knapsack found, trained from new weights for all the epochs
    multiplier     the model with a smaller width multiplier, likewise; its latency is what it is

All but the last two, which need no weights, start from the same trained ones. Only one has a
teacher, so that it is the choice of widths and filters that the others compare. The sizes of the
iterations of knapsack_twice and knapsack_eight are for a budget of 50%.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netadapt import training
from netadapt.adapt import adapt
from netadapt.assembly import Assembly, Source, assemble
from netadapt.cli.console import Console
from netadapt.config import RUNGS, Recipe, RunConfig, Tuning
from netadapt.data import Task, load
from netadapt.export import to_onnx
from netadapt.models import restore, save_weights
from netadapt.network import keep_first
from netadapt.platforms import Effort, Workload, open_platform
from netadapt.platforms.measurement import Ratio
from netadapt.pruning.surgery import shrink
from netadapt.runs import Record, last, read_journal, steps_of
from netadapt.runs.events import Finished
from netadapt.runs.works import works
from netadapt.search.fleet import WHOLE
from netadapt.search.schedule import Schedule
from netadapt.tracing import duplicate, trace
from netadapt.train import train
from netadapt.units import parse_budget

MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "mobilenet_v1": ("mobilenet_v1", {"width": 0.5, "stem": "cifar"}),
    "mobilenet_v2": ("small_images:mobilenet_v2", {"width": 0.5}),
    "resnet18": ("small_images:resnet18", {"width": 0.25}),
}
"""What builds each, and its arguments."""
_KNAPSACK = {"strategy": "knapsack", "importance": "taylor"}
SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "exhaustive": {"finalists": 0},
    "rungs": {},
    "rungs_repair": {"importance": "output_error", "repair": True},
    "several": {"strategy": "several"},
    "several_two": {"strategy": "several", "rungs": RUNGS},
    "several_taylor": {"strategy": "several", "importance": "taylor"},
    "several_error": {"strategy": "several", "importance": "output_error"},
    "knapsack": _KNAPSACK,
    "knapsack_once": {**_KNAPSACK, "schedule": Schedule(1.0)},
    "knapsack_twice": {**_KNAPSACK, "schedule": Schedule(0.255, 1.0)},
    "knapsack_eight": {**_KNAPSACK, "schedule": Schedule(0.065, 1.0)},
    "taught": _KNAPSACK,
    "magnitude": {"strategy": "magnitude"},
    "uniform": {"strategy": "uniform"},
    "random": {"strategy": "random"},
}
PRUNERS = {"tp_global": True, "tp_local": False}
NEW = ("scratch", "multiplier")
WIDTHS = (0.375, 0.25, 0.125)
ARMS = (*SEARCHES, *PRUNERS, *NEW)
BATCH = 128
FOLDER = "CIFAR_FOLDER"
"""Variable of the environment that names the data set to :func:`divided_as_first`."""
TAUGHT = ("taught",)
ALONE = Recipe(distill=False)


@dataclass(frozen=True)
class Setting:
    """What all arms of one model and seed share."""

    model: str
    data: str
    seed: int
    epochs: float
    after: float
    steps: int
    work: Path
    widths: Sequence[float] = WIDTHS
    original_seed: int = 0

    @property
    def own(self) -> bool:
        """Whether the original is this seed's own."""
        return self.original_seed == self.seed

    @property
    def images(self) -> str:
        """The data set, divided as the original's was."""
        return self.data if self.own else "cifar_arms:divided_as_first"

    @property
    def folder(self) -> Path:
        """Where it keeps what it needs to go on."""
        return self.work / f"{self.model}-{self.seed}"

    @property
    def weights(self) -> Path:
        """Of the trained original."""
        return self.work / f"{self.model}-{self.original_seed}" / "original.safetensors"

    def config(self, budget: str, arm: str) -> RunConfig:
        """A run whose long fine-tune is a single step, since the script does that itself."""
        recipe = Recipe() if arm in TAUGHT else ALONE
        tuning = Tuning(
            short_steps=self.steps, train_epochs=self.epochs, long_epochs=1e-6, recipe=recipe,
            short=recipe,
        )  # fmt: skip
        name, args = MODELS[self.model]
        return RunConfig(
            name, self.images, (parse_budget(budget),), model_args=args,
            weights=str(self.weights), tuning=tuning, seed=self.seed, **SEARCHES[arm],
        )  # fmt: skip

    @cached_property
    def fresh(self) -> Assembly:
        """The model with new weights, and its images."""
        return self.built()

    @cached_property
    def original(self) -> Assembly:
        """The trained original with its images; trains it the first time."""
        if not self.weights.is_file():
            if not self.own:
                raise SystemExit(f"{self.weights} is missing; run seed {self.original_seed} first.")
            self.folder.mkdir(parents=True, exist_ok=True)
            config = replace(self.config("50%", "rungs"), weights=None)
            with Console() as console:
                train(config, self.weights, notify=console)
        module = duplicate(self.fresh.module)
        restore(module, self.weights)
        return replace(self.fresh, module=module)

    def built(self, **changed: Any) -> Assembly:
        """The model with its images; with other arguments, where some are given."""
        name, args = MODELS[self.model]
        return assemble(Source(name, {**args, **changed}, data=self.images, seed=self.seed))

    @cached_property
    def accuracy(self) -> float:
        """Of the original, on test images."""
        return training.accuracy(self.original.module, self.original.data, "test")

    def trained(
        self, model: nn.Module, name: str, images: float, *, new: bool = False, taught: bool = False
    ) -> float:
        """The test accuracy after training on so many images; goes on where it was cut off.

        Args:
            model: pruned; or with new weights, which are trained as the original was.
            name: of its files.
            images: as many as batches hold.
            new: which of both.
            taught: whether it learns from the original's outputs too.
        """
        place, done = self.folder / f"{name}.partial", self.folder / f"{name}.safetensors"
        done.parent.mkdir(parents=True, exist_ok=True)
        task = self.fresh.data
        tuning = Tuning().suited(task.pixels)
        if done.is_file():
            restore(model, done)
        else:
            course = training.Course(
                tuning.recipe if new else tuning.long, steps=max(1, round(images / BATCH)),
                seed=self.seed + 1, checkpoint=training.Checkpoint(place, 300.0),
            )  # fmt: skip
            teacher = self.original.module if taught else None
            training.fine_tune(model, task, course, teacher=teacher)
            save_weights(model, done)
            place.unlink(missing_ok=True)
        done.with_suffix(".onnx").write_bytes(self.onnx(model))
        return training.accuracy(model, task, "test")

    def onnx(self, model: nn.Module) -> bytes:
        """A network as it is measured."""
        return to_onnx(model, self.fresh.spec.input_shape)

    def counted(self, epochs: float) -> float:
        """Images of so many epochs."""
        return epochs * len(self.fresh.data.train)


def divided_as_first(input_size: int | None) -> Task:
    """The images, divided into those to learn from and to choose by as seed 0 does it."""
    return load(os.environ[FOLDER], input_size=input_size, seed=0)


Row = dict[str, object]


def searched(setting: Setting, arm: str, budgets: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """What each budget comes to, of an arm that is a search."""
    spent, after = [0, 0], None
    for budget in budgets:
        folder = setting.folder / arm / budget.rstrip("%")
        config = replace(setting.config(budget, arm), after=after)
        with Console() as console:
            adapt(config, folder, notify=console)
        after, records = folder, read_journal(folder)
        for work in (work for record in records for work in works(record.event)):
            if work.name in ("screening", "tuning"):
                spent[0], spent[1] = spent[0] + work.images, spent[1] + work.scored
        trained, scored = spent
        row = _result(setting, folder, records)
        yield budget, row | {"search_trained": trained, "search_scored": scored}


def _result(setting: Setting, folder: Path, records: Sequence[Record]) -> Row:
    """A search's last network after the rest of the training."""
    steps = steps_of(records)
    step = at = steps[-1]
    tunes = 0  # short fine-tunes that its weights went through
    while at.iteration:
        tunes, at = tunes + 1, steps[at.parent]
    finished = last(records, Finished)
    assert finished is not None
    subject = setting.original
    model = shrink(subject.module, subject.network, step.keep)
    restore(model, folder / "weights" / f"{step.weights}.safetensors")
    path = tunes * setting.steps * BATCH
    rest = max(0.0, setting.counted(setting.after) - path)
    arm = folder.parent.name
    name = f"{arm}/{folder.name}-trained"
    accuracy = setting.trained(model, name, rest, taught=arm in TAUGHT)
    return _row(
        name, finished.after.costs["latency"] / finished.before.costs["latency"], accuracy,
        path_trained=path, long_trained=round(rest), iterations=step.iteration,
        **_counts(subject, step.sizes),
    )  # fmt: skip


def _row(name: str, latency: float, accuracy: float, **counted: object) -> Row:
    """What every arm tells of a result; of what it counts, the rest is 0."""
    nothing = dict.fromkeys(
        ("path_trained", "long_trained", "search_trained", "search_scored", "iterations"), 0
    )
    shares = {"latency": f"{latency:.4f}", "accuracy": f"{accuracy:.4f}"}
    return {**shares, "file": f"{name}.onnx", **nothing, **counted}


def _counts(subject: Assembly, sizes: Mapping[str, int]) -> Row:
    network = subject.network
    counts = {"macs": network.macs(sizes), "params": network.params(sizes)}
    return {**counts, "sizes": json.dumps(sizes)}


def pruned(setting: Setting, arm: str, budgets: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """What Torch-Pruning's pruner comes to, brought to each budget by the share that it removes."""
    for budget in budgets:
        name = f"{arm}/{budget.rstrip('%')}-trained"
        found = setting.folder / f"{name}.json"
        if not found.is_file():  # measured anew, it might come to other widths
            share, cost = _bisected(
                lambda share: _by_torch_pruning(setting, share, whole=PRUNERS[arm]),
                setting,
                parse_budget(budget).value,
            )
            found.parent.mkdir(parents=True, exist_ok=True)
            found.write_text(json.dumps({"share": share, "latency": cost}))
        told = json.loads(found.read_text())
        model = _by_torch_pruning(setting, told["share"], whole=PRUNERS[arm])
        images = setting.counted(setting.after)
        counted = trace(model, setting.original.spec.input_shape)
        yield budget, _row(
            name, told["latency"], setting.trained(model, name, images),
            long_trained=round(images), iterations=1,
            macs=counted.macs({}), params=counted.params({}),
        )  # fmt: skip


def _bisected(
    build: Callable[[float], nn.Module], setting: Setting, limit: float
) -> tuple[float, float]:
    """The least to remove, of ten tries, to be within a limit; and the latency then."""
    low, high = 0.0, 0.98
    best: tuple[float, float] | None = None
    for _ in range(10):
        share = (low + high) / 2
        (ratio,) = beside(setting, [setting.onnx(build(share))])
        cost = ratio.value
        if cost <= limit:
            high = share
            best = (share, cost) if best is None or cost > best[1] else best
        else:
            low = share
    if best is None:
        raise SystemExit(f"No share reaches {limit:.0%} of the latency.")
    return best


def _by_torch_pruning(setting: Setting, share: float, *, whole: bool) -> nn.Module:
    """Its magnitude pruner with a share removed of all channels, or of each group's, by eights."""
    import torch_pruning

    subject = setting.original
    model = shrink(subject.module, subject.network, {})  # a copy
    classifier = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    pruner = torch_pruning.pruner.MagnitudePruner(
        model, (torch.zeros(1, *subject.spec.input_shape),),
        torch_pruning.importance.MagnitudeImportance(p=2), pruning_ratio=share,
        global_pruning=whole, round_to=8, ignored_layers=[classifier],
    )  # fmt: skip
    pruner.step()
    return model


def from_scratch(
    setting: Setting, budgets: Sequence[str], known: Sequence[Row]
) -> Iterator[tuple[str, Row]]:
    """The widths that knapsack found, by the rows there are, trained from new weights."""
    for budget in budgets:
        wanted = {"model": setting.model, "arm": "knapsack", "budget": budget}
        found = [row for row in known if wanted.items() <= row.items() and row["sizes"]]
        if not found:
            continue
        sizes = json.loads(str(found[0]["sizes"]))
        fresh = setting.fresh
        model = shrink(fresh.module, fresh.network, keep_first(fresh.network, sizes))
        name, latency = f"scratch/{budget.rstrip('%')}", float(str(found[0]["latency"]))
        yield budget, _new(setting, model, name, latency, _counts(fresh, sizes))


def multiplied(setting: Setting, budgets: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """The model with smaller width multipliers, trained from new weights."""
    for budget in budgets:
        width = float(budget.removeprefix("width "))
        found = setting.built(width=width)
        (ratio,) = beside(setting, [setting.onnx(found.module)])
        name = f"multiplier/{width}"
        yield budget, _new(setting, found.module, name, ratio.value, _counts(found, {}))


def _new(setting: Setting, model: nn.Module, name: str, share: float, counts: Row) -> Row:
    """A network after a training from new weights, as long as all of the others' together."""
    images = setting.counted(setting.epochs + setting.after)
    accuracy = setting.trained(model, name, images, new=True)
    return _row(name, share, accuracy, long_trained=round(images), **counts)


def beside(setting: Setting, networks: Sequence[bytes], effort: Effort = WHOLE) -> list[Ratio]:
    """What each network takes over what the original does."""
    original = Workload("original", setting.onnx(setting.fresh.module), ())
    works = [Workload(f"result {n}", onnx, ()) for n, onnx in enumerate(networks)]
    base, *others = (
        readings["latency"]
        for readings in open_platform("ort:cpu").measure_networks([original, *works], effort)
    )
    return [Ratio.of(other, base) for other in others]


def results(
    setting: Setting, arm: str, budgets: Sequence[str], known: Sequence[Row]
) -> Iterator[tuple[str, Row]]:
    """What an arm comes to, budget by budget; ``known`` are the rows so far."""
    if arm in SEARCHES:
        return searched(setting, arm, budgets)
    if arm in PRUNERS:
        return pruned(setting, arm, budgets)
    return (
        from_scratch(setting, budgets, known) if arm == "scratch" else multiplied(setting, budgets)
    )

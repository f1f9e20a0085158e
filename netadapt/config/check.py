"""What is wrong with the settings of a run: all of it at once, before anything runs."""

import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netadapt.config.kinds import of_wrong_kind
from netadapt.config.run import RunConfig
from netadapt.config.rungs import faults_of, usual_rungs
from netadapt.config.workers import parse_workers
from netadapt.errors import Fault, SettingsError, UsageError, nearest
from netadapt.units import RESOURCES, Budget


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from ``least`` to ``most``.

    Attributes:
        least, most: the ends.
        open_least, open_most: whether the ends themselves are left out.
    """

    least: float = 0
    most: float = math.inf
    open_least: bool = False
    open_most: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether a number lies in the range; NaN never does."""
        above = value > self.least if self.open_least else value >= self.least
        return above and (value < self.most if self.open_most else value <= self.most)

    def __str__(self) -> str:
        """Such as ``above 0 and at most 1``."""
        text = f"{'above' if self.open_least else 'at least'} {number_text(self.least)}"
        if is_finite(self.most):
            text += f" and {'below' if self.open_most else 'at most'} {number_text(self.most)}"
        return text


def is_finite(value: float) -> bool:
    """Whether a number is finite; also of whole numbers that no float holds."""
    return isinstance(value, int) or math.isfinite(value)


def number_text(value: float) -> str:
    """A number for people; a whole number with all its digits, if they can be read."""
    if not isinstance(value, int):
        return f"{value:g}"
    return str(value) if abs(value) < 10**20 else f"a whole number of {value.bit_length()} bits"


_ANY_COUNT = Range()
_SOME = Range(1)
_POSITIVE = Range(open_least=True)
_PART = Range(0, 1, open_least=True)
_LARGEST = sys.float_info.max
_LESS_THAN_ALL = Range(0, 1, open_most=True)
_WHOLE = Range(-(2**63), 2**63 - 1)  # what TOML, PyTorch and NumPy take
_RECIPE = {
    "lr": _POSITIVE,
    "batch_size": Range(2),  # batch normalization cannot learn from one image
    "momentum": _LESS_THAN_ALL,
    "weight_decay": _ANY_COUNT,
    "warmup": Range(0, 1),
    "label_smoothing": _LESS_THAN_ALL,
    "clip_norm": _POSITIVE,
    "distill_weight": Range(0, 1),
    "temperature": _POSITIVE,
    "ema": _LESS_THAN_ALL,
    "accumulate": _SOME,
}
SCREENINGS = ("loss", "selection")

RANGES: dict[str, Range] = {
    "input_size": _SOME,
    "limit": _POSITIVE,
    "multiple": _ANY_COUNT,
    "finalists": _ANY_COUNT,
    "screening_error": _LESS_THAN_ALL,
    "seed": Range(0, 2**63 - 1),  # what PyTorch's generators take
    "schedule.initial": _PART,
    "schedule.decay": _PART,
    "schedule.floor": _PART,
    "tuning.train_epochs": _POSITIVE,
    "tuning.short_steps": _SOME,
    "tuning.long_epochs": _POSITIVE,
    "tuning.long_lr": _POSITIVE,
    "tuning.screen_batches": _SOME,
    "execution.checkpoint_every_s": _POSITIVE,
    "execution.data_workers": _ANY_COUNT,
    "execution.trial_limit_s": _POSITIVE,
    **{f"tuning.{which}.{key}": r for which in ("recipe", "short") for key, r in _RECIPE.items()},
}
"""The range of every setting that is a number; those that may be left out may also be None."""

MOST: dict[str, float] = {
    "input_size": 16384,
    "multiple": 10**6,
    "finalists": 10**6,
    "tuning.train_epochs": 10**6,
    "tuning.short_steps": 10**9,
    "tuning.long_epochs": 10**6,
    "tuning.screen_batches": 10**6,
    "tuning.recipe.batch_size": 65536,
    "tuning.short.batch_size": 65536,
    "execution.data_workers": 256,
}
"""Above these a number is a slip of the finger, and no machine would come to its end."""


def check(config: RunConfig, *, budgeted: bool = True) -> list[Fault]:
    """Every fault of the settings.

    Names of strategies and the like are not looked up here, and no file or device is.

    Args:
        config: the settings.
        budgeted: whether a budget is needed.
    """
    kinds = list(of_wrong_kind(config, RunConfig))
    if kinds:
        return kinds  # what values are can be asked of the right kinds alone
    return [
        *_missing(config, budgeted),
        *_budgets(config),
        *_devices(config.devices),
        *_rungs(config),
        *_numbers(config.to_json()),
        *_limit(config.limit),
        *_trainer(config.execution.trainer),
        *_workers(config.execution.workers),
    ]


def checked(config: RunConfig) -> RunConfig:
    """The settings, if nothing is wrong with them.

    Raises:
        SettingsError: something is; it tells all.
    """
    faults = check(config)
    if faults:
        raise SettingsError(faults)
    return config


def _missing(config: RunConfig, budgeted: bool) -> Iterator[Fault]:
    if not config.model:
        yield Fault("model", "is missing; name one, such as mobilenet_v1.")
    if not config.data:
        yield Fault("data", "is missing; name a data set, such as digits, or a folder.")
    if budgeted and not config.budgets:
        yield Fault("budgets", "is missing; give at least one, such as 12ms or 60%.")
    if not config.devices:
        yield Fault("devices", "is missing; give at least one, such as ort:cpu.")


def _limit(limit: float | None) -> Iterator[Fault]:
    if isinstance(limit, float) and 1 < limit < math.inf and not limit.is_integer():
        yield Fault("limit", f"is {limit:g}; it must be a whole number, or a share up to 1.")


def _budgets(config: RunConfig) -> Iterator[Fault]:
    for number, budget in enumerate(config.budgets):
        for text in _budget(budget, config.devices):
            yield Fault(f"budgets[{number}]", text)
    counted = Counter((budget.resource, budget.device) for budget in config.budgets)
    for (resource, device), times in counted.items():
        if times > 1:
            where = f" on {device}" if device else ""
            yield Fault("budgets", f"has {times} bounds on {resource}{where}; give one.")


def _budget(budget: Budget, devices: Mapping[str, str]) -> Iterator[str]:
    resource = RESOURCES.get(budget.resource)
    if resource is None:
        known = ", ".join(RESOURCES)
        yield f"is of the unknown resource {budget.resource!r}; known: {known}."
    elif budget.device and not resource.by_device:
        yield (
            f"bounds {resource.name} on {budget.device}, but {resource.name} is the same on every "
            "device; leave the device out."
        )
    if budget.device and budget.device not in devices:
        known = ", ".join(devices) or "none"
        yield f"holds on {budget.device!r}, which is no device of this run; its devices: {known}."
    allowed = _PART if budget.share else _POSITIVE
    if not is_finite(budget.value) or budget.value not in allowed or budget.value > _LARGEST:
        what = "share" if budget.share else "value"
        yield f"has the {what} {number_text(budget.value)}; it must be finite and {allowed}."


def _rungs(config: RunConfig) -> Iterator[Fault]:
    if not config.chosen_rungs:
        yield Fault(
            "rungs", "is empty; to fine-tune every proposal to the end, set finalists to 0."
        )
    for text in faults_of(config.chosen_rungs):
        yield Fault("rungs", text)
    if config.finalists is not None and config.chosen_rungs != usual_rungs(config.strategy):
        yield Fault("rungs", "and finalists exclude each other; give one of them.")
    if config.screening not in SCREENINGS:
        yield Fault("screening", _no_choice(config.screening, SCREENINGS))


def _no_choice(value: str, known: tuple[str, ...]) -> str:
    near = nearest(value, known, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"it must be {' or '.join(known)}."
    return f"is {value!r}; {hint}"


_DEVICE_NAME = re.compile(r"[\w.-]+")


def _devices(devices: Mapping[str, str]) -> Iterator[Fault]:
    for name, uri in devices.items():
        if not uri:
            yield Fault(
                f"devices.{name}", "is empty; give a URI such as ort:cpu or ssh://pi@raspberrypi."
            )
        if name != uri and not _DEVICE_NAME.fullmatch(name):
            yield Fault(
                "devices",
                f"has the name {name!r}; a name is made of letters, digits, dots, hyphens and "
                "underscores.",
            )


def _numbers(values: Mapping[str, Any]) -> Iterator[Fault]:
    """Numbers out of range, any that are not finite, and values that are nothing of the kind."""
    for path, value in leaves(values):
        if path.startswith("budgets") or isinstance(value, bool):
            continue
        if isinstance(value, (int, float)):
            allowed = RANGES.get(path)
            said = number_text(value)
            if allowed is not None and not (is_finite(value) and value in allowed):
                yield Fault(path, f"is {said}; it must be {allowed}.")
            elif path in MOST and value > MOST[path]:
                yield Fault(path, f"is {said}; it can be {number_text(MOST[path])} at most.")
            elif not is_finite(value):
                yield Fault(path, f"is {said}; it must be a finite number.")
            elif isinstance(value, int) and value not in _WHOLE:
                yield Fault(path, f"is {said}; it must be of 64 bits at most.")
        elif isinstance(value, str):
            if "\0" in value:
                yield Fault(path, "has a NUL character in it, as no name or path may; remove it.")
        elif value is not None:
            kind = type(value).__name__
            yield Fault(
                path,
                f"is a {kind}; settings are numbers, texts, truth values, and lists and tables of "
                "these.",
            )


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value within tables and lists, with its path such as ``tuning.recipe.lr``."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}[{number}]")
    else:
        yield path, value


def _trainer(trainer: str) -> Iterator[Fault]:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", trainer):
        yield Fault(
            "execution.trainer", f"is {trainer!r}; train on cpu, cuda, or one GPU such as cuda:1."
        )


def _workers(workers: str) -> Iterator[Fault]:
    try:
        parse_workers(workers)
    except UsageError as error:
        yield Fault("execution.workers", str(error))

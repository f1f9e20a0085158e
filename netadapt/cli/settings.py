"""Settings of a run from a TOML file and from flags, which override it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netadapt.errors import Fault, UsageError
from netadapt.units import family_of

if TYPE_CHECKING:
    from netadapt.config import RunConfig

FLAGS: Mapping[str, tuple[str, ...]] = {
    "MODEL": ("model",),
    "--data": ("data",),
    "--task": ("data",),
    "--budget": ("budgets",),
    "--on": ("devices",),
    "--model-arg": ("model_args",),
    "--weights": ("weights",),
    "--input-size": ("input_size",),
    "--limit": ("limit",),
    "--table": ("table",),
    "--after": ("after",),
    "--strategy": ("strategy",),
    "--select": ("selection",),
    "--importance": ("importance",),
    "--repair": ("repair",),
    "--initial-reduction": ("schedule.initial",),
    "--decay": ("schedule.decay",),
    "--multiple": ("multiple",),
    "--finalists": ("finalists",),
    "--rungs": ("rungs",),
    "--screening": ("screening",),
    "--screening-error": ("screening_error",),
    "--inexact": ("inexact",),
    "--epochs": ("tuning.train_epochs",),
    "--short-steps": ("tuning.short_steps",),
    "--long-epochs": ("tuning.long_epochs",),
    "--lr": ("tuning.recipe.lr",),
    "--short-lr": ("tuning.short.lr",),
    "--long-lr": ("tuning.long_lr",),
    "--batch-size": ("tuning.recipe.batch_size", "tuning.short.batch_size"),
    "--bf16": ("tuning.recipe.bf16", "tuning.short.bf16"),
    "--distill": ("tuning.recipe.distill", "tuning.short.distill"),
    "--accumulate": ("tuning.recipe.accumulate", "tuning.short.accumulate"),
    "--noise-aware-training": ("tuning.recipe.noise_aware", "tuning.short.noise_aware"),
    "--seed": ("seed",),
    "--trainer": ("execution.trainer",),
    "--checkpoint-every": ("execution.checkpoint_every_s",),
    "--data-workers": ("execution.data_workers",),
    "--workers": ("execution.workers",),
    "--trial-limit": ("execution.trial_limit_s",),
}
"""Which settings each flag gives."""


def resolve(path: Path | None, given: Mapping[str, Any], *, budgeted: bool = True) -> "RunConfig":
    """The settings of a run.

    Args:
        path: a TOML file, if there is one.
        given: values of flags by their names in Python; None and () were not given.
        budgeted: whether a budget is needed.

    Raises:
        SettingsError: something is wrong; what a flag gave is told by the flag's name.
    """
    from netadapt.config import load_toml, read_config
    from netadapt.errors import SettingsError

    flags = {flag: given[name] for flag in FLAGS if given.get(name := _name(flag)) not in _UNSET}
    _one_source(flags)
    values = load_toml(path) if path else {}
    for flag, value in flags.items():
        for setting in FLAGS[flag]:
            _put(values, setting, dict(value) if flag == "--model-arg" else value)
    try:
        return read_config(values, str(path or ""), budgeted=budgeted)
    except SettingsError as error:
        spoken = [_spoken(fault, flags, alone=path is None) for fault in error.faults]
        raise SettingsError(dict.fromkeys(spoken), error.source) from None


def resolved_family(path: Path | None, given: Mapping[str, Any]) -> list["RunConfig"]:
    """The settings of each run, where a budget is a list such as ``80%,60%,40%``.

    Args:
        path: a TOML file, if there is one.
        given: as for :func:`resolve`.

    Raises:
        SettingsError: as there.
        UsageError: the list is no family.
    """
    from netadapt.config import load_toml

    texts = given["budget"]
    if not texts and path:
        listed = load_toml(path).get("budgets")
        listed = [listed] if isinstance(listed, str) else listed
        if isinstance(listed, list) and all(isinstance(text, str) for text in listed):
            texts = tuple(listed) if any("," in text for text in listed) else ()
    return [resolve(path, {**given, "budget": member}) for member in family_of(texts)]


_UNSET = (None, ())


def _name(flag: str) -> str:
    """What a flag is called in Python."""
    return flag.lstrip("-").replace("-", "_").lower()


def _one_source(flags: Mapping[str, Any]) -> None:
    """Refuse images from two places, and a task that can only be a folder."""
    if "--data" in flags and "--task" in flags:
        raise UsageError(
            "Give one of --data (digits, cifar10 or a folder) and --task (module:callable)."
        )
    if ":" not in flags.get("--task", ":"):
        raise UsageError(f"--task {flags['--task']} must be written package.module:callable.")


def _put(values: dict[str, Any], setting: str, value: Any) -> None:
    """Set a value in nested tables; a table is extended, anything else is replaced."""
    *tables, name = setting.split(".")
    for table in tables:
        inner = values.setdefault(table, {})
        if not isinstance(inner, dict):
            return  # the file has something else there, which reading it will tell
        values = inner
    old = values.get(name)
    values[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value


def _spoken(fault: Fault, flags: Mapping[str, Any], *, alone: bool) -> Fault:
    """A fault in the words of the command line, where a flag or nothing gave the setting."""
    setting, _, number = fault.setting.rstrip("]").partition("[")
    named = [flag for flag, settings in FLAGS.items() if setting in settings]
    chosen = next((flag for flag in named if flag in flags), named[0] if named and alone else "")
    if not chosen:
        return fault
    value = flags.get(chosen)
    return replace(fault, setting=f"{chosen} {value[int(number)]}" if number and value else chosen)

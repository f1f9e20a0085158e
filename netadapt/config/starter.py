"""A commented TOML file of every setting, its default and its meaning, to start from."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from netadapt.config.rungs import RUNGS
from netadapt.config.settings import Setting, settings

EXAMPLES: Mapping[str, Any] = {
    "model": "mobilenet_v1",
    "data": "digits",
    "budgets": ["60%"],
    "devices": ["ort:cpu"],
    "model_args": {"width": 0.5},
    "weights": "trained.safetensors",
    "input_size": 224,
    "limit": 10000,
    "table": "table.csv",
    "after": "runs/mobilenet_v1-digits-60pct",
    "importance": "taylor",
    "rungs": [str(rung) for rung in RUNGS],
    "finalists": 3,
    "schedule.initial": 0.05,
    "tuning.short_steps": 200,
    "execution.trial_limit_s": 600.0,
    "tuning.long_lr": 0.03,
    "tuning.recipe.lr": 0.1,
    "tuning.recipe.weight_decay": 5e-4,
    "tuning.recipe.clip_norm": 1.0,
    "tuning.recipe.distill": True,
    "tuning.short.lr": 0.01,
    "tuning.short.weight_decay": 5e-4,
    "tuning.short.clip_norm": 1.0,
    "tuning.short.distill": True,
    "execution.data_workers": 4,
}
"""What to write for settings that have no default, or none that a file can say."""

_HEAD = """\
# Settings of a netadapt run: netadapt adapt --config FILE
#
# Each setting is shown with its default; one behind a '#' is an example of what has none. Flags
# override the file. Paths start at the working directory.
#
# Budgets may be of any resource, and for one device; one that is a list makes a run for each:
#   budgets = ["60%", "size=2MB", "phone:12ms"]
#   budgets = ["80%,60%,40%"]
# Devices may have names, in a table after all plain settings:
#   [devices]
#   phone = "ssh://pi@raspberrypi"
"""


def starter() -> str:
    """The file; read back, it gives the defaults."""
    every = list(settings())
    tables = [s.path for s in every if s.is_table or s.path == "model_args"]
    lines = [_HEAD, *_block([s for s in every if not s.table and s.path not in tables])]
    for path in tables:
        (table,) = (s for s in every if s.path == path)
        lines += [_comment(table.meaning), f"[{path}]"]
        lines += _block([s for s in every if s.table == path and not s.is_table])
        if path == "model_args":
            lines += [f"# {key} = {_toml(value)}" for key, value in EXAMPLES[path].items()] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _block(plain: list[Setting]) -> Iterator[str]:
    """Settings of one table, each below its meaning."""
    for setting in plain:
        example = EXAMPLES.get(setting.path, setting.default)
        mark = "# " if setting.default is None else ""
        yield _comment(setting.meaning)
        yield f"{mark}{setting.name} = {_toml(example)}"
        yield ""


def _comment(text: str) -> str:
    plain = text.replace(". 'None'", ". Leaving it out")  # TOML has no null
    plain = plain.replace("'None'", "leaving it out")
    sentence = f"{plain[:1].upper()}{plain[1:]}"
    return textwrap.fill(sentence, 88, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    """A plain value in TOML, which writes these as JSON does."""
    return json.dumps(value, ensure_ascii=False)

"""Every setting with its place, type, default and meaning, read off the dataclasses themselves."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from netadapt.config.run import RunConfig

NOTHING = RunConfig(model="", data="", budgets=())
"""All defaults; what has none is empty."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, or a table of settings.

    Attributes:
        table: path of the table that it is in, such as ``tuning.recipe``; empty for the top.
        name: its key there.
        hint: its type.
        default: what holds where it is left out.
        meaning: what it does, as its class says.
    """

    table: str
    name: str
    hint: Any
    default: Any
    meaning: str

    @property
    def path(self) -> str:
        """Where it is, such as ``tuning.recipe.lr``."""
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def is_table(self) -> bool:
        """Whether it holds further settings."""
        return is_dataclass(self.default)


def settings(value: Any = NOTHING, table: str = "") -> Iterator[Setting]:
    """The settings in a dataclass; each table is followed by what is in it."""
    hints, meanings = get_type_hints(type(value)), _meanings(type(value))
    for field in fields(value):
        default = getattr(value, field.name)
        setting = Setting(table, field.name, hints[field.name], default, meanings[field.name])
        yield setting
        if setting.is_table:
            yield from settings(default, setting.path)


def _meanings(kind: type) -> dict[str, str]:
    """What the docstring says of each attribute, without the marks of Sphinx."""
    _, _, text = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    said = dict.fromkeys((f.name for f in fields(kind)), "")
    for names, meaning in re.findall(r"^ {4}([\w, ]+): (.*(?:\n {5,}.*)*)", text, re.MULTILINE):
        plain = re.sub(r":\w+:`~?([^`]*)`", r"\1", " ".join(meaning.split())).replace("``", "'")
        said |= dict.fromkeys(names.split(", "), plain)
    return said

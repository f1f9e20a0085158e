"""What a page is made of: sections of prose, tables and figures, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from markupsafe import Markup

T = TypeVar("T")
Cell = str | Markup
"""Text, which the page escapes, or a drawing of ours, which it does not."""

LONGEST = 400
"""Characters of a text from outside that are shown; it has no limit of its own."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a heading.

    Attributes:
        caption: what it shows; read out first.
        head: of each column.
        rows: one cell a column; the first names the row.
        numbers: columns that are aligned to the right.
        note: below it.
        summary: where it is folded away, what stands in its place; else empty.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[int] = frozenset()
    note: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """Drawings side by side."""

    drawings: tuple[Markup, ...]


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph; ``lead`` is set larger, ``code`` as it would be typed."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading of its own."""

    id: str
    title: str
    blocks: tuple[Table | Figures | Prose | Bullets, ...] = field(default=())


def clipped(text: object, longest: int = LONGEST) -> str:
    """A text from outside, in one line, no longer than can be shown.

    Bytes of a path that are no UTF-8 reach Python as lone surrogates, which no page can hold.
    """
    line = " ".join(str(text).encode(errors="replace").decode().split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def thinned(items: Sequence[T], most: int) -> tuple[T, ...]:
    """At most so many, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return tuple(items)
    last = len(items) - 1
    return tuple(items[round(i * last / (most - 1))] for i in range(most))


def thinned_note(shown: int, all_of: int, what: str) -> str:
    """What to say below a table that leaves some out; empty if it leaves out none."""
    if shown == all_of:
        return ""
    return f"{shown} of {all_of} {what} are shown, evenly spaced; the journal holds them all."

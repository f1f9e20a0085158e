"""The lines of a lookup table, as an editor or a spreadsheet may have rewritten them.

Read alike are: a byte order mark, line ends of any system, blank lines, quoted cells, columns in
any order, and lines that a spreadsheet padded with commas to the width of the table. Of two rows
for one layer the later counts, as a build appends what more runs told.
"""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from netadapt.errors import TableError
from netadapt.network import LayerShape
from netadapt.signatures import mishap
from netadapt.tables.rows import Entry, columns, entry_of


def read_lines(path: Path) -> tuple[list[str], list[str]]:
    """The comments and the rows of a table; a last line without its end was cut off, and is left.

    Raises:
        TableError: there is no such file, or it is no text.
    """
    accident = mishap(path) if path.exists() else ""
    if accident:
        raise TableError(f"{path} is no lookup table: {accident}.")
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except OSError as error:
        raise TableError(f"Cannot read the lookup table {path}: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise TableError(f"{path} is no lookup table: it is not text in UTF-8.") from None
    lines = [line for line in text[: text.rfind("\n") + 1].split("\n") if line.strip(", \t")]
    comments = [line for line in lines if line.lstrip('"').startswith("#")]
    body = [line for line in lines if not line.lstrip('"').startswith("#")]
    return [_comment(line) for line in comments], body


def _comment(line: str) -> str:
    """A comment as it was written, before a spreadsheet took it for cells."""
    if line.startswith('"'):
        line = ",".join(next(csv.reader([line]), []))
    return line.rstrip(",")


def entries_in(path: Path, body: Sequence[str]) -> dict[LayerShape, Entry]:
    """The rows of a table.

    Raises:
        TableError: a column is missing or there twice, or a value is out of place.
    """
    try:
        rows = list(csv.DictReader(body, strict=True))
        names = next(csv.reader(body[:1]), [])
    except csv.Error as error:
        raise TableError(f"The lookup table {path} is no CSV file: {error}.") from error
    count = Counter(names)
    twice = sorted(name for name, times in count.items() if times > 1 and name)
    lacking = [name for name in columns() if name not in count]
    if twice or lacking:
        what = f"has the column {twice[0]} twice" if twice else f"lacks {', '.join(lacking[:3])}"
        separator = " Cells are separated by commas." if len(names) == 1 and lacking else ""
        raise TableError(f"The lookup table {path} {what}; it was cut or edited.{separator}")
    entries: dict[LayerShape, Entry] = {}
    for number, row in enumerate(rows, start=1):
        try:
            if any(row.pop(None, ())):
                raise ValueError("more cells than columns")
            shape, entry = entry_of(row)
            if not math.isfinite(entry.p10 + entry.median + entry.p90) or entry.runs < 1:
                raise ValueError("times that are not finite, or of no run")
            old = entries.get(shape)
            if old is not None and old != entry and entry.runs < old.runs:
                raise ValueError(
                    "the same layer as a row above, of other times and of fewer runs; keep one"
                )
        except (KeyError, TypeError, ValueError) as error:
            raise TableError(
                f"The lookup table {path} has a value out of place in row {number}: {error}."
            ) from error
        entries[shape] = entry
    return entries

"""Compare finished runs, from their journals alone: ``netadapt compare``."""

import os
from collections.abc import Sequence
from pathlib import Path

from netadapt.errors import UsageError, named
from netadapt.files import PAGE_BEGINS, PNG_BEGINS, check_output, write_atomically
from netadapt.report.comparison import Comparison, comparison_of
from netadapt.report.comparison_views import CSV_BEGINS, as_csv, as_page, as_png
from netadapt.report.facts import facts_of
from netadapt.runs import read_journal

_VIEWS = {
    ".csv": (as_csv, CSV_BEGINS),
    ".html": (as_page, PAGE_BEGINS),
    ".png": (as_png, PNG_BEGINS),
}
"""What makes each, and how it begins."""


def compare(folders: Sequence[Path], resource: str = "latency") -> Comparison:
    """Put finished runs beside each other.

    Args:
        folders: of the runs, at least two.
        resource: what accuracy is set against, a name in :data:`netadapt.units.RESOURCES`.

    Raises:
        UsageError: a folder holds no run or is given twice, or runs cannot be compared.
        RunError: a journal is damaged.
    """
    given = [os.path.realpath(folder) for folder in folders]  # resolve() fails where links circle
    twice = next((f for f, real in zip(folders, given, strict=True) if given.count(real) > 1), None)
    if twice is not None:
        raise UsageError(f"The run {twice} is given twice; give each run once.")
    return comparison_of([facts_of(str(f), read_journal(f)) for f in folders], resource)


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write a comparison as its ending says: ``.png``, ``.csv`` or ``.html``.

    Raises:
        UnknownName: the ending is another.
        UsageError: a picture is asked for, and matplotlib is not installed; or what is there is a
            file of another kind.
        RunError: it cannot be written.
    """
    view, begins = named("format of a comparison", out.suffix, _VIEWS)
    check_output(out, begins=begins)
    write_atomically(out, view(comparison))
    return out

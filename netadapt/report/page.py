"""One self-contained HTML page on a run, made from its journal alone."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from netadapt.carbon.account import account
from netadapt.carbon.circumstances import Circumstances
from netadapt.carbon.run import use_of
from netadapt.files import PAGE_BEGINS, check_output, write_atomically
from netadapt.report.blocks import Section, clipped
from netadapt.report.claim import claim
from netadapt.report.course import course, predictions, trials
from netadapt.report.facts import facts_of
from netadapt.report.network import layers, widths
from netadapt.report.origin import energy, provenance, time_spent
from netadapt.runs import Record, read_journal

FILE = "report.html"


def write_report(
    folder: Path, out: Path | None = None, circumstances: Circumstances | None = None
) -> Path:
    """Write the page on a run, finished or not.

    Args:
        folder: the run folder.
        out: where to; by default ``report.html`` in the folder.
        circumstances: where it ran, and what else its journal cannot know.

    Returns:
        Where it was written.

    Raises:
        UsageError: the folder holds no run.
        RunError: the journal is damaged, or the page cannot be written.
    """
    check_output(out or folder / FILE, begins=PAGE_BEGINS)
    page = report_page(folder.name, read_journal(folder), circumstances)
    path = out or folder / FILE
    write_atomically(path, page.encode())
    return path


def report_page(
    name: str, records: Sequence[Record], circumstances: Circumstances | None = None
) -> str:
    """The page as HTML.

    Args:
        name: of the run.
        records: of its journal, from the first.
        circumstances: where it ran, and what else its journal cannot know.

    Raises:
        UsageError: there are no records.
    """
    title = f"netadapt: {clipped(name, 120)}"
    return render_page(title, sections_of(name, records, circumstances))


def render_page(title: str, sections: Sequence[Section]) -> str:
    """Sections as one self-contained page."""
    return _template().render(title=title, style=_style(), sections=sections)


def sections_of(
    name: str, records: Sequence[Record], circumstances: Circumstances | None = None
) -> tuple[Section, ...]:
    """The page as plain values, in the order that they are read; see :func:`report_page`."""
    facts = facts_of(name, records)
    reckoned = account(use_of(name, records), circumstances)
    return (
        claim(facts), course(facts), widths(facts), layers(facts), predictions(facts),
        trials(facts), time_spent(reckoned.use.phases), energy(reckoned), provenance(facts),
    )  # fmt: skip


@cache
def _template() -> Template:
    loader = PackageLoader("netadapt.report", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.jinja")


@cache
def _style() -> Markup:
    return Markup((files("netadapt.report") / "page.css").read_text(encoding="utf-8"))

"""A paragraph and a table of two columns as text, Markdown or LaTeX, with all text escaped."""

import re
import textwrap
from collections.abc import Sequence

Rows = Sequence[tuple[str, str]]

_WIDTH = 100
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\symbol{34}",
    "`": r"\textasciigrave{}", "'": r"\textquotesingle{}", "±": r"$\pm$",
    "µ": r"$\mu$", "μ": r"$\mu$",
}  # fmt: skip
_MARKDOWN = {mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~$&"}


def render_text(paragraph: str, rows: Rows) -> str:
    """A paragraph and an aligned table, 100 columns wide."""
    return f"{textwrap.fill(_plain(paragraph), _WIDTH)}\n\n{render_rows(rows)}"


def render_rows(rows: Rows) -> str:
    """The table alone, for a terminal."""
    label_width = max((len(label) for label, _ in rows), default=0)
    lines = []
    for label, value in rows:
        first = f"{_plain(label):<{label_width}}  "
        lines.append(
            textwrap.fill(
                _plain(value), _WIDTH, initial_indent=first,
                subsequent_indent=" " * len(first), break_on_hyphens=False,
            )
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def render_markdown(paragraph: str, rows: Rows) -> str:
    """A paragraph and a pipe table."""
    lines = [escape_markdown(paragraph), "", "| | |", "|---|---|"]
    lines += [f"| {escape_markdown(label)} | {escape_markdown(value)} |" for label, value in rows]
    return "\n".join(lines) + "\n"


def render_latex(paragraph: str, rows: Rows) -> str:
    """A paragraph and a tabular; needs no package beyond ``textcomp``'s symbols, part of LaTeX."""
    lines = [escape_latex(paragraph), "", r"\begin{tabular}{lp{0.65\linewidth}}", r"\hline"]
    lines += [rf"{escape_latex(label)} & {escape_latex(value)} \\" for label, value in rows]
    lines += [r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """So that LaTeX prints the text as it is, two hyphens of a flag too."""
    escaped = "".join(_LATEX.get(mark, mark) for mark in _plain(text))
    return re.sub("-(?=-)", "-{}", escaped)


def escape_markdown(text: str) -> str:
    """So that Markdown, and HTML made from it, shows the text as it is."""
    return "".join(_MARKDOWN.get(mark, mark) for mark in _plain(text))


def _plain(text: str) -> str:
    """One line, without control characters."""
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())

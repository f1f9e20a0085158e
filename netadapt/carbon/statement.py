"""A paragraph and a table on energy and carbon for a paper or a model card.

The fields follow what Henderson et al. (JMLR 2020, experiment-impact-tracker) ask every paper to
state; the text is ours. What is not known is stated as not known.
"""

from dataclasses import dataclass
from typing import Any

from netadapt.carbon.account import Account
from netadapt.carbon.markup import render_latex, render_markdown, render_text
from netadapt.carbon.phrases import (
    carbon_in_words,
    cross_check_in_words,
    days_in_words,
    duration_in_words,
    hardware_in_words,
    inference_in_words,
    paid_back_in_words,
    place_in_words,
    pue_in_words,
    run_energy_in_words,
)
from netadapt.carbon.rows import cost_rows, gain_rows, origin_rows
from netadapt.errors import named

_RENDER = {"text": render_text, "markdown": render_markdown, "latex": render_latex}


@dataclass(frozen=True, slots=True)
class Statement:
    """What to say of a run.

    Attributes:
        paragraph: plain text.
        rows: label and value, in plain text; escaping is the renderer's.
    """

    paragraph: str
    rows: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"schema": 1, "paragraph": self.paragraph, "fields": dict(self.rows)}


def state(account: Account) -> Statement:
    """What to say of a run."""
    rows = [*cost_rows(account), *gain_rows(account), *origin_rows(account)]
    return Statement(_paragraph(account), tuple(rows))


def render(stated: Statement, form: str) -> str:
    """As ``text``, ``markdown`` or ``latex``, with everything from outside escaped.

    Raises:
        UnknownName: there is no such format.
    """
    return named("format", form, _RENDER)(stated.paragraph, stated.rows)


def _paragraph(account: Account) -> str:
    use, version = account.use, account.use.provenance.version
    verb = "took" if use.finished else "has so far taken"
    tool = f"netadapt {version}" if version else "netadapt"
    sentences = [
        f"Adapting the network with {tool} {verb} {duration_in_words(use.seconds)} on "
        f"{hardware_in_words(account)}.",
        _energy(account),
        _carbon(account),
        _cross_check(account),
        _inference(account),
        _paid_back(account),
        f"Not counted: {'; '.join(account.left_out)}.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _energy(account: Account) -> str:
    words = run_energy_in_words(account)
    if account.footprint.total is None:
        return f"The energy of the run was {words}."
    return f"The run used {words}."


def _carbon(account: Account) -> str:
    if account.carbon_g is None:
        return f"Its emissions are {carbon_in_words(account)}."
    return (
        f"With a PUE of {pue_in_words(account.adapted)} and {place_in_words(account.adapted)}, "
        f"this amounts to {carbon_in_words(account)}."
    )


def _cross_check(account: Account) -> str:
    words = cross_check_in_words(account)
    return f"As a cross-check, on which no other figure rests, {words}." if words else ""


def _inference(account: Account) -> str:
    before, after = account.use.before, account.use.after
    if account.saved_j is None:
        return "The energy of one inference was not measured."
    return (
        f"One inference took {inference_in_words(before)} before the adaptation, and "
        f"{inference_in_words(after)} after it."
    )


def _paid_back(account: Account) -> str:
    """When the run has paid for itself; empty where that is known neither way."""
    clauses = []
    for unit, paid in (("energy", account.in_energy), ("carbon", account.in_carbon)):
        if paid.verdict == "not known":
            continue
        words = f"{paid.verdict} in {unit} ({paid.why})"
        if paid.inferences is not None:
            words = f"in {unit} {paid_back_in_words(paid)}"
        days = days_in_words(account, paid)
        clauses.append(f"{words}, which is {days} at the given rate" if days else words)
    return f"It pays for itself {'; and '.join(clauses)}." if clauses else ""

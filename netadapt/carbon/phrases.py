"""The figures of an account in words; an estimate is always called one."""

from netadapt.carbon.account import Account
from netadapt.carbon.breakeven import PaidBack, Site
from netadapt.carbon.footprint import Energy, Kind
from netadapt.carbon.ranges import Range, format_range
from netadapt.carbon.use import Inference
from netadapt.units import format_joules, format_seconds

NOT_MEASURED = "not measured"


def amount_in_words(energy: Energy | None) -> str:
    """``42 Wh, measured``: without the source, for parts of a sum that names it."""
    if energy is None:
        return NOT_MEASURED
    return f"{format_range(energy.kwh, 'kWh')}, {energy.kind}"


def energy_in_words(energy: Energy | None) -> str:
    """``0.42 kWh, measured by rapl:package-0``, or ``not measured``."""
    if energy is None:
        return NOT_MEASURED
    link = "by" if energy.kind == "measured" else "from"
    return f"{amount_in_words(energy)} {link} {energy.source}"


def run_energy_in_words(account: Account) -> str:
    """The energy of the whole run; where a phase is not known, what is known as a lower bound."""
    total, known = account.footprint.total, account.footprint.known
    if total is not None or known is None:
        return energy_in_words(total)
    missing = [line.phase.name for line in account.footprint.phases if line.energy is None]
    return f"{NOT_MEASURED} for {', '.join(missing)}; at least {energy_in_words(known)}"


def hedge(kind: Kind | None) -> str:
    """What follows a figure that rests on an estimate."""
    return "" if kind in (None, "measured") else f", {kind}"


def carbon_in_words(account: Account) -> str:
    """Grams or kilograms of CO2 equivalent, or why they cannot be told."""
    if account.carbon_g is not None:
        total = account.footprint.total
        return format_range(account.carbon_g, "g CO2e") + hedge(total.kind if total else None)
    if account.adapted.place is None:
        return "not known: no region was named"
    return "not known: the energy of the run was not measured"


def cross_check_in_words(account: Account) -> str:
    """What codecarbon says of the same work, and of how much of it; empty where it was not asked.

    No figure of ours rests on it.
    """
    check = account.use.cross_check
    if check is None:
        return ""
    watched = f"{duration_in_words(check.seconds)} of {duration_in_words(account.use.seconds)}"
    return f"{check}; it watched {watched}, without a PUE"


def place_in_words(site: Site) -> str:
    """Region and intensity with year, basis and source."""
    place = site.place
    if place is None:
        return "not said"
    value = f"{place.g_per_kwh:g} g CO2e/kWh"
    if place.year is None:
        return f"{value} ({place.source})"
    return f"{value} in {place.name} ({place.code}; {place.year}; {place.basis}; {place.source})"


def pue_in_words(site: Site) -> str:
    """The figure and its reason."""
    return f"{site.pue.value:g} ({site.pue.why})"


def paid_back_in_words(paid: PaidBack) -> str:
    """``after 1,200 inferences (800 to 2,000)``, ``never: ...`` or ``not known: ...``."""
    if paid.inferences is None:
        return f"{paid.verdict}: {paid.why}"
    return f"after {format_range(paid.inferences, 'inferences')}{hedge(paid.kind)}"


def days_in_words(account: Account, paid: PaidBack) -> str:
    """How long that takes at the given rate; empty without one."""
    days = paid.days(account.per_day) if account.per_day else None
    return "" if days is None else format_range(days, "days") + hedge(paid.kind)


def inference_in_words(inference: Inference | None) -> str:
    """Energy of one inference with its spread, number and source, else ``not measured``."""
    if inference is None or inference.energy_j is None:
        return NOT_MEASURED
    windows = f", n = {inference.windows}" if inference.windows else ""
    source = f" by {inference.source}" if inference.source else ""
    return f"{_joules(inference.energy_j)}, {inference.basis}{source}{windows}"


def latency_in_words(inference: Inference | None) -> str:
    """Latency of one inference with its spread, and that it is modelled where its energy is."""
    if inference is None or inference.latency_s is None:
        return NOT_MEASURED
    spread = inference.latency_s
    bounds = f" ({format_seconds(spread.low)} to {format_seconds(spread.high)})"
    modelled = ", modelled" if inference.basis == "modelled" else ""
    return f"{format_seconds(spread.value)}{'' if spread.is_exact else bounds}{modelled}"


def hardware_in_words(account: Account) -> str:
    """The trainer and how much of it."""
    trainer = account.use.trainer
    if trainer is None:
        return "a computer that was not recorded"
    unit = "thread" if trainer.processor == "cpu" else "GPU"
    return f"{trainer.description} ({trainer.count} {unit}{'s' if trainer.count != 1 else ''})"


def saved_in_words(saved_j: Range | None) -> str:
    """Joules saved per inference."""
    return NOT_MEASURED if saved_j is None else _joules(saved_j)


def duration_in_words(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _joules(quantity: Range) -> str:
    text = format_joules(quantity.value)
    if quantity.is_exact:
        return text
    return f"{text} ({format_joules(quantity.low)} to {format_joules(quantity.high)})"

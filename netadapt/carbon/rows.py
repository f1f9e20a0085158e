"""The figures of an account as labelled lines."""

from netadapt.carbon.account import Account
from netadapt.carbon.phrases import (
    amount_in_words,
    carbon_in_words,
    cross_check_in_words,
    days_in_words,
    duration_in_words,
    hardware_in_words,
    inference_in_words,
    latency_in_words,
    paid_back_in_words,
    place_in_words,
    pue_in_words,
    run_energy_in_words,
    saved_in_words,
)

_NOT_RECORDED = "not recorded"


def cost_rows(account: Account) -> list[tuple[str, str]]:
    """What the run cost."""
    rows = [
        ("Run", account.use.name),
        ("Duration", duration_in_words(account.use.seconds)),
        ("Hardware", hardware_in_words(account)),
        ("Energy", run_energy_in_words(account)),
    ]
    for line in account.footprint.phases:
        words = f"{duration_in_words(line.phase.seconds)}, {amount_in_words(line.energy)}"
        rows.append((f"of it {line.phase.name}", words))
    return [
        *rows,
        ("PUE", pue_in_words(account.adapted)),
        ("Carbon intensity", place_in_words(account.adapted)),
        ("Emissions", carbon_in_words(account)),
        *((("Cross-check", words),) if (words := cross_check_in_words(account)) else ()),
    ]


def gain_rows(account: Account) -> list[tuple[str, str]]:
    """What the adapted network saves."""
    use = account.use
    rows = [
        ("Latency before", latency_in_words(use.before)),
        ("Latency after", latency_in_words(use.after)),
        ("Energy per inference before", inference_in_words(use.before)),
        ("Energy per inference after", inference_in_words(use.after)),
        ("Saved per inference", saved_in_words(account.saved_j)),
        ("Deployed in", place_in_words(account.deployed)),
        ("PUE where deployed", pue_in_words(account.deployed)),
        ("Paid back in energy", paid_back_in_words(account.in_energy)),
        ("Paid back in carbon", paid_back_in_words(account.in_carbon)),
    ]
    for label, paid in (("energy", account.in_energy), ("carbon", account.in_carbon)):
        if days := days_in_words(account, paid):
            rows.append((f"At the given rate, in {label}", f"after {days}"))
    return rows


def origin_rows(account: Account) -> list[tuple[str, str]]:
    """What was not counted, and what reproduces the run."""
    origin = account.use.provenance
    facts = (
        ("Not counted", "; ".join(account.left_out)),
        ("netadapt", origin.version),
        ("Software", origin.software),
        ("Command", origin.command),
        ("Seed", origin.seed),
        ("Data", origin.data),
        ("Data fingerprint", origin.data_fingerprint),
        ("Device", origin.device),
    )
    return [(label, _NOT_RECORDED if fact is None else str(fact)) for label, fact in facts]

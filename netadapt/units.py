"""Resources, and quantities with units: ``15ms``, ``3mJ``, ``size=2MB``, ``macs=60%``, and back.

A bare number is refused: ``15`` of what is the question that most budget errors come from.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from netadapt.errors import UsageError, named


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that a network uses, and that a budget may bound.

    Attributes:
        name: as in ``latency=12ms``.
        unit: its base unit: ``s``, ``J`` or ``B``, or what is counted.
        scales: the units that it may be given in, each in base units.
        by_device: whether it hangs on the device that the network runs on.
        counted: whether it is known without measuring.
    """

    name: str
    unit: str
    scales: dict[str, float]
    by_device: bool = False
    counted: bool = False


_COUNTS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
RESOURCES: dict[str, Resource] = {
    resource.name: resource
    for resource in (
        Resource("latency", "s", {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9,
                                  "ps": 1e-12}, by_device=True),
        Resource("energy", "J", {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "nJ": 1e-9,
                                "pJ": 1e-12},
                 by_device=True),
        Resource("size", "B", {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10,
                               "MiB": 2.0**20, "GiB": 2.0**30}, by_device=True, counted=True),
        Resource("macs", "MACs", _COUNTS, counted=True),
        Resource("params", "parameters", _COUNTS, counted=True),
    )
}  # fmt: skip
"""Every resource by name. The first is what a share without a name is of."""

_EXAMPLES = "12ms, 3mJ, 60%, size=2MB, macs=50% or params=1.5M"
_QUANTITY = re.compile(
    r"\s*+((?:[0-9]++(?:\.[0-9]++)?|\.[0-9]++)(?:[eE][-+]?[0-9]++)?)\s*+([a-zA-Zµμ%]*+)\s*+"
)  # possessive, so that a text of any length is told at once


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on one resource.

    Attributes:
        resource: a name in :data:`RESOURCES`.
        value: the bound, in the resource's base unit; or a share in (0, 1].
        share: whether the value is a share of what the unpruned network uses.
        device: name of the device that it holds on; empty for every device of the run.
    """

    resource: str
    value: float
    share: bool = False
    device: str = ""

    def limit(self, original: float) -> float:
        """The bound in base units, for what the unpruned network uses."""
        return self.value * original if self.share else self.value

    def __str__(self) -> str:
        """As :func:`parse_budget` reads it."""
        resource = RESOURCES[self.resource]
        text = f"{self.value * 100:.15g}%" if self.share else _exact(self.value, resource)
        if (self.share and resource.name != "latency") or "" in resource.scales:
            text = f"{resource.name}={text}"
        return f"{self.device}:{text}" if self.device else text


def _exact(value: float, resource: Resource) -> str:
    """A value in the largest unit that it fills, with all its digits."""
    unit, scale = max(
        ((u, s) for u, s in resource.scales.items() if s <= value and "i" not in u),
        key=lambda pair: pair[1],
        default=min(resource.scales.items(), key=lambda pair: pair[1]),
    )
    return f"{value / scale:.15g}{unit}"


def parse_budget(text: str) -> Budget:
    """Read a budget such as ``12ms``, ``60%``, ``size=2MB``, ``macs=50%`` or ``phone:12ms``.

    A unit tells the resource; a share without a name is of latency. What stands before a colon is
    the name of the device that the budget holds on.

    Raises:
        UsageError: the text has no unit, an unknown unit or resource, or a value out of range.
    """
    if not isinstance(text, str):
        raise UsageError(f"Budget {text!r} is no text; write it like {_EXAMPLES}.")
    device, _, bound = text.rpartition(":")
    name, sign, quantity = bound.rpartition("=")
    resource = named("resource", name.strip(), RESOURCES) if sign else None
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise UsageError(f"Budget {text!r} is not a quantity; write it like {_EXAMPLES}.")
    number, unit = match.groups()
    unit = unit.replace("μ", "µ")  # GREEK SMALL LETTER MU -> MICRO SIGN
    share = unit == "%"
    if share:
        resource, value = resource or RESOURCES["latency"], float(number) / 100
    else:
        resource, scale = _unit(text, number, unit, resource)
        value = float(number) * scale
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"Budget {text!r} must be above zero, and a finite number.")
    if share and value > 1:
        raise UsageError(f"Budget {text!r} is above the original; give at most 100%.")
    return Budget(resource.name, value, share, device.strip())


def family_of(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The budgets of each member of a family, where one of the texts lists several.

    ``energy=80%,60%`` is ``energy=80%`` for the first member and ``energy=60%`` for the second; all
    other budgets hold for every member.

    Raises:
        UsageError: two texts list several, or they do not get smaller.
    """
    lists = [text for text in texts if "," in text]
    if not lists:
        return [tuple(texts)]
    if len(lists) > 1:
        raise UsageError(
            f"Only one budget can be a list, and {' and '.join(map(repr, lists))} are; a family "
            "shrinks in one resource."
        )
    members = _members(lists[0])
    return [tuple(member if text == lists[0] else text for text in texts) for member in members]


def _members(text: str) -> list[str]:
    """What a list is of, each with the resource and the device of the first."""
    first, *others = text.split(",")
    head = first[: max(first.rfind("="), first.rfind(":")) + 1]
    members = [first, *(o if {"=", ":"} & set(o) else head + o.strip() for o in others)]
    for earlier, later in itertools.pairwise(map(parse_budget, members)):
        alike = replace(earlier, value=0.0) == replace(later, value=0.0)
        if not alike or earlier.value <= later.value:
            raise UsageError(
                f"The budgets of {text!r} are out of order: {later} after {earlier}. Give bounds "
                "of one kind, the largest first, such as 80%,60%,40%."
            )
    return members


def _unit(text: str, number: str, unit: str, resource: Resource | None) -> tuple[Resource, float]:
    """The resource, and the unit in base units."""
    if resource is not None:
        if unit not in resource.scales:
            known = ", ".join(u or "a plain number" for u in resource.scales)
            raise UsageError(
                f"Budget {text!r} has {f'the unit {unit!r}' if unit else 'no unit'}; "
                f"{resource.name} is given in {known}, or in % of the original."
            )
        return resource, resource.scales[unit]
    if not unit:
        raise UsageError(
            f"Budget {text!r} has no unit; write {number}ms, {number}mJ, or {number}% "
            "(of the measured original)."
        )
    for candidate in RESOURCES.values():
        if unit in candidate.scales and "" not in candidate.scales:
            return candidate, candidate.scales[unit]
    known = ", ".join(dict.fromkeys(u for r in RESOURCES.values() for u in r.scales if u))
    raise UsageError(f"Budget {text!r} has the unknown unit {unit!r}; known: {known}, %.")


def parse_share(text: str, what: str) -> float:
    """A percentage, such as ``5%``, as a share.

    Args:
        text: what was given.
        what: its name, for the error.

    Raises:
        UsageError: it is no percentage, or not above zero and at most 100 %.
    """
    match = _QUANTITY.fullmatch(text)
    value = float(match[1]) / 100 if match and match[2] == "%" else 0.0
    if not 0 < value <= 1:
        raise UsageError(f"{what} {text} must be a percentage above 0 and at most 100, like 5%.")
    return value


_DURATIONS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """A time such as ``90s``, ``10min`` or ``2h``, in seconds.

    Raises:
        UsageError: it is none, or not above zero.
    """
    match = _QUANTITY.fullmatch(text)
    value = float(match[1]) * _DURATIONS.get(match[2], 0.0) if match else 0.0
    if not 0 < value < math.inf:
        raise UsageError(f"{text!r} is no time above zero; write it like 90s, 10min or 2h.")
    return value


def _scaled(value: float, unit: str, steps: tuple[tuple[float, str], ...]) -> str:
    if not value:
        return f"0 {unit}"
    for scale, prefix in steps:
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    scale, prefix = steps[-1]
    return f"{value / scale:.3g} {prefix}{unit}"


_SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def format_seconds(value: float) -> str:
    """Seconds for a person: ``12.3 ms``."""
    return _scaled(value, "s", _SMALL)


def format_joules(value: float) -> str:
    """Joules for a person: ``3.1 mJ``."""
    return _scaled(value, "J", _SMALL)


def format_count(value: float) -> str:
    """A plain count for a person: ``12.3 M``."""
    return _scaled(value, "", ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))).rstrip()


def format_bytes(value: float) -> str:
    """A file size for a person: ``4.2 MB`` (powers of ten)."""
    return _scaled(value, "B", ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")))


_FORMATS = {"s": format_seconds, "J": format_joules, "B": format_bytes}


def format_quantity(value: float, unit: str) -> str:
    """A cost for a person: seconds, joules, bytes, or a count of ``unit``."""
    return _FORMATS[unit](value) if unit in _FORMATS else f"{format_count(value)} {unit}"


def format_cost(value: float, unit: str) -> str:
    """A cost beside its :func:`cost_name`: a count goes without its unit, which the name tells."""
    return format_count(value) if unit in _NAMING else format_quantity(value, unit)


def cost_name(key: str, unit: str) -> str:
    """What a person calls a cost that budgets know by a key: ``MACs`` rather than ``macs``."""
    return unit if unit in _NAMING else key


_NAMING = ("MACs", "parameters")
"""Units that say what they count."""


def format_share(value: float) -> str:
    """A share for a person: ``59.3%``; one near 0 keeps two digits: ``0.0012%``."""
    return f"{value:.1%}" if abs(value) >= 0.001 or not value else f"{value * 100:.2g}%"


def format_metric(value: float, *, share: bool) -> str:
    """A metric for a person: a percentage if it is a share of 1, else the number."""
    return f"{value:.2%}" if share else f"{value:.4g}"

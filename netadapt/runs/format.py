"""A line of the journal: an event as JSON, with the checksum of its bytes at the end."""

import json
import math
import zlib
from collections.abc import Collection, Mapping
from typing import Any

from netadapt.runs.events import Event, Finished, Record, StepTaken, to_json

BEGINS = b'{"event":"Started",'
"""The first bytes of a journal."""

_SUM = b',"crc":"'
_MOST_CORES = 10**6
_YEAR_9999_S = 253_370_764_800


def line_of(record: Record) -> bytes:
    """A record as it is written."""
    text = json.dumps(to_json(record), separators=(",", ":"), allow_nan=False).encode()
    return b'%s%s%08x"}\n' % (text[:-1], _SUM, zlib.crc32(text))


def values_of(line: bytes) -> dict[str, Any]:
    """What a line without its end holds.

    Raises:
        ValueError: it is not as it was written, or holds what cannot have been.
    """
    data = json.loads(_checked(line), parse_float=_finite, parse_constant=_finite)
    if not 0 <= data["time"] < _YEAR_9999_S:
        raise ValueError("there is no such time")
    _require_told(data)
    return data  # type: ignore[no-any-return]


def require_costs(event: Event, keys: Collection[str]) -> None:
    """Refuse an event that tells nothing of what there are budgets of.

    Raises:
        ValueError: a cost is missing.
    """
    costs: list[Mapping[str, Any]] = []
    if isinstance(event, StepTaken):
        costs = [event.step.costs]
    elif isinstance(event, Finished):
        costs = [event.before.costs, event.after.costs]
    if any(key not in cost for key in keys for cost in costs):
        raise ValueError("a cost of which there is a budget is missing")


def _require_told(data: Mapping[str, Any]) -> None:
    """Refuse events whose free mappings lack what is told from them."""
    if data["event"] == "Measured":
        for reading in (*data["readings"].values(), *data["unpruned"].values()):
            numbers = [reading[name] for name in ("value", "p10", "p90", "runs")]
            if not all(isinstance(n, int | float) for n in numbers):
                raise ValueError("a reading that is no number")
            if not isinstance(reading["clock"], str):
                raise ValueError("a reading of no clock")
    elif data["event"] == "Started":
        machine, devices = data.get("machine"), data["settings"].get("devices", {})
        if machine is not None and not {"processor", "cores"} <= set(machine):
            raise ValueError("a machine of no processor")
        counts = [n for name, n in (machine or {}).items() if name in ("cores", "threads")]
        if not all(isinstance(n, int) and 0 < n < _MOST_CORES for n in counts):
            raise ValueError("a machine of no such number of cores")
        if not all(isinstance(told, dict) for told in devices.values()):
            raise ValueError("a device that tells nothing")


def _checked(line: bytes) -> bytes:
    """A line without its checksum, which lines of earlier versions do not have."""
    text, mark, rest = line.rpartition(_SUM)
    if not mark:
        return line
    text += b"}"
    if rest != b'%08x"}' % zlib.crc32(text):
        raise ValueError("the line is not as it was written")
    return text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value

"""What a device answers: lines of ``bench.py``, each of which is looked at before it counts."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from netadapt.errors import DeviceError

Record = Mapping[str, Any]


def parsed(line: bytes | str) -> Record | None:
    """One line of ``bench.py``; None where it is none of its records."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("kind"), str) else None


def sound(record: Record, ids: Collection[str]) -> bool:
    """Whether a record has what its kind promises: of known models, and of finite numbers.

    Args:
        record: of any kind; of an unknown one nothing is asked.
        ids: of the models that were sent.
    """
    kind = record["kind"]
    if kind in ("visit", "energy", "error"):
        name = record.get("id")
        if not isinstance(name, str) or name not in ids:
            return False
    if kind in ("visit", "canary"):
        return _taken(record.get("ns"))
    if kind == "rounds":
        return _rounds(record.get("ns"), ids)
    if kind == "energy":
        return _counted(record.get("joules"))
    if kind in ("error", "fatal"):
        return isinstance(record.get("error"), str) and _words(record.get("providers", []))
    return kind != "info" or _told(record)


def same_device(name: str, before: Record, info: Record) -> dict[str, Any]:
    """What a device says of itself, if it is what it said before.

    Args:
        name: the device.
        before: what it said; empty if it was not asked yet.
        info: what it says now.

    Raises:
        DeviceError: it came back with another processor or runtime.
    """
    for key in ("device", "machine", "runtime", "layout", "block") if before else ():
        if before[key] != info[key]:
            raise DeviceError(
                f"{name} came back as another device ({key} {before[key]}, now {info[key]}), so "
                "that what it measured before cannot be compared with what follows; put back what "
                "there was, or measure all of it anew."
            )
    return dict(info)


def _taken(times: Any) -> bool:
    """Nanoseconds of runs, one at least."""
    return isinstance(times, list) and bool(times) and all(map(_counted, times))


def _rounds(times: Any, ids: Collection[str]) -> bool:
    """Nanoseconds of known models, of each as many."""
    if not isinstance(times, dict) or not all(map(_taken, times.values())):
        return False
    return set(times) <= set(ids) and len({len(taken) for taken in times.values()}) == 1


def _told(info: Record) -> bool:
    """Whether a device tells of itself all that is asked of it."""
    numbers = (info.get("cache_mb"), info.get("load") or 0)
    sensors = info.get("sensors", {})
    return (
        _words([info.get(key) for key in ("device", "machine", "runtime", "layout")])
        and _words([info.get("governor") or "", info.get("sensor", ""), info.get("clock", "")])
        and all(map(_counted, numbers))
        and _degrees(info.get("temperature_c") or 0)
        and all(_whole(info.get(key)) for key in ("block", "processors"))
        and info.get("saturates") in (True, False, None)
        and _words(info.get("providers", []))
        and isinstance(sensors, dict)
        and _words([*sensors.values()])
    )


def _words(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096


def _degrees(value: Any) -> bool:
    return isinstance(value, (int, float)) and -274 < value < 1e4


def _counted(value: Any) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and 0 <= value < 1e18

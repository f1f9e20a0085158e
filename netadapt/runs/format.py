"""A line of the journal: an event as JSON, with the checksum of its bytes at the end."""

import json
import math
import zlib
from typing import Any

from netadapt.runs.events import Record, to_json

BEGINS = b'{"event":"Started",'
"""The first bytes of a journal."""

_SUM = b',"crc":"'
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
    return data  # type: ignore[no-any-return]


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

"""Settings from TOML and flags: unknown names, wrong types and wrong units, all told at once."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from netadapt.config.check import RANGES, check, number_text
from netadapt.config.run import RunConfig
from netadapt.config.rungs import Rung, parse_rung
from netadapt.config.settings import NOTHING, Setting, settings
from netadapt.errors import Fault, SettingsError, UsageError, nearest
from netadapt.units import Budget, parse_budget, parse_share


def load_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the settings {path}: {error.strerror}.") from error
    except RecursionError:
        raise UsageError(f"The settings {path} are not TOML: they are nested too deep.") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise UsageError(f"The settings {path} are not TOML: {error}.") from error


def read_config(values: Mapping[str, Any], source: str = "", *, budgeted: bool = True) -> RunConfig:
    """Settings from nested tables of plain values, as TOML gives them.

    Args:
        values: as in :class:`RunConfig`, but budgets are texts such as ``size=2MB``, devices a list
            of URIs or a table of names and URIs, and a number may be a text such as ``5%``.
        source: the file that they are in, for errors.
        budgeted: whether a budget is needed.

    Raises:
        SettingsError: something is wrong; it tells all.
    """
    faults: list[Fault] = []
    if not isinstance(values, Mapping):
        raise SettingsError([Fault("settings", f"are {_shown(values)}; they must be a table.")])
    config = _table(NOTHING, values, "", faults)
    told = [fault.setting for fault in faults]
    later = check(config, budgeted=budgeted)
    faults += [f for f in later if not any(_within(path, f.setting) for path in told)]
    if faults:
        raise SettingsError(faults, source)
    return config  # type: ignore[no-any-return]


def _within(path: str, setting: str) -> bool:
    """Whether a path is that of a setting, or of something in it."""
    return path == setting or path.startswith((f"{setting}.", f"{setting}["))


def _table(default: Any, values: Mapping[str, Any], table: str, faults: list[Fault]) -> Any:
    """The defaults of a table with the values in place; what is wrong is told, and left out."""
    known = {s.name: s for s in settings(default, table) if s.table == table}
    read = {}
    for name, value in values.items():
        try:
            if name not in known:
                raise _Wrong(_unknown(name, table, list(known)))
            setting = known[name]
            if setting.is_table:
                inner = _expect(Mapping, value, "a table")
                read[name] = _table(setting.default, inner, setting.path, faults)
            else:
                read[name] = _READERS.get(setting.path, _plain)(setting, value, faults)
        except _Wrong as wrong:
            faults.append(Fault(f"{table}.{name}" if table else name, str(wrong)))
    try:
        return replace(default, **read)
    except UsageError as error:  # two settings that exclude each other
        faults.append(Fault(table, f"is refused: {error}"))
        return default


class _Wrong(Exception):
    """A value is not what its setting takes; says the rest of the fault's sentence."""


def _expect(kind: Any, value: Any, expected: str) -> Any:
    """The value, if it is of the kind; a truth value is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _Wrong(f"is {_shown(value)}; it must be {expected}.")
    return value


def _shown(value: Any) -> str:
    """A value as TOML has it, but short."""
    if isinstance(value, Mapping):
        return "a table"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


_NOTHING_OF = re.compile(r"0(\.0+)?%?")
"""No share at all, which is none that :func:`parse_share` reads."""


def _plain(setting: Setting, value: Any, faults: list[Fault]) -> Any:
    """A truth value, number, text or path."""
    kind = next(k for k in (*get_args(setting.hint), setting.hint) if k is not type(None))
    if kind is bool:
        return _expect(bool, value, "true or false")
    if kind is int:
        return _expect(int, value, "a whole number")
    if kind is str:
        return _expect(str, value, "a text")
    if kind is Path:
        path = str(_expect((str, Path), value, "the path of a file or folder"))
        if not path or "\0" in path:
            raise _Wrong(f"is {_shown(path)}; it must be the path of a file or folder.")
        return Path(path)
    if setting.name.endswith("_s"):
        return _expect((int, float), value, "a number of seconds")
    expected = "a number, or a percentage above 0 and at most 100 such as '5%'"
    if isinstance(value, str):
        if _NOTHING_OF.fullmatch(value) and 0 in RANGES.get(setting.path, ()):
            return 0.0
        try:
            return parse_share(value, setting.path)
        except UsageError:
            return _expect(float, value, expected)
    number = _expect((int, float), value, expected)
    # A schedule refuses what it cannot be, without telling which: its numbers are told here.
    allowed = RANGES.get(setting.path) if setting.table == "schedule" else None
    if allowed is not None and number not in allowed:
        raise _Wrong(f"is {number_text(number)}; it must be {allowed}.")
    return number


def _model_args(setting: Setting, value: Any, faults: list[Fault]) -> Any:
    return dict(_expect(Mapping, value, "a table"))


def _budgets(setting: Setting, value: Any, faults: list[Fault]) -> tuple[Budget, ...]:
    texts = [value] if isinstance(value, str) else value
    read = []
    for number, text in enumerate(_expect((list, tuple), texts, "a list such as ['60%', '12ms']")):
        try:
            read.append(parse_budget(_expect(str, text, "a text such as '60%' or 'size=2MB'")))
        except (_Wrong, UsageError) as error:
            reason = str(error) if isinstance(error, _Wrong) else f"is refused: {error}"
            faults.append(Fault(f"{setting.path}[{number}]", reason))
    return tuple(read)


_NAMED_DEVICE = re.compile(r"([\w.-]+)=(.+)")


def _devices(setting: Setting, value: Any, faults: list[Fault]) -> dict[str, str]:
    expected = "a list of URIs such as ['ort:cpu'], or a table of names and URIs"
    listed = [value] if isinstance(value, str) else value
    if isinstance(listed, Mapping):
        return {name: _expect(str, uri, expected) for name, uri in listed.items()}
    devices: dict[str, str] = {}
    for item in _expect((list, tuple), listed, expected):
        uri = _expect(str, item, "a URI")
        match = _NAMED_DEVICE.fullmatch(uri)
        name, uri = (match[1], match[2]) if match else (uri, uri)
        if name in devices:
            raise _Wrong(f"has two devices of the name {name!r}; give each another, as NAME=URI.")
        devices[name] = uri
    return devices


def _rungs(setting: Setting, value: Any, faults: list[Fault]) -> tuple[Rung, ...]:
    texts = value.split(",") if isinstance(value, str) else value
    expected = "a list such as ['4:10%', '2:100%']"
    try:
        return tuple(
            parse_rung(_expect(str, text, "a text such as '4:10%'"))
            for text in _expect((list, tuple), texts, expected)
        )
    except UsageError as error:
        raise _Wrong(f"is refused: {error}") from error


def _workers(setting: Setting, value: Any, faults: list[Fault]) -> str:
    """A number of processes may be written as one."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole else _expect(str, value, "a number of processes, or a text")


_READERS = {
    "budgets": _budgets, "devices": _devices, "model_args": _model_args, "rungs": _rungs,
    "execution.workers": _workers,
}  # fmt: skip
"""Settings that are more than a plain value."""


def _unknown(name: str, table: str, known: list[str]) -> str:
    """Where a name that is no setting of a table may have been meant to be."""
    where = f"the table [{table}]" if table else "the top of the settings"
    places = list(_places(name))
    if places:
        return f"is no setting of {where}; it belongs to {' or '.join(places)}."
    near = nearest(str(name), known)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}."
    return f"is no setting of {where}; {hint}"


def _places(name: str) -> Iterator[str]:
    """The tables that have a setting of that name."""
    for setting in settings():
        if setting.name == name:
            yield f"[{setting.table}]" if setting.table else "the top"

"""Settings that are of another kind than their class says, such as a text in place of a number."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from netadapt.errors import Fault

_WORDS = {
    bool: "True or False", int: "a whole number", float: "a number", str: "a text",
    Path: "a pathlib.Path", tuple: "a tuple", Mapping: "a mapping", type(None): "None",
}  # fmt: skip


def of_wrong_kind(value: Any, hint: Any, path: str = "") -> Iterator[Fault]:
    """What is of another kind than a type says, within a dataclass, mapping or tuple too.

    Args:
        value: anything.
        hint: the type of a setting, or of all of them.
        path: the setting; empty for all.
    """
    origin = get_origin(hint)
    choices = get_args(hint) if origin in (Union, types.UnionType) else (hint,)
    fitting = [choice for choice in choices if _is(value, choice)]
    if not fitting:
        shown = f"{value!r:.40}" if isinstance(value, (str, int, float)) else _article(type(value))
        expected = " or ".join(map(_word, choices))
        yield Fault(path or "settings", f"is {shown}; it must be {expected}.")
        return
    yield from _within(value, fitting[0], path)


def _within(value: Any, hint: Any, path: str) -> Iterator[Fault]:
    """The same of what a value holds."""
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        for name in (field.name for field in fields(hint)):
            place = f"{path}.{name}" if path else name
            yield from of_wrong_kind(getattr(value, name), hints[name], place)
    elif get_origin(hint) is tuple:
        for number, item in enumerate(value):
            yield from of_wrong_kind(item, get_args(hint)[0], f"{path}[{number}]")
    elif get_origin(hint) is Mapping:
        keys, values = get_args(hint)
        for key, item in value.items():
            yield from of_wrong_kind(key, keys, path)
            yield from of_wrong_kind(item, values, f"{path}.{key}")


def _is(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind is Any:
        return True
    if isinstance(value, bool):
        return kind is bool
    allowed = {float: (int, float), tuple: (tuple, list)}.get(kind, kind)
    return isinstance(value, allowed)


def _word(hint: Any) -> str:
    kind = get_origin(hint) or hint
    return _WORDS.get(kind) or _article(kind)


def _article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOUaeiou' else 'a'} {kind.__name__}"

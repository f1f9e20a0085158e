"""The user's own code, named ``package.module:callable`` wherever a name of ours is accepted."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from netadapt.errors import UnknownName, UsageError

T = TypeVar("T")


def lookup(what: str, name: str, registry: Mapping[str, T]) -> T:
    """What a name stands for: one of ours, or the user's own ``package.module:callable``.

    Raises:
        UnknownName: it is neither.
        UsageError: the user's code cannot be imported, or is not callable.
    """
    if name in registry:
        return registry[name]
    if ":" in name:
        return user_callable(name, what=what)  # type: ignore[return-value]
    raise UnknownName(what, name, registry, "Also accepted: package.module:callable.")


def user_callable(reference: str, *, what: str) -> Callable[..., Any]:
    """Import ``package.module:callable``; the working directory is searched last.

    Raises:
        UsageError: it cannot be imported, or is not callable; ``what`` says what it was to be.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"The {what} {reference!r} must be written package.module:callable.")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # a console script, unlike python -m, does not search it
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"The {what} {reference!r} cannot be imported: {error}; check its spelling and that "
            "its package is installed or below the working directory."
        ) from error
    if not callable(found):
        raise UsageError(
            f"The {what} {reference!r} is a {type(found).__name__}, not a callable; name a "
            f"function that returns the {what}."
        )
    return found  # type: ignore[no-any-return]


def accepted(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that the function names, or all if it takes any keyword."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}

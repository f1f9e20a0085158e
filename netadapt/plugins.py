"""The user's own code, named ``package.module:callable`` wherever a name of ours is accepted.

Whatever goes wrong in it is told as one sentence with the file and line where it did.
"""

import functools
import importlib
import inspect
import os
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from netadapt.errors import NetAdaptError, UnknownName, UsageError

T = TypeVar("T")

HINT = "Also accepted: package.module:callable of your own."
IMPORT_LIMIT_S = 60
"""How long a module of the user may take to import, before it is taken for one that hangs."""


def lookup(what: str, name: str, registry: Mapping[str, T], hint: str = HINT) -> T:
    """What a name stands for: one of ours, or the user's own ``package.module:callable``.

    Raises:
        UnknownName: it is neither; arguments as there.
        UsageError: the user's code cannot be imported, or is not callable.
    """
    if name in registry:
        return registry[name]
    if ":" in name:
        return user_callable(name, what=what)  # type: ignore[return-value]
    raise UnknownName(what, name, registry, hint)


def user_callable(reference: str, *, what: str) -> Callable[..., Any]:
    """Import ``package.module:callable``; the working directory is searched last.

    Raises:
        UsageError: it cannot be imported, or is not callable; ``what`` says what it was to be. The
            callable itself raises this for any error within it that is not one of ours.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"The {what} {reference!r} must be written package.module:callable.")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # a console script, unlike python -m, does not search it
    value: Any = _module(module_name, reference, what)
    try:
        for part in attribute.split("."):
            value = getattr(value, part)
    except AttributeError as error:
        raise _unknown(what, reference, error) from error
    if not callable(value):
        raise UsageError(
            f"The {what} {reference!r} is a {type(value).__name__}, not a callable; name a "
            f"function that returns the {what}."
        )
    return _guarded(value, reference, what)


def accepted(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that the function names, or all if it takes any keyword."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


@contextmanager
def own_code(what: str, error: type[UsageError] = UsageError) -> Iterator[None]:
    """Tell whatever goes wrong in the user's code within as one sentence with its file and line.

    Args:
        what: what was tried, as the subject of that sentence.
        error: its class.

    Raises:
        UsageError: something went wrong in code that is neither ours nor of an installed package.
    """
    try:
        with redirect_stdout(sys.stderr):  # what it prints must not mix with results
            yield
    except NetAdaptError:
        raise
    except (Exception, SystemExit) as failure:
        if not blamed(failure):
            raise
        raise error(f"{what} failed: {_told(failure)}.") from failure


def blamed(error: BaseException) -> str:
    """An error with the user's file and line, if it arose in or below code of theirs; or nothing.

    Theirs is what lies neither in netadapt, nor in Python, nor in an installed package.
    """
    return _told(error) if _own_frames(error) else ""


def _module(name: str, reference: str, what: str) -> Any:
    try:
        with redirect_stdout(sys.stderr), _limited():
            return importlib.import_module(name)
    except NetAdaptError:
        raise
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise _unknown(what, reference, error) from error
        raise UsageError(
            f"The {what} {reference!r} cannot be imported: {_told(error)}; mend it there."
        ) from error


@contextmanager
def _limited() -> Iterator[None]:
    """Raise ``TimeoutError`` where the code within hangs; only the main thread can be told to."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"it hangs, or takes more than {IMPORT_LIMIT_S} s to import")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, IMPORT_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _unknown(what: str, reference: str, error: BaseException) -> UsageError:
    return UsageError(
        f"The {what} {reference!r} cannot be imported: {error}; check its spelling and that its "
        "package is installed or below the working directory."
    )


def _guarded(function: Callable[..., Any], reference: str, what: str) -> Callable[..., Any]:
    """The function, with errors that arise within it told as one sentence."""

    @functools.wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            with redirect_stdout(sys.stderr):
                return function(*args, **kwargs)
        except NetAdaptError:
            raise
        except (Exception, SystemExit) as error:
            frames = error.__traceback__
            if frames is not None and frames.tb_next is None and isinstance(error, TypeError):
                raise  # it was not even entered: the arguments do not fit
            raise UsageError(f"The {what} {reference!r} failed: {_told(error)}.") from error

    return call


def _told(error: BaseException) -> str:
    """An error with its file and line: the innermost that no installed package answers for."""
    said = f"{type(error).__name__}: {error}".rstrip(": ").split("\n")[0][:400]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {said}"
    frames = _own_frames(error) or traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}: {said}" if frames else said


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where the error passed through code of the user, outermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in frames if not f.filename.startswith((*_INSTALLED, "<"))]


_INSTALLED = (
    str(Path(__file__).parent),
    *(sysconfig.get_path(key) for key in ("stdlib", "purelib", "platlib")),
)

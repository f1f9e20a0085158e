"""What ends a command from outside, and what is said of going on afterwards."""

import signal
import threading
from collections.abc import Sequence
from types import FrameType

_ENDING = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP


def as_interrupts() -> None:
    """Let a command end by SIGTERM and SIGHUP as by Ctrl-C: locks released, helpers ended.

    What is ignored, as by ``nohup``, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)


def as_one_interrupt() -> None:
    """The same for one of several processes, to which their keeper passes on what it is sent.

    What comes after the first signal, most often the same again, does not disturb the ending.
    """
    as_interrupts()
    if threading.current_thread() is threading.main_thread():
        for number in _handled():
            signal.signal(number, _interrupt_once)


def deaf() -> None:
    """Let no signal disturb what is left to do at the end."""
    if threading.current_thread() is threading.main_thread():
        for number in _handled():
            signal.signal(number, signal.SIG_IGN)


def _handled() -> list[int]:
    """Signals that are interrupts here."""
    numbers = [getattr(signal, name, None) for name in ("SIGINT", *_ENDING)]
    ours = (signal.default_int_handler, _interrupt, _interrupt_once)
    return [n for n in numbers if n is not None and signal.getsignal(n) in ours]


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    deaf()
    raise KeyboardInterrupt


def continuing(given: Sequence[str]) -> str:
    """What is kept of an interrupted command, and how to go on.

    Args:
        given: the words of the command line.
    """
    words = [word for word in given if not word.startswith("-")]
    if words[:1] == ["adapt"] and "--dry-run" not in given:
        same = "the same command without --fresh" if "--fresh" in given else "the same command"
        return f"What was finished is kept: {same} continues."
    if words[:1] == ["train"]:
        return "The same command continues from the last checkpoint, if there was one yet."
    if words[:2] == ["table", "build"]:
        return "The rows that were measured are kept: the same command continues."
    return "Nothing of it is kept: the same command begins again."

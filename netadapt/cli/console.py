"""What a person sees while a run goes on, on stderr; or a program, on stdout.

On a terminal, lines for what is done above one table of what goes on. Elsewhere lines alone, and
one at least every 30 s.
"""

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from typing import Any

import click

from netadapt.cli.news import News
from netadapt.runs.events import Event, Record, to_json
from netadapt.runs.progress import Progress
from netadapt.runs.watch import Watch

SILENCE_S = 30.0
"""The longest time without a line where there is no terminal."""


class Console:
    """Shows events; use as a context manager.

    Args:
        quiet: show nothing.
        verbose: a line for every trial and measurement too.
        json_lines: instead of all this, every event as one line of JSON on stdout.
        silence_s: the longest time without a line where there is no terminal.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, json_lines: bool = False,
        silence_s: float = SILENCE_S,
    ) -> None:  # fmt: skip
        self._quiet, self._json = quiet, json_lines
        self._news, self._watch = News(verbose=verbose), Watch()
        self._silence_s, self._spoke_s = silence_s, time.monotonic()
        self._lock, self._end = threading.RLock(), threading.Event()
        self._live: Any = None
        # What a user's own code prints must not mix with results.
        self._results, self._aside = sys.stdout, ExitStack()
        self._pulse: threading.Thread | None = None

    def __enter__(self) -> "Console":
        self._aside.enter_context(redirect_stdout(sys.stderr))
        if self._quiet or self._json:
            return self
        self._aside.enter_context(_heard(self._remark))
        if sys.stderr.isatty():
            self._live = _live_table(self._table)
            self._live.start()
        else:
            self._pulse = threading.Thread(target=self._beat, daemon=True)
            self._pulse.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._aside.close()
        self._end.set()
        if self._live is not None:
            self._live.stop()
        if self._pulse is not None:
            self._pulse.join()

    def __call__(self, event: Event | Progress) -> None:
        """Show one event."""
        if self._json:
            click.echo(_json_line(event), file=self._results)
            return
        if self._quiet:
            return
        with self._lock:
            self._watch.note(event, time.time())
            text = "" if isinstance(event, Progress) else self._news.text(event)
            if text:
                self._line(text)

    def recall(self, records: Sequence[Record]) -> None:
        """Take in what happened before a run is continued, without showing it."""
        with self._lock:
            for record in records:
                self._news.recall(record.event)
                self._watch.note(record.event, record.time)

    def counter(self, what: str) -> Callable[[int, int], None]:
        """A callback of (done, total) that shows how far something is."""

        def show(done: int, total: int) -> None:
            self(Progress(what, done, total))

        return show

    def _remark(self, text: str) -> None:
        """Show what the library has to say of files."""
        with self._lock:
            self._line(text)

    def _line(self, text: str) -> None:
        self._spoke_s = time.monotonic()
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def _beat(self) -> None:
        """Break every long silence."""
        while not self._end.wait(max(0.01, self._spoke_s + self._silence_s - time.monotonic())):
            with self._lock:
                if time.monotonic() - self._spoke_s >= self._silence_s:
                    with suppress(OSError):  # whoever read stderr has gone; the run goes on
                        self._line(f"...       {self._watch.line(time.time())}")

    def _table(self) -> Any:
        """What goes on; drawn anew at every refresh, in whatever width there is."""
        from rich.table import Table
        from rich.text import Text

        from netadapt.carbon.sofar import energy_so_far

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(overflow="ellipsis", no_wrap=True)
        with self._lock:
            rows = [*self._watch.rows(time.time()), ("energy", energy_so_far(self._watch))]
        for label, value in rows:
            table.add_row(Text(label), Text(value))
        return table


@contextmanager
def _heard(tell: Callable[[str], None]) -> Iterator[None]:
    """Hear what the library logs, be it a warning or not."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    handler, logger = Handler(), logging.getLogger("netadapt")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def _live_table(table: Callable[[], Any]) -> Any:
    from rich.console import Console as RichConsole
    from rich.live import Live

    return Live(
        get_renderable=table, console=RichConsole(stderr=True), refresh_per_second=4,
        transient=True, redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip


def _json_line(event: Event | Progress) -> str:
    import json

    now_s = time.time()
    if isinstance(event, Progress):
        news = asdict(event)
        if event.loss is not None and not math.isfinite(event.loss):
            news["loss"] = None  # JSON has no word for it
        return json.dumps({"event": "Progress", "time": now_s, **news}, allow_nan=False)
    return json.dumps(to_json(Record(now_s, event)), allow_nan=False)

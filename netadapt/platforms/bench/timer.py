"""The clock that models are timed by, and the order in which they are visited."""

from __future__ import annotations

import base64
import gc
import random
import time
from contextlib import suppress
from typing import Any, Callable, Iterator, Sequence  # noqa: UP035 - Python 3.8 has no other

from .host import available_bytes, resident_bytes
from .sessions import open_session

CANARY_EVERY = 24  # visits
RENEW = 3  # times what it takes to open models, until they are opened anew

Emit = Callable[[Any], None]


class Entry:
    """One model: its session while that is open, and how far it has come."""

    def __init__(self, line: dict[str, Any], passes: int) -> None:
        self.id = line["id"]
        self.line = line
        self.passes = int(line.get("passes", passes))
        self.run_ns = 0
        self.failed = False
        self.session: Any = None
        self.feed: dict[str, Any] = {}

    def model(self) -> Any:
        """Path or bytes."""
        return self.line["path"] if "path" in self.line else base64.b64decode(self.line["model"])


class Timer:
    """Sessions under one set of settings, and the clock that they are timed by."""

    def __init__(self, settings: dict[str, Any], emit: Emit) -> None:
        self.settings = settings
        self.emit = emit
        self.alone = settings["threads"] != 1 or settings["provider"] != "cpu"
        self.clock = time.perf_counter_ns if self.alone else time.thread_time_ns
        self.random = random.Random(settings["seed"])
        self.inputs: dict[tuple[Any, ...], Any] = {}
        self.started_s = time.perf_counter()
        self.run_s = 0.0
        self.renewal_s = float("inf")  # of runs, at which models are opened anew
        self.visits = 0
        self.lost = 0  # readings of no time at all
        self.canary: Entry | None = None
        if settings["canary"]:
            self.canary = Entry({"id": "canary", "model": settings["canary"]}, 0)

    def measure(self, lines: list[dict[str, Any]]) -> float:
        """Visit every model in every pass; the seconds spent in timed and warm-up runs."""
        waiting = [Entry(line, self.settings["passes"]) for line in lines]
        gc.disable()  # a collection would fall into some model's time
        while waiting and not self.late():
            chunk = self.load(waiting)
            waiting = waiting[len(chunk) :]
            spread_s = 0.0 if waiting else self.settings["spread_s"]
            for order in self.orders([entry for entry in chunk if not entry.failed], spread_s):
                for entry in order:
                    if self.late():
                        break
                    self.visit(entry)
            del chunk
            gc.collect()
        return self.run_s

    def late(self) -> bool:
        """Whether the time limit has passed."""
        return self.left_s() < 0

    def left_s(self) -> float:
        """Seconds until the time limit; infinite without one."""
        limit_s = self.settings["time_limit_s"]
        if limit_s is None:
            return float("inf")
        return float(limit_s) - (time.perf_counter() - self.started_s)

    def orders(self, chunk: list[Entry], spread_s: float = 0.0) -> Iterator[list[Entry]]:
        """The models of each pass in the order of their visits, until all have enough.

        Once all have, passes go on until they have been visited for ``spread_s``.
        """
        done, began_s = 0, time.perf_counter()
        while not self.late():
            floor_ns = self.settings["min_seconds"] * 1e9
            early = time.perf_counter() - began_s < spread_s
            order = [
                e for e in chunk
                if not e.failed and (e.passes > done or e.run_ns < floor_ns or early)
            ]  # fmt: skip
            if not order:
                return
            if done:
                self.random.shuffle(order)
            yield order
            done += 1

    def load(self, waiting: list[Entry]) -> list[Entry]:
        """As many models, from the front, as memory can hold; all, if each is opened alone.

        Opening takes at most half of the time that is left: what is opened is to be measured too.
        """
        if self.alone:
            return list(waiting)
        limit = min(self.settings["keep_mb"] * 1e6, 0.4 * available_bytes())
        began_s = time.perf_counter()
        before, least_s = resident_bytes(), self.left_s() / 2
        chunk = []
        for entry in waiting:
            chunk.append(entry)
            self.open(entry)
            used = resident_bytes() - before if before else len(chunk) * 1e7
            if used > limit or self.left_s() < least_s:
                break
        self.renewal_s = self.run_s + RENEW * (time.perf_counter() - began_s)
        return chunk

    def renew(self, entries: Sequence[Entry]) -> None:
        """Open models anew, once they have run for three times as long as that takes.

        A session keeps the memory that it found, and with it a time that is a percent off that of
        another session of the same model. One that does not run leaves the present one in place.
        """
        if self.run_s < self.renewal_s:
            return
        began_s = time.perf_counter()
        for entry in entries:
            with suppress(Exception):
                session = open_session(self.settings, entry.model())
                for _ in range(self.settings["warmups"]):
                    session.run(None, entry.feed)
                entry.session = session
        self.renewal_s = self.run_s + RENEW * (time.perf_counter() - began_s)

    def open(self, entry: Entry) -> bool:
        """Make the session; false, and a line that says why, if the model cannot be loaded."""
        try:
            entry.session = open_session(self.settings, entry.model())
            entry.feed = {
                i.name: self.input(i.name, i.shape, i.type) for i in entry.session.get_inputs()
            }
        except Exception as error:
            self.fail(entry, error)
        return not entry.failed

    def fail(self, entry: Entry, error: Exception) -> None:
        """Give one model up."""
        entry.failed, entry.session = True, None
        self.emit({"kind": "error", "id": entry.id, "error": str(error)[:2000]})

    def input(self, name: str, shape: list[Any], kind: str) -> Any:
        """Random numbers in 0..1, or zeros for integers; open dimensions are the batch size."""
        import numpy

        dims = tuple(d if isinstance(d, int) and d > 0 else self.settings["batch"] for d in shape)
        key = (dims, kind)
        if key not in self.inputs:
            dtype = {"tensor(float)": "float32", "tensor(double)": "float64"}.get(kind)
            if dtype is None:
                dtype = {"tensor(float16)": "float16"}.get(kind, kind[len("tensor(") : -1])
                self.inputs[key] = numpy.zeros(dims, dtype)
            else:
                values = numpy.random.RandomState(self.settings["seed"]).rand(*dims)
                self.inputs[key] = values.astype(dtype)
        return self.inputs[key]

    def visit(self, entry: Entry) -> None:
        """Warm one model up and time its runs."""
        if self.canary is not None and self.visits % CANARY_EVERY == 0:
            samples = self.timed(self.canary, 4)
            if samples:
                at_s = time.perf_counter() - self.started_s
                self.emit({"kind": "canary", "ns": samples, "at_s": round(at_s, 3)})
        self.visits += 1
        samples = self.timed(entry, self.settings["bursts"] * self.settings["runs"])
        if samples:
            self.emit({"kind": "visit", "id": entry.id, "ns": samples})

    def warm_up(self, entry: Entry) -> int:
        """Run a model that is open without counting; nanoseconds of the last run, 0 if none."""
        taken = 0
        for _ in range(self.settings["warmups"]):
            taken = self.once(entry)
        return taken

    def once(self, entry: Entry) -> int:
        """Nanoseconds of one run of a model that is open; 0 if it fails, or has failed."""
        if entry.failed:
            return 0
        clock = self.clock
        began_s = time.perf_counter()
        try:
            start = clock()
            entry.session.run(None, entry.feed)
            taken = int(clock() - start)
        except Exception as error:
            self.fail(entry, error)
            return 0
        self.run_s += time.perf_counter() - began_s
        return taken

    def timed(self, entry: Entry, runs: int) -> list[int]:
        """Nanoseconds of each run; empty if the model fails."""
        if entry.failed or (entry.session is None and not self.open(entry)):
            return []
        run, feed, clock, samples = entry.session.run, entry.feed, self.clock, []
        began_s = time.perf_counter()
        try:
            for _ in range(self.settings["warmups"]):
                run(None, feed)
            for _ in range(2 * runs):
                start = clock()
                run(None, feed)
                taken = clock() - start
                self.lost += taken <= 0  # the thread clock of a virtual machine may stand still
                if taken > 0:
                    samples.append(taken)
                if len(samples) == runs:
                    break
        except Exception as error:
            self.fail(entry, error)
            return []
        self.run_s += time.perf_counter() - began_s
        entry.run_ns += sum(samples)
        if self.alone:
            entry.session = None
            del run  # the last reference: the session and its thread pool end here
        return samples

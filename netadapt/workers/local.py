"""A worker that is a process on this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection

from netadapt.runs import Outcome, Progress, Trial
from netadapt.workers.bench import Bench, Failure
from netadapt.workers.desks import WorkerLost

_STARTING = threading.Lock()
_WAIT = "OMP_WAIT_POLICY"


class LocalWorker:
    """A process that was started anew ("spawn"), so that it holds nothing of the run's.

    Args:
        trainer: what it trains on; empty for what the job says.
    """

    def __init__(self, trainer: str = "") -> None:
        self._trainer = trainer
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # No daemon: those may have no children, and data are read by processes too.
        self._process = context.Process(target=serve, args=(theirs,))
        with _patient_threads():
            self._process.start()
        theirs.close()

    def begin(self, trial: Trial) -> None:
        """See :class:`netadapt.workers.desks.Worker`."""
        if self._trainer:
            trial = replace(trial, job=replace(trial.job, trainer=self._trainer))
        try:
            self._pipe.send(trial)
        except OSError as error:
            raise self._lost() from error

    def hear(self, timeout_s: float) -> Progress | Outcome | None:
        """See :class:`netadapt.workers.desks.Worker`."""
        try:
            said = self._pipe.recv() if self._pipe.poll(timeout_s) else None
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(said, Failure):
            raise said.error()
        return said

    def end(self) -> None:
        """See :class:`netadapt.workers.desks.Worker`."""
        self._process.kill()
        self._process.join()

    def _lost(self) -> WorkerLost:
        """How its process ended."""
        self.end()
        code = self._process.exitcode or 0
        if code < 0:
            return WorkerLost(f"was ended by {signal.Signals(-code).name}")
        return WorkerLost(f"ended by itself with exit code {code}")


def serve(pipe: Connection) -> None:
    """Try what comes through the pipe, until whoever is at its other end has gone.

    The life of the process: the function that a worker starts with.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the run ends its workers
    os.dup2(2, 1)  # what a user's own code prints must not mix with results
    threading.Thread(target=_leave_with_the_run, daemon=True).start()
    bench = Bench()
    while True:
        try:
            pipe.send(bench.tried(pipe.recv(), pipe.send))
        except (EOFError, OSError):
            return


def _leave_with_the_run() -> None:
    """End this process as soon as the run's has ended, in whatever way, whatever goes on here."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _patient_threads() -> Iterator[None]:
    """Let a process that starts within have threads that sleep while they wait for each other.

    Several processes on the same cores would else spend their time waiting. It must be known when
    the process starts, and changes no result.
    """
    with _STARTING:
        given = os.environ.get(_WAIT)
        os.environ.setdefault(_WAIT, "passive")
        try:
            yield
        finally:
            if given is None:
                del os.environ[_WAIT]

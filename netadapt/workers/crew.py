"""Has candidates tried side by side, and puts up with workers that die or hang.

    trials -> a thread for each worker (concurrent.futures) -> outcomes, in the order they come

What a worker is, a process here or an actor of a Ray cluster, is told by :class:`Worker`. Nothing
here decides a result: who tries a candidate, when, and how often, changes none of its bits on CPUs.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Event
from time import monotonic

from netadapt.errors import WorkerError
from netadapt.runs import Outcome, Progress, Stopwatch, Trial
from netadapt.workers.desks import Desk, Desks, SeatLost, Worker, WorkerLost
from netadapt.workers.patience import Patience

TRIES = 3
"""How often a trial is begun before its candidate is out."""

PULSE_S = 0.5
"""How often whoever listens to a worker looks up."""

Attempt = Callable[[Sequence[Trial]], Iterator[Outcome]]
"""Tries candidates, in any order: the seam between the search and who does its work."""

Tried = Outcome | str
"""What came of a trial; of one that was begun too often, why, as a sentence."""

News = Progress | str | Future[Tried]
"""What the threads tell the run's own: passing news, a warning, or a trial that is over."""


@dataclass
class Crew:
    """Workers of a run; use as a context manager, which ends them all.

    Attributes:
        desks: where the workers sit.
        patience: how long one may be silent.
        notify: told of their progress.
        warn: told of each that was lost.
        watch: tells the time, and the energy, between one outcome and the next.
    """

    desks: Desks
    patience: Patience = field(default_factory=Patience)
    notify: Callable[[Progress], None] = lambda news: None
    warn: Callable[[str], None] = lambda text: None
    watch: Stopwatch = field(default_factory=Stopwatch)
    _over: Event = field(default_factory=Event, init=False, repr=False)

    def __enter__(self) -> "Crew":
        self._pool = ThreadPoolExecutor(len(self.desks), "worker")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.desks.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __call__(self, trials: Sequence[Trial]) -> Iterator[Outcome]:
        """Try candidates side by side.

        Yields:
            What came of each, as it comes. Its time and energy are what passed since the outcome
            before, so that those of all add up to what the run took.

        Raises:
            WorkerError: not one was tried, because their workers were lost.
            NetAdaptError: what ends a run in its own process too.
        """
        outcomes = self._outcomes(trials)
        while True:
            with self.watch.lap() as lap:
                outcome = next(outcomes, None)
            if outcome is None:
                return
            phases = [lap.phase(p.name, p.images, p.scored) for p in outcome.phases[:1]]
            yield replace(outcome, phases=tuple(phases))

    def _outcomes(self, trials: Sequence[Trial]) -> Iterator[Outcome]:
        """Those of candidates whose workers were lost come last."""
        lost: list[Outcome] = []
        for trial, tried in self._told(trials):
            if isinstance(tried, Outcome):
                yield tried
            else:
                lost.append(Outcome(trial.index, trial.rung, 0.0, {}, failed=tried))
        if lost and len(lost) == len(trials):
            raise WorkerError(f"No candidate could be tried. {lost[0].failed}")
        yield from lost

    def _told(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Tried]]:
        """What the threads tell, passed on in the run's own thread."""
        news: SimpleQueue[News] = SimpleQueue()
        futures = {self._pool.submit(self._tried, trial, news.put): trial for trial in trials}
        for future in futures:
            future.add_done_callback(news.put)
        waiting = len(futures)
        try:
            while waiting:
                item = news.get()
                if isinstance(item, Progress):
                    self.notify(item)
                elif isinstance(item, str):
                    self.warn(item)
                else:
                    waiting -= 1
                    yield futures[item], item.result()
        finally:
            for future in futures:
                future.cancel()

    def _tried(self, trial: Trial, tell: Callable[[News], None]) -> Tried:
        """Have a trial tried, at whichever desk comes to its end; in a thread of its own."""
        lost: list[str] = []
        while len(lost) < TRIES:
            desk = self.desks.take(trial.index, avoid=lost)
            try:
                outcome = self._tried_at(desk, trial, tell)
            except WorkerLost as error:
                if self._over.is_set():
                    raise
                gone = isinstance(error, SeatLost)
                left = not self.desks.give_back(desk, lost=True, gone=gone)
                reason = f"{desk.name} {error}"
                if gone and not left:
                    raise WorkerError(f"The last worker is lost: {reason}.") from error
                lost += [] if gone else [desk.name]
                tell(
                    f"{reason}, trying {trial.name} in iteration {trial.iteration}"
                    f"{'; no more is tried there' if left else ''}."
                )
            except BaseException:
                self.desks.give_back(desk)
                raise
            else:
                self.desks.give_back(desk)
                return outcome
        return (
            f"{trial.name}: it was begun {TRIES} times, and each time its worker was lost; at last "
            f"{reason}."
        )

    def _tried_at(self, desk: Desk, trial: Trial, tell: Callable[[News], None]) -> Outcome:
        worker = desk.worker = desk.worker or desk.hire()
        try:
            worker.begin(trial)
            outcome = self._heard(desk, worker, trial, tell)
        except WorkerLost:
            desk.worker = None
            worker.end()
            raise
        tell(Progress(trial.name, 1, 1, worker=desk.name))
        self.patience.took(trial, outcome)
        return outcome

    def _heard(
        self, desk: Desk, worker: Worker, trial: Trial, tell: Callable[[News], None]
    ) -> Outcome:
        """Listen until the trial is over, or the worker has been silent for too long."""
        heard_s, begun = monotonic(), False
        while not self._over.is_set():
            item = worker.hear(PULSE_S)
            if isinstance(item, Outcome):
                return item
            if item is not None:
                heard_s, begun = monotonic(), True
                tell(replace(item, worker=desk.name))
                continue
            # Others may have told meanwhile how long such a trial takes.
            limit_s = self.patience.limit_s(trial) if begun else self.patience.opening_s
            if monotonic() - heard_s > limit_s:
                raise WorkerLost(f"gave no sign of life for {limit_s:.3g} s and was ended")
        raise WorkerLost("was ended with the run")

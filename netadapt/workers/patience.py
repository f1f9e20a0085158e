"""How long a worker may be silent before it is taken for one that hangs."""

import math
from dataclasses import dataclass, field

from netadapt.runs import Outcome, Trial

FACTOR = 10.0
"""A silence this many times as long as the longest trial is no slow trial."""

LEAST_S = 60.0
"""Shorter silences than this are never too long: a machine may be busy."""

MOST_S = 3600.0
"""Of the first trials, of which nothing is known, and of a worker that starts and reads images."""

_Kind = tuple[int, int]


@dataclass
class Patience:
    """A limit on silence, from what trials have taken.

    Attributes:
        given_s: the limit, where it is set; None to derive it.
    """

    given_s: float | None = None
    _longest_s: dict[_Kind, float] = field(default_factory=dict, init=False, repr=False)

    @property
    def opening_s(self) -> float:
        """For a worker that has said nothing yet: it starts, and reads images."""
        return MOST_S

    def limit_s(self, trial: Trial) -> float:
        """For a trial that has begun."""
        if self.given_s is not None:
            return self.given_s
        longest_s = self._longest_s.get(_kind(trial))
        return MOST_S if longest_s is None else max(LEAST_S, FACTOR * longest_s)

    def took(self, trial: Trial, outcome: Outcome) -> None:
        """Learn from a trial that came to its end."""
        seconds = math.fsum(phase.seconds for phase in outcome.phases)
        self._longest_s[_kind(trial)] = max(seconds, self._longest_s.get(_kind(trial), 0.0))


def _kind(trial: Trial) -> _Kind:
    """Trials of one kind take about as long: of the same rung, scored on as many images."""
    start, stop = trial.part or (0, 0)
    return trial.rung, stop - start

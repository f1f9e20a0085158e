"""Has the proposals of an iteration tried, each trial once over all of a run's life."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from netadapt.config.rungs import Rung
from netadapt.errors import TrainingError, UsageError
from netadapt.runs import Outcome, Run, Step
from netadapt.runs.events import IterationStarted, Tried
from netadapt.search.pricing import Loads
from netadapt.search.race import Race
from netadapt.search.selection import Candidate, Selection, lowest_loss
from netadapt.search.strategies import Proposal

Part = tuple[int, int]
"""``(start, stop)`` of the images of a race."""


class Trials(Protocol):
    """Where proposals are tried; :class:`netadapt.search.loop.Workshop` is one."""

    def attempt(
        self, step: Step, proposals: Mapping[int, Proposal], rung: int, part: Part | None = None
    ) -> Iterator[Outcome]:
        """See :meth:`netadapt.search.loop.Workshop.attempt`."""
        ...


@dataclass(frozen=True, slots=True)
class Judge:
    """Has proposals tried, and ranks them.

    Attributes:
        step: what they start from.
        loads: of the iteration.
        run: the journal, in which finished trials are found and recorded.
        trials: where they are tried.
        selection: picks the winner.
        screening: picks who goes on to the next rung.
        race: how these are found on fewer images; None to score all on all.
    """

    step: Step
    loads: Loads
    run: Run
    trials: Trials
    selection: Selection
    screening: Selection
    race: Race | None = None

    def ranked(
        self, proposals: Sequence[Proposal], rungs: Mapping[int, Rung]
    ) -> list[tuple[Proposal, Outcome]]:
        """Those who came through all rungs with what came of them, best first.

        Args:
            proposals: one or more.
            rungs: by number, see :func:`netadapt.config.rungs.applicable`.

        Raises:
            TrainingError: all that are left have failed.
        """
        chosen, rung = list(range(len(proposals))), 0
        for number, upcoming in rungs.items():
            if upcoming.keep < len(proposals):
                chosen = self._thinned(proposals, chosen, rung, upcoming.keep)
            rung = number
        outcomes = self._outcomes(proposals, chosen, rung)
        order = self._ranked(proposals, outcomes, self.selection)
        return [(proposals[index], outcomes[index]) for index in order]

    def screened(self, proposals: Sequence[Proposal]) -> list[float]:
        """The loss of each without training, negated; ``-inf`` for one that failed.

        Its accuracy where there is no loss, and no other rule of selection: what is asked is how
        much a network loses, whatever it saves. Of all the holdout images, or of those of a race's
        first look.
        """
        everyone = range(len(proposals))
        part = (0, self.race.looks[0]) if self.race else None
        sound = comparable(self._outcomes(proposals, everyone, 0, part))
        return [
            self._score(proposals[index], sound[index], lowest_loss) if index in sound
            else -math.inf
            for index in everyone
        ]  # fmt: skip

    def _thinned(
        self, proposals: Sequence[Proposal], indices: Sequence[int], rung: int, keep: int
    ) -> list[int]:
        """The best so many after a rung, in the order of the proposals."""
        if len(indices) <= keep:  # others failed before
            return list(indices)
        outcomes = (
            self._raced(proposals, indices, rung, keep)
            if self.race
            else self._outcomes(proposals, indices, rung)
        )
        return sorted(self._ranked(proposals, outcomes, self.screening)[:keep])

    def _raced(
        self, proposals: Sequence[Proposal], indices: Sequence[int], rung: int, keep: int
    ) -> dict[int, Outcome]:
        """What came of those whom the race did not put out, and of those that failed."""
        assert self.race is not None
        outcomes: dict[int, Outcome] = {}
        alive, start = list(indices), 0
        for stop in self.race.looks:
            outcomes |= self._outcomes(proposals, alive, rung, (start, stop), outcomes)
            losses = {i: outcomes[i].losses for i in alive if not outcomes[i].failed}
            failed = [i for i in indices if outcomes[i].failed]
            alive = self.race.survivors(losses, len(indices), keep)
            if len(alive) <= keep:
                break
            start = stop
        return {index: outcomes[index] for index in [*alive, *failed]}

    def _ranked(
        self, proposals: Sequence[Proposal], outcomes: Mapping[int, Outcome], rule: Selection
    ) -> list[int]:
        """Indices of those that did not fail, best first: among equals the lower loss, then load.

        Raises:
            TrainingError: all of them failed.
        """
        scores = {
            index: (
                self._score(proposals[index], outcome, rule),
                0.0 if outcome.loss is None else -outcome.loss,
                -proposals[index].load,
                -index,
            )
            for index, outcome in comparable(outcomes).items()
        }
        if not scores:
            raise TrainingError(next(iter(outcomes.values())).failed)
        return sorted(scores, key=lambda index: scores[index], reverse=True)

    def _outcomes(
        self,
        proposals: Sequence[Proposal],
        indices: Iterable[int],
        rung: int,
        part: Part | None = None,
        before: Mapping[int, Outcome] | None = None,
    ) -> dict[int, Outcome]:
        """What came of these, on all images or on those of a race up to the end of a part."""
        images = part[1] if part else 0
        known = {index: self._known(proposals[index], rung, images) for index in indices}
        outcomes = {index: outcome for index, outcome in known.items() if outcome is not None}
        waiting = {index: proposals[index] for index in known if index not in outcomes}
        for outcome in self._attempted(waiting, rung, part):
            index = outcome.index
            outcomes[index] = joined((before or {}).get(index), outcome)
            self._record(proposals[index], outcomes[index])
        return outcomes

    def _attempted(
        self, waiting: Mapping[int, Proposal], rung: int, part: Part | None
    ) -> Iterator[Outcome]:
        if not waiting:
            return iter(())
        if part is None:
            return self.trials.attempt(self.step, waiting, rung)
        return self.trials.attempt(self.step, waiting, rung, part)

    def _known(self, proposal: Proposal, rung: int, images: int) -> Outcome | None:
        """What came of a proposal on so many images, if the journal tells."""
        iteration, changes = self.step.iteration + 1, dict(proposal.changes)
        for record in reversed(self.run.records):
            event = record.event
            if isinstance(event, IterationStarted) and event.iteration < iteration:
                return None
            if (
                isinstance(event, Tried)
                and (event.iteration, event.outcome.rung) == (iteration, rung)
                and (event.name, event.changes) == (proposal.name, changes)
                and (event.outcome.failed or event.outcome.images == images)
            ):
                return event.outcome
        return None

    def _record(self, proposal: Proposal, outcome: Outcome) -> None:
        changes, prices = dict(proposal.changes), self.loads.prices(proposal.changes)
        self.run.append(Tried(self.step.iteration + 1, proposal.name, changes, prices, outcome))
        if outcome.failed:
            self.run.warn(f"A candidate is out: {outcome.failed}")

    def _score(self, proposal: Proposal, outcome: Outcome, rule: Selection) -> float:
        tried = Candidate(
            outcome.accuracy, proposal.load, self.step.accuracy, self.loads.present, outcome.loss
        )
        score = rule(tried)
        if not isinstance(score, int | float) or math.isnan(score):
            raise UsageError(
                f"The selection gave {score!r} for {proposal.name!r}; it must return a number, the "
                "highest for the best candidate."
            )
        return score


def comparable(outcomes: Mapping[int, Outcome]) -> dict[int, Outcome]:
    """Those that did not fail; if one of them has no loss, none of them has.

    A loss of a user's own may be no finite number for the images of one candidate alone, which no
    accuracy of it could be held against the losses of the others.
    """
    sound = {index: outcome for index, outcome in outcomes.items() if not outcome.failed}
    if all(outcome.loss is not None for outcome in sound.values()):
        return sound
    return {index: replace(outcome, loss=None) for index, outcome in sound.items()}


def joined(before: Outcome | None, part: Outcome) -> Outcome:
    """A candidate's outcome on more images; the phases are of the last part alone."""
    if before is None or part.failed:
        return part
    images = before.images + part.images
    weights = (before.images / images, part.images / images)
    return replace(
        part,
        accuracy=_mean(weights, (before.accuracy, part.accuracy)),
        loss=None
        if before.loss is None or part.loss is None
        else _mean(weights, (before.loss, part.loss)),
        images=images,
        losses=(*before.losses, *part.losses),
    )


def _mean(weights: tuple[float, float], values: tuple[float, float]) -> float:
    return weights[0] * values[0] + weights[1] * values[1]

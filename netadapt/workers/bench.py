"""What runs in a worker's own process, wherever that is: trials, one after the other."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from netadapt import errors
from netadapt.plugins import blamed
from netadapt.runs import Outcome, Progress, Trial
from netadapt.workers.evaluate import Evaluator


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it travels from a worker to the run, which ends there as it would have here.

    Attributes:
        kind: its class among :mod:`netadapt.errors`; empty for any other.
        text: what it says.
        trace: where it arose.
    """

    kind: str
    text: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """What is to be told of an error."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, errors.NetAdaptError):
            return cls(type(error).__name__, str(error), trace)
        if theirs := blamed(error):
            return cls("UsageError", f"Your own code failed: {theirs}.", trace)
        said = str(error).strip().split("\n")[0]
        return cls("", f"{type(error).__name__} in a worker: {said}", trace)

    def error(self) -> Exception:
        """The error again."""
        kind: type[Exception] = getattr(errors, self.kind) if self.kind else RuntimeError
        error = kind.__new__(kind, self.text)  # some take other arguments than their text
        error.add_note(self.trace)
        return error


@dataclass
class Bench:
    """Tries candidates of one run, and holds what they share."""

    _evaluator: Evaluator | None = field(default=None, init=False, repr=False)

    def tried(self, trial: Trial, tell: Callable[[Progress], None]) -> Outcome | Failure:
        """Try one candidate.

        Args:
            trial: all of one run.
            tell: told at once when it begins, and then how far it is.
        """
        try:
            if trial.job.threads:
                torch.set_num_threads(trial.job.threads)
            if self._evaluator is None:
                self._evaluator = Evaluator.of(trial.job)
            self._evaluator.notify = tell
            return self._evaluator(trial)
        except (Exception, SystemExit) as error:
            return Failure.of(error)

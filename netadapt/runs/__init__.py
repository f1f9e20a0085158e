"""The run folder: a journal of all that happened, and the weights of every step."""

from netadapt.runs.events import Event, Listener, Record
from netadapt.runs.history import last, left_for_nearer, steps_of
from netadapt.runs.journal import Run, check_weights, read_journal, silent, weights_path
from netadapt.runs.progress import Progress
from netadapt.runs.step import PassedOver, Step, StepCost
from netadapt.runs.stopwatch import Stopwatch
from netadapt.runs.trial import Job, Keep, Outcome, Phase, Trial

__all__ = [
    "Event",
    "Job",
    "Keep",
    "Listener",
    "Outcome",
    "PassedOver",
    "Phase",
    "Progress",
    "Record",
    "Run",
    "Step",
    "StepCost",
    "Stopwatch",
    "Trial",
    "check_weights",
    "last",
    "left_for_nearer",
    "read_journal",
    "silent",
    "steps_of",
    "weights_path",
]

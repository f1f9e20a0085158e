"""Where candidates are tried: in this process, in others, or on a Ray cluster."""

from netadapt.workers.crew import Attempt
from netadapt.workers.evaluate import Evaluator, evaluate
from netadapt.workers.opening import seated, staffed

__all__ = ["Attempt", "Evaluator", "evaluate", "seated", "staffed"]

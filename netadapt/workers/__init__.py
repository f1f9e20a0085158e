"""Where candidates are tried: in this process, or in others."""

from netadapt.workers.evaluate import Evaluator, evaluate

__all__ = ["Evaluator", "evaluate"]

"""Training: loops, batch normalization, and where it all runs."""

from netadapt.training.batchnorm import recalibrate_bn
from netadapt.training.checkpoint import Checkpoint
from netadapt.training.distillation import distils, obstacle
from netadapt.training.loops import Course, Progress, TrainResult, fine_tune
from netadapt.training.placement import open_trainer, placed
from netadapt.training.rehearsal import rehearse
from netadapt.training.samples import has_gradients
from netadapt.training.scoring import Score, accuracy, score

__all__ = [
    "Checkpoint",
    "Course",
    "Progress",
    "Score",
    "TrainResult",
    "accuracy",
    "distils",
    "fine_tune",
    "has_gradients",
    "obstacle",
    "open_trainer",
    "placed",
    "recalibrate_bn",
    "rehearse",
    "score",
]

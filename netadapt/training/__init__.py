"""Training: loops, batch normalization, and where it all runs."""

from netadapt.training.batchnorm import recalibrate_bn
from netadapt.training.checkpoint import Checkpoint
from netadapt.training.distillation import check_lessons
from netadapt.training.loops import Course, Progress, TrainResult, fine_tune
from netadapt.training.placement import open_trainer, placed
from netadapt.training.rehearsal import rehearse
from netadapt.training.scoring import Score, accuracy, score

__all__ = [
    "Checkpoint",
    "Course",
    "Progress",
    "Score",
    "TrainResult",
    "accuracy",
    "check_lessons",
    "fine_tune",
    "open_trainer",
    "placed",
    "recalibrate_bn",
    "rehearse",
    "score",
]

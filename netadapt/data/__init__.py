"""Data sets as tasks: images split for training, for choices, and for one final test.

``load("digits")`` is embedded, ``load("cifar10")`` downloads, ``load("path/to/folder")`` reads
images, and ``load("package.module:callable")`` asks the user's own function for a :class:`Task`.
"""

from netadapt.data.sources import SOURCES, load
from netadapt.data.splits import ArraySplit, DatasetSplit, FileSplit, Pixels
from netadapt.data.task import Batch, Loss, Metric, Split, Task, cross_entropy, logits, top1

__all__ = [
    "SOURCES",
    "ArraySplit",
    "Batch",
    "DatasetSplit",
    "FileSplit",
    "Loss",
    "Metric",
    "Pixels",
    "Split",
    "Task",
    "cross_entropy",
    "load",
    "logits",
    "top1",
]

"""Data sets as tasks: images split for training, for choices, and for one final test.

``load("digits")`` is embedded, ``load("cifar10")`` downloads, ``load("path/to/folder")`` reads
images, and ``load("package.module:callable")`` asks the user's own function for a :class:`Task`.
"""

from netadapt.data.batches import skipped
from netadapt.data.file_split import FileSplit
from netadapt.data.options import Reading
from netadapt.data.sources import SOURCES, load
from netadapt.data.splits import ArraySplit, DatasetSplit, Pixels
from netadapt.data.task import Batch, Loss, Metric, Split, Task, cross_entropy, logits, top1
from netadapt.data.views import Preset, View

__all__ = [
    "SOURCES",
    "ArraySplit",
    "Batch",
    "DatasetSplit",
    "FileSplit",
    "Loss",
    "Metric",
    "Pixels",
    "Preset",
    "Reading",
    "Split",
    "Task",
    "View",
    "cross_entropy",
    "load",
    "logits",
    "skipped",
    "top1",
]

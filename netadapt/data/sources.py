"""Where data sets come from: embedded, downloaded, a folder, or the user's own function."""

import os
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from netadapt.data.division import divided, limited, stratified
from netadapt.data.file_split import FileSplit
from netadapt.data.folder_task import folder_task
from netadapt.data.options import LoadOptions, Reading
from netadapt.data.splits import ArraySplit, DatasetSplit, Pixels, preprocessing
from netadapt.data.task import Split, Task
from netadapt.errors import DataError, UnknownName
from netadapt.plugins import accepted, user_callable

_ALL = Reading()
_TEST_SEED = 0
_HINT = "Also accepted: a folder with train/ and test/, and package.module:callable for your own."


def load(
    name: str,
    *,
    input_size: int | None = None,
    holdout: float | int | None = None,
    seed: int = 0,
    root: Path = Path("data"),
    reading: Reading = _ALL,
) -> Task:
    """Load a data set as a task; its three splits are disjoint.

    Args:
        name: one of :data:`SOURCES`; a folder with ``train/`` and ``test/`` (or else ``val/``),
            each with a sub-folder of images per class; or ``package.module:callable``, which is
            called with those of the other arguments that it names, and returns a :class:`Task`.
        input_size: height and width of the inputs in pixels. Default: 32 for the named sets, and
            for a folder that of the weights' preset, or else the shorter side of its first image,
            at most 224.
        holdout: training images to set apart for choices, drawn evenly from all classes: a share if
            below 1, otherwise a number. Default: a tenth, but 10,000 at most; for digits, a
            quarter.
        seed: of that draw.
        root: folder for downloads.
        reading: which part of it is read, and how.

    Raises:
        UnknownName: there is no such data set.
        DataError: it cannot be read, or cannot be learned from.
    """
    options = LoadOptions(input_size, holdout, seed, root, reading)
    if name in SOURCES:
        return SOURCES[name](options)
    if os.path.isdir(name):
        return folder_task(Path(name), options)
    if ":" in name:
        return _own(name, options)
    if os.path.isfile(name):
        raise DataError(
            f"{name} is a file; expected is a folder with train/ and test/. Unpack an archive, and "
            "sort the images of a list into a folder per class, or read it in a function of yours."
        )
    if "/" in name or "\\" in name:
        raise DataError(f"There is no folder {name}; check the path.")
    raise UnknownName("data set", name, SOURCES, _HINT)


def _own(name: str, options: LoadOptions) -> Task:
    """The task that a user's own function gives."""
    reading = options.reading
    function = user_callable(name, what="task")
    arguments = accepted(
        function, input_size=options.input_size, holdout=options.holdout, seed=options.seed,
        root=options.root, limit=reading.limit,
    )  # fmt: skip
    if reading.limit is not None and "limit" not in arguments:
        raise DataError(
            f"Task {name!r} has no parameter named limit, so its images cannot be limited; add one "
            "to the function, or use all images."
        )
    task = function(**arguments)
    if not isinstance(task, Task):
        raise DataError(
            f"Task {name!r} gave a {type(task).__name__}; it must return a netadapt.data.Task."
        )

    if reading.workers is None:
        return task

    def read(split: Split) -> Split:
        if isinstance(split, DatasetSplit | FileSplit) and split.workers is None:
            return replace(split, workers=reading.workers)
        return split

    return replace(task, train=read(task.train), holdout=read(task.holdout), test=read(task.test))


def _digits(options: LoadOptions) -> Task:
    """scikit-learn's digits: 1797 grey images of 8x8 (Alpaydin and Kaynak 1998, UCI optdigits).

    A fifth is the test split, the same for every seed, so that no seed trains on another's test.
    """
    from sklearn.datasets import load_digits

    size = options.input_size or 32
    bunch = load_digits()
    grey = torch.from_numpy(bunch.images).float().div_(16).unsqueeze(1)  # 16 grey levels and 0
    grey = F.interpolate(grey, size=(size, size), mode="bilinear", align_corners=False)
    images = grey.mul_(255).round_().to(torch.uint8).expand(-1, 3, -1, -1)
    labels = torch.from_numpy(bunch.target).long()
    limit = options.reading.limit
    rest, test = stratified(labels, 0.2, seed=_TEST_SEED)
    train, holdout = divided(
        labels[rest], options.holdout, 0.25, limit=limit, seed=options.seed, what="digits"
    )
    test = test[limited(labels[test], limit, seed=_TEST_SEED, what="digits")]
    pixels = Pixels(mean=(0.306,) * 3, std=(0.325,) * 3, pad=size // 8, flip=False)

    def split(index: Tensor) -> ArraySplit:
        return ArraySplit(images[index].contiguous(), labels[index], pixels)

    return Task(
        name="digits",
        train=split(rest[train]),
        holdout=split(rest[holdout]),
        test=split(test),
        num_classes=10,
        input_shape=(3, size, size),
        class_names=tuple("0123456789"),
        seed=options.seed,
        preprocessing=preprocessing(size, pixels),
    )


def _cifar10(options: LoadOptions) -> Task:
    """CIFAR-10 (Krizhevsky 2009): 50000 training and 10000 test images of 32x32 in 10 classes."""
    size = options.input_size or 32
    try:
        learn, test = (
            torchvision.datasets.CIFAR10(options.root, train=train, download=True)
            for train in (True, False)
        )
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise DataError(
            f"CIFAR-10 cannot be downloaded to {options.root} ({error}); check the network, or "
            "give the path of a folder of images."
        ) from error
    limit, preset = options.reading.limit, options.reading.preset
    labels, tested = torch.tensor(learn.targets), torch.tensor(test.targets)
    train, holdout = divided(
        labels, options.holdout, 0.1, limit=limit, seed=options.seed, what="cifar10"
    )
    chosen = limited(tested, limit, seed=_TEST_SEED, what="cifar10")
    pixels = Pixels(pad=size // 8)
    if preset is not None:
        pixels = replace(pixels, mean=preset.mean, std=preset.std)

    def split(data: np.ndarray, targets: Tensor) -> ArraySplit:
        images = torch.from_numpy(data).permute(0, 3, 1, 2).contiguous()
        return ArraySplit(_resized(images, size), targets, pixels)

    return Task(
        name="cifar10",
        train=split(learn.data[train.numpy()], labels[train]),
        holdout=split(learn.data[holdout.numpy()], labels[holdout]),
        test=split(test.data[chosen.numpy()], tested[chosen]),
        num_classes=10,
        input_shape=(3, size, size),
        class_names=tuple(learn.classes),
        seed=options.seed,
        preprocessing=preprocessing(size, pixels),
    )


SOURCES: dict[str, Callable[[LoadOptions], Task]] = {"digits": _digits, "cifar10": _cifar10}
"""The data sets that :func:`load` knows by name."""


def _resized(images: Tensor, size: int) -> Tensor:
    """Bytes [N, C, H, W] scaled to ``size`` pixels, some at a time."""
    if images.shape[-1] == size:
        return images
    return torch.cat(
        [
            F.interpolate(part.float(), size=(size, size), mode="bilinear", antialias=True)
            .round_()
            .to(torch.uint8)
            for part in torch.split(images, 1000)
        ]
    )

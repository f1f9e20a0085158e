"""Where data sets come from: embedded, downloaded, a folder, or the user's own function."""

import hashlib
import logging
import urllib.error
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from netadapt.data.folder import folder_to_try, scan
from netadapt.data.images import shorter_side, unreadable
from netadapt.data.splits import (
    DECODERS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ArraySplit,
    FileSplit,
    Pixels,
    decode_all,
)
from netadapt.data.task import Split, Task
from netadapt.errors import DataError, UnknownName
from netadapt.plugins import accepted, user_callable

_log = logging.getLogger(__name__)

DECODED_LIMIT_BYTES = 2 * 1024**3
"""Folders whose decoded images would take more are decoded batch by batch instead."""

_DIGITS_TEST_SEED = 0
_HINT = "Also accepted: a folder with train/ and test/, and package.module:callable for your own."


@dataclass(frozen=True, slots=True)
class _Options:
    input_size: int | None
    holdout: float | int | None
    seed: int
    root: Path


def load(
    name: str,
    *,
    input_size: int | None = None,
    holdout: float | int | None = None,
    seed: int = 0,
    root: Path = Path("data"),
) -> Task:
    """Load a data set as a task; its three splits are disjoint.

    Args:
        name: one of :data:`SOURCES`; a folder with ``train/`` and ``test/`` (or else ``val/``),
            each with a sub-folder of images per class; or ``package.module:callable``, which is
            called with those of the other arguments that it names, and returns a :class:`Task`.
        input_size: height and width of the inputs in pixels. Default: 32 for the named sets, and
            for a folder the shorter side of its first image, at most 224.
        holdout: training images to set apart for choices, drawn evenly from all classes: a share if
            below 1, otherwise a number. Default: a tenth; for digits, a quarter.
        seed: of that draw.
        root: folder for downloads.

    Raises:
        UnknownName: there is no such data set.
        DataError: it cannot be read, or cannot be learned from.
    """
    options = _Options(input_size, holdout, seed, root)
    if name in SOURCES:
        return SOURCES[name](options)
    if Path(name).is_dir():
        return _folder(Path(name), options)
    if ":" in name:
        function = user_callable(name, what="task")
        task = function(
            **accepted(function, input_size=input_size, holdout=holdout, seed=seed, root=root)
        )
        if not isinstance(task, Task):
            raise DataError(
                f"Task {name!r} gave a {type(task).__name__}; it must return a netadapt.data.Task."
            )
        return task
    if "/" in name or "\\" in name:
        raise DataError(f"There is no folder {name}; check the path.")
    raise UnknownName("data set", name, SOURCES, _HINT)


def _digits(options: _Options) -> Task:
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
    rest, test = stratified(labels, 0.2, seed=_DIGITS_TEST_SEED)
    train, holdout = stratified(labels[rest], _or(options.holdout, 0.25), seed=options.seed)
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
    )


def _cifar10(options: _Options) -> Task:
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
    labels = torch.tensor(learn.targets)
    train, holdout = stratified(labels, _or(options.holdout, 0.1), seed=options.seed)
    pixels = Pixels(pad=size // 8)

    def split(data: np.ndarray, targets: Tensor) -> ArraySplit:
        images = torch.from_numpy(data).permute(0, 3, 1, 2).contiguous()
        return ArraySplit(_resized(images, size), targets, pixels)

    return Task(
        name="cifar10",
        train=split(learn.data[train.numpy()], labels[train]),
        holdout=split(learn.data[holdout.numpy()], labels[holdout]),
        test=split(test.data, torch.tensor(test.targets)),
        num_classes=10,
        input_shape=(3, size, size),
        class_names=tuple(learn.classes),
        seed=options.seed,
    )


SOURCES: dict[str, Callable[[_Options], Task]] = {"digits": _digits, "cifar10": _cifar10}
"""The data sets that :func:`load` knows by name."""


def _folder(root: Path, options: _Options) -> Task:
    """A folder of images; ``val/`` is only looked at where there is no ``test/``."""
    test_root = root / "test" if (root / "test").is_dir() else root / "val"
    for needed in (root / "train", test_root):
        if not needed.is_dir():
            inner = folder_to_try(root)
            raise DataError(
                f"{root} has no folder {needed.name}; expected are train/ and test/ (or val/), "
                "each with one folder of images per class."
                + (f" {inner} has a train/: give that folder." if inner else "")
            )
    learn, test = scan(root / "train"), scan(test_root)
    if learn.classes != test.classes:
        unlike = sorted(set(learn.classes) ^ set(test.classes))
        raise DataError(
            f"{root / 'train'} and {test_root} have different classes; only one of them has "
            f"{', '.join(unlike[:5])}."
        )
    size = options.input_size or min(224, shorter_side(learn.paths[0]))
    labels = torch.tensor(learn.labels)
    train, holdout = stratified(labels, _or(options.holdout, 0.1), seed=options.seed)
    pixels = Pixels(IMAGENET_MEAN, IMAGENET_STD, pad=size // 8)
    in_memory = (len(learn.paths) + len(test.paths)) * 3 * size * size <= DECODED_LIMIT_BYTES

    def split(paths: Sequence[Path], targets: Tensor) -> Split:
        if in_memory:
            return ArraySplit(decode_all(paths, size), targets, pixels)
        return FileSplit(tuple(paths), targets, size, pixels)

    parts = {
        "train": [learn.paths[i] for i in train.tolist()],
        "holdout": [learn.paths[i] for i in holdout.tolist()],
        "test": list(test.paths),
    }
    task = Task(
        name=str(root),
        train=split(parts["train"], labels[train]),
        holdout=split(parts["holdout"], labels[holdout]),
        test=split(parts["test"], torch.tensor(test.labels)),
        num_classes=len(learn.classes),
        input_shape=(3, size, size),
        class_names=learn.classes,
        seed=options.seed,
    )
    _remark_repeated(task, parts)
    return task


def _remark_repeated(task: Task, parts: Mapping[str, Sequence[Path]]) -> None:
    """Tell the log of images of the holdout and of the test that are learned from."""
    seen = repeated(task.train, task.holdout), repeated(task.train, task.test)
    for name, pairs in zip(("holdout", "test"), seen, strict=True):
        if pairs:
            there, here = pairs[0]
            _log.warning(
                "%s: %d of %d %s images are training images too, such as %s and %s; accuracies on "
                "them say little of images never seen.",
                task.name, len(pairs), len(parts[name]), name,
                parts[name][here], parts["train"][there],
            )  # fmt: skip


def repeated(known: Split, others: Split) -> list[tuple[int, int]]:
    """Pairs ``(i, k)``: the k-th of the other images has every pixel of the i-th known one.

    Of sets too large to be decoded, files with the same bytes; only those of equal sizes are read.
    """
    if isinstance(known, FileSplit) and isinstance(others, FileSplit):
        return _same_files(known.paths, others.paths)
    if not isinstance(known, ArraySplit) or not isinstance(others, ArraySplit):
        return []
    first = {digest: i for i, digest in reversed(list(enumerate(_digests(known))))}
    return [(first[d], k) for k, d in enumerate(_digests(others)) if d in first]


def _same_files(known: Sequence[Path], others: Sequence[Path]) -> list[tuple[int, int]]:
    """Pairs of files with the same bytes, with the first of several known ones.

    Files are told apart by their sizes, then by their ends, which is a small part of what an epoch
    reads; only those that agree in both are read whole.
    """
    left, right = list(range(len(known))), list(range(len(others)))
    first: dict[object, int] = {}
    seconds: dict[int, object] = {}
    with ThreadPoolExecutor(DECODERS) as pool:  # reading leaves the interpreter free
        for mark in (_size, _end, _digest):
            firsts = dict(zip(left, pool.map(mark, [known[i] for i in left]), strict=True))
            seconds = dict(zip(right, pool.map(mark, [others[k] for k in right]), strict=True))
            shared = set(firsts.values()) & set(seconds.values())
            left = [i for i in left if firsts[i] in shared]
            right = [k for k in right if seconds[k] in shared]
            first = {firsts[i]: i for i in reversed(left)}
    return [(first[seconds[k]], k) for k in right]


def _size(path: Path) -> int:
    return path.stat().st_size


def _end(path: Path) -> bytes:
    return _read(path, 4096)


def _digest(path: Path) -> bytes:
    return hashlib.blake2b(_read(path, _size(path))).digest()


def _read(path: Path, last: int) -> bytes:
    """The last bytes of an image file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, _size(path) - last))
            return file.read()
    except OSError as error:
        raise unreadable(path, str(error.strerror)) from error


def _digests(split: ArraySplit) -> Iterator[bytes]:
    return (hashlib.blake2b(image.numpy().data).digest() for image in split.images)


def stratified(labels: Tensor, part: float | int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Divide examples at random so that each class is divided in the same proportion.

    The first part keeps at least one example of each class: it is learned from.

    Args:
        labels: class indices [N].
        part: size of the second part: a share of all if below 1, otherwise a number of examples.
        seed: of the draw.

    Returns:
        Ascending indices of the first and of the second part.

    Raises:
        DataError: the second part would be empty, or the first one lack a class.
    """
    total = len(labels)
    count = max(1, round(part * total)) if part < 1 else int(part)
    classes = [torch.nonzero(labels == label).flatten() for label in sorted(set(labels.tolist()))]
    if not 0 < count <= total - len(classes) or part <= 0:
        raise DataError(
            f"A holdout of {part} out of {total} training images in {len(classes)} class(es) "
            "leaves nothing to choose by or, of some class, nothing to learn from; give a share "
            "between 0 and 1, or fewer images."
        )
    random = torch.Generator().manual_seed(seed)
    # Largest remainders: the counts per class add up to the count asked for.
    quotas = [len(members) * count / total for members in classes]
    counts = [min(int(quota), len(m) - 1) for quota, m in zip(quotas, classes, strict=True)]
    while sum(counts) < count:
        able = [k for k, members in enumerate(classes) if counts[k] < len(members) - 1]
        counts[min(able, key=lambda k: counts[k] - quotas[k])] += 1
    second = torch.cat(
        [
            members[torch.randperm(len(members), generator=random)[:taken]]
            for members, taken in zip(classes, counts, strict=True)
        ]
    )
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[second] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()


def _or(value: float | int | None, default: float) -> float | int:
    return default if value is None else value


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

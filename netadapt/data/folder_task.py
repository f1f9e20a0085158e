"""A folder of images as a task: what of it is used, how it is seen, and what stays in memory."""

import hashlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import PIL
import torch
from PIL import features
from torch import Tensor

from netadapt.data.cache import read_bytes, write_bytes
from netadapt.data.division import divided, limited
from netadapt.data.file_split import FileSplit, decode_all
from netadapt.data.folder import folder_to_try
from netadapt.data.images import shorter_side
from netadapt.data.index import FEWEST, SETTLED_NS, indexed
from netadapt.data.listing import Files, ImageFolder
from netadapt.data.options import LoadOptions
from netadapt.data.repeats import remark_repeated
from netadapt.data.splits import ArraySplit, Pixels, preprocessing
from netadapt.data.task import Split, Task
from netadapt.data.views import IMAGENET_MEAN, IMAGENET_STD, MIDDLE, View
from netadapt.errors import DataError

_log = logging.getLogger(__name__)

DECODED_LIMIT_BYTES = 2 * 1024**3
"""What decoded images take in memory at most; where they would take more, files are decoded batch
by batch."""

PARTS_FROM = 64
"""Pixels of the inputs from which on training sees parts of an image, drawn at random."""

_LARGEST_DEFAULT = 224
_TEST_SEED = 0
_DECODING = 1
"""To be raised when small images are decoded otherwise: what is kept of them is made anew then."""


@dataclass(frozen=True, slots=True)
class _Look:
    """How the images of a folder are seen.

    Attributes:
        size: height and width of the inputs.
        view: which part of an image.
        pixels: how it becomes an input.
    """

    size: int
    view: View
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class _Part:
    """The images of one split.

    Attributes:
        of: the files of the folder that they are in.
        rows: which of these, ascending.
        targets: class indices of each.
    """

    of: Files
    rows: Tensor
    targets: Tensor

    @property
    def files(self) -> Files:
        """Their files."""
        return self.of.taken(self.rows.numpy())


def folder_task(root: Path, options: LoadOptions) -> Task:
    """A folder of images; ``val/`` is only looked at where there is no ``test/``.

    Raises:
        DataError: it cannot be read, or cannot be learned from.
    """
    learn, test = _folders(root)
    look = _look(learn, options)
    reading = options.reading
    labels = torch.from_numpy(learn.labels)
    train, holdout = divided(
        labels, options.holdout, 0.1, limit=reading.limit, seed=options.seed,
        what=str(learn.files.root),
    )  # fmt: skip
    test_labels = torch.from_numpy(test.labels)
    tested = limited(test_labels, reading.limit, seed=_TEST_SEED, what=str(test.files.root))
    parts = {
        "train": _Part(learn.files, train, labels[train]),
        "holdout": _Part(learn.files, holdout, labels[holdout]),
        "test": _Part(test.files, tested, test_labels[tested]),
    }
    splits = _splits(root, parts, look, reading.workers)
    known, *others = ((splits[name], part.files) for name, part in parts.items())
    remark_repeated(str(root), known, dict(zip(("holdout", "test"), others, strict=True)))
    return Task(
        name=str(root),
        train=splits["train"],
        holdout=splits["holdout"],
        test=splits["test"],
        num_classes=len(learn.classes),
        input_shape=(3, look.size, look.size),
        class_names=learn.classes,
        seed=options.seed,
        preprocessing=preprocessing(look.size, look.pixels, look.view),
    )


def _folders(root: Path) -> tuple[ImageFolder, ImageFolder]:
    """What there is to learn from, and to test on."""
    test_root = root / "test" if (root / "test").is_dir() else root / "val"
    for needed in (root / "train", test_root):
        if not needed.is_dir():
            inner = folder_to_try(root)
            raise DataError(
                f"{root} has no folder {'train' if needed.name == 'train' else 'test or val'}; "
                "expected are train/ and test/ (or val/), "
                "each with one folder of images per class."
                + (f" {inner} has a train/: give that folder." if inner else "")
            )
    learn, test = indexed(root / "train"), indexed(test_root)
    if learn.classes != test.classes:
        unlike = sorted(set(learn.classes) ^ set(test.classes))
        raise DataError(
            f"{root / 'train'} and {test_root} have different classes; only one of them has "
            f"{', '.join(unlike[:5])}."
        )
    return learn, test


def _look(learn: ImageFolder, options: LoadOptions) -> _Look:
    """Small images are seen whole; larger ones as the weights expect, or their middle square."""
    preset, side = options.reading.preset, options.input_size or shorter_side(learn.files[0])
    mean, std = (preset.mean, preset.std) if preset else (IMAGENET_MEAN, IMAGENET_STD)
    if side < PARTS_FROM:
        return _Look(side, MIDDLE, Pixels(mean, std, pad=side // 8))
    if preset is None:
        size = options.input_size or min(_LARGEST_DEFAULT, side)
        return _Look(size, View(parts=True), Pixels(mean, std, pad=0))
    preset = preset.at(options.input_size)
    view = View(preset.resize, preset.interpolation, parts=True)
    return _Look(preset.size, view, Pixels(mean, std, pad=0))


def _splits(
    root: Path, parts: dict[str, _Part], look: _Look, workers: int | None
) -> dict[str, Split]:
    """In memory if the images are small and fit; else from disk, with the holdout kept if it fits.

    The holdout is scored again and again, and the test images once.
    """
    count = sum(len(part.rows) for part in parts.values())
    image_bytes = 3 * look.size * look.size
    if not look.view.parts and count * image_bytes <= DECODED_LIMIT_BYTES:
        _log.info(
            "%s: %s images of %d pixels are held in memory, in %s.",
            root, f"{count:,}", look.size, _bytes(count * image_bytes),
        )  # fmt: skip
        return _in_memory(parts, look)
    held_bytes = len(parts["holdout"].rows) * image_bytes
    hold = held_bytes <= min(DECODED_LIMIT_BYTES, _memory_bytes() // 4)
    _log.info(
        "%s: %s images are decoded as they are due; those of the holdout (%s) %s.",
        root, f"{count:,}", f"{len(parts['holdout'].rows):,}",
        f"then stay in memory, in {_bytes(held_bytes)}" if hold else "each time anew",
    )  # fmt: skip
    return {
        name: FileSplit(
            part.files, part.targets, look.size, look.pixels, look.view, workers,
            hold=hold and name == "holdout",
        )
        for name, part in parts.items()
    }  # fmt: skip


def _in_memory(parts: dict[str, _Part], look: _Look) -> dict[str, Split]:
    """All images decoded; those of one folder together, however a seed divides them."""
    splits: dict[str, Split] = {}
    for names in (("train", "holdout"), ("test",)):
        rows = torch.cat([parts[name].rows for name in names]).sort().values
        images = _decoded(parts[names[0]].of.taken(rows.numpy()), look.size)
        for name in names:
            chosen = images[torch.searchsorted(rows, parts[name].rows)]
            splits[name] = ArraySplit(chosen, parts[name].targets, look.pixels)
    return splits


def _decoded(files: Files, size: int) -> Tensor:
    """The images as bytes [N, 3, size, size], as they were decoded at an earlier start or anew."""
    how = f"{_DECODING}/{size}/{PIL.__version__}/{features.version('jpg')}/{files.digest}"
    name = f"decoded-{hashlib.sha256(how.encode()).hexdigest()[:32]}"
    worthwhile, shape = len(files) >= FEWEST, (len(files), 3, size, size)
    kept = read_bytes(name, shape) if worthwhile else None
    if kept is None:
        begun_ns = time.time_ns()
        images = decode_all(files, size)
        if worthwhile and files.last_change < begun_ns - SETTLED_NS:
            write_bytes(name, images.numpy())
            kept = read_bytes(name, shape)  # mapped, it takes no memory beside the splits
        if kept is None:
            return images
    return torch.from_numpy(kept)


def _memory_bytes() -> int:
    """Memory of this machine; without limit where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**62


def _bytes(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 else f"{count / 1024**2:.0f} MiB"

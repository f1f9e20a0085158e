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
from netadapt.data.splits import ArraySplit, Pixels
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
    files = {
        "train": learn.files.taken(train.numpy()),
        "holdout": learn.files.taken(holdout.numpy()),
        "test": test.files.taken(tested.numpy()),
    }
    targets = {"train": labels[train], "holdout": labels[holdout], "test": test_labels[tested]}
    splits = _splits(root, files, targets, look, reading.workers)
    train_split, *others = ((splits[name], files[name]) for name in files)
    remark_repeated(str(root), train_split, dict(zip(("holdout", "test"), others, strict=True)))
    return Task(
        name=str(root),
        train=splits["train"],
        holdout=splits["holdout"],
        test=splits["test"],
        num_classes=len(learn.classes),
        input_shape=(3, look.size, look.size),
        class_names=learn.classes,
        seed=options.seed,
        preprocessing=_told(look),
    )


def _folders(root: Path) -> tuple[ImageFolder, ImageFolder]:
    """What there is to learn from, and to test on."""
    test_root = root / "test" if (root / "test").is_dir() else root / "val"
    for needed in (root / "train", test_root):
        if not needed.is_dir():
            inner = folder_to_try(root)
            raise DataError(
                f"{root} has no folder {needed.name}; expected are train/ and test/ (or val/), "
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


def _told(look: _Look) -> dict[str, object]:
    """What a deployed network expects to be done to an image."""
    return {
        "resize_shorter_side": look.view.resize or look.size,
        "center_crop": look.size,
        "interpolation": look.view.interpolation,
        "antialias": True,
        "channels": "RGB",
        "scale": "0..255 to 0..1",
        "mean": list(look.pixels.mean),
        "std": list(look.pixels.std),
    }


def _splits(
    root: Path, files: dict[str, Files], targets: dict[str, Tensor], look: _Look,
    workers: int | None,
) -> dict[str, Split]:  # fmt: skip
    """In memory if the images are small and fit; else from disk, with the holdout kept if it fits.

    The holdout is scored again and again, and the test images once.
    """
    size = {name: len(f) * 3 * look.size * look.size for name, f in files.items()}
    total, room = sum(size.values()), min(DECODED_LIMIT_BYTES, _memory_bytes() // 4)
    if not look.view.parts and total <= DECODED_LIMIT_BYTES:
        _log.info(
            "%s: %s images of %d pixels are held in memory (%s).",
            root, f"{sum(map(len, files.values())):,}", look.size, _bytes(total),
        )  # fmt: skip
        return {
            name: ArraySplit(_decoded(f, look.size), targets[name], look.pixels)
            for name, f in files.items()
        }
    held = size["holdout"] if size["holdout"] <= room else 0
    _log.info(
        "%s: %s images are decoded as they are due; those of the holdout (%s) %s.",
        root, f"{sum(map(len, files.values())):,}", f"{len(files['holdout']):,}",
        f"stay in memory, in {_bytes(held)} at most" if held else "too",
    )  # fmt: skip
    return {
        name: FileSplit(
            f, targets[name], look.size, look.pixels, look.view, workers,
            hold=name == "holdout" and held > 0,
        )
        for name, f in files.items()
    }  # fmt: skip


def _decoded(files: Files, size: int) -> Tensor:
    """The images as bytes [N, 3, size, size], as they were decoded at an earlier start or anew."""
    how = f"{_DECODING}/{size}/{PIL.__version__}/{features.version('jpg')}/{files.digest}"
    name = f"decoded-{hashlib.sha256(how.encode()).hexdigest()[:32]}"
    worthwhile = len(files) >= FEWEST
    kept = read_bytes(name, (len(files), 3, size, size)) if worthwhile else None
    if kept is not None:
        return torch.from_numpy(kept)
    begun_ns = time.time_ns()
    images = decode_all(files, size)
    if worthwhile and files.last_change < begun_ns - SETTLED_NS:
        write_bytes(name, images.numpy())
    return images


def _memory_bytes() -> int:
    """Memory of this machine; without limit where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**62


def _bytes(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 else f"{count / 1024**2:.0f} MiB"

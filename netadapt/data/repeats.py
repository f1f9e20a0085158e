"""Images that are in two splits: an accuracy on them says little of images never seen."""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from netadapt.data.cache import Arrays, read_arrays, write_arrays
from netadapt.data.file_split import FileSplit
from netadapt.data.images import unreadable
from netadapt.data.index import FEWEST, SETTLED_NS
from netadapt.data.listing import Files
from netadapt.data.splits import ArraySplit
from netadapt.data.task import Split

_log = logging.getLogger(__name__)

_READERS = 8
"""Threads that read files; reading leaves the interpreter free."""

COMPARED = 100_000
"""Files that are opened at most to be compared, at every start."""


def remark_repeated(
    name: str, train: tuple[Split, Sequence[Path]], others: dict[str, tuple[Split, Sequence[Path]]]
) -> None:
    """Tell the log of images of other splits that are learned from.

    Args:
        name: of the data set.
        train: the split that is learned from, and its files.
        others: further splits by their names.
    """
    known, known_paths = train
    for what, (split, paths) in others.items():
        pairs = repeated(known, split)
        if pairs:
            there, here = pairs[0]
            _log.warning(
                "%s: %d of %d %s images are training images too, such as %s and %s; accuracies on "
                "them say little of images never seen.",
                name, len(pairs), len(paths), what, paths[here], known_paths[there],
            )  # fmt: skip


def repeated(known: Split, others: Split) -> list[tuple[int, int]]:
    """Pairs ``(i, k)``: the k-th of the other images has every pixel of the i-th known one.

    Of sets that are not decoded, files with the same bytes; only those of equal sizes are read, and
    none if these are more than 100,000.
    """
    if isinstance(known, FileSplit) and isinstance(others, FileSplit):
        if isinstance(known.paths, Files) and isinstance(others.paths, Files):
            return _same_listed(known.paths, others.paths)
        return _same_files(known.paths, others.paths)
    if not isinstance(known, ArraySplit) or not isinstance(others, ArraySplit):
        return []
    first = {digest: i for i, digest in reversed(list(enumerate(_digests(known))))}
    return [(first[d], k) for k, d in enumerate(_digests(others)) if d in first]


def _same_listed(known: Files, others: Files) -> list[tuple[int, int]]:
    """The same of files of which it is known when they changed: they are compared once."""
    both = hashlib.sha256((known.digest + others.digest).encode()).hexdigest()[:32]
    worthwhile = len(known) + len(others) >= FEWEST
    kept = read_arrays(f"repeats-{both}") if worthwhile else None
    if kept is not None and _fits(kept, len(known), len(others)):
        return [(first, second) for first, second in kept["pairs"].tolist()]
    begun_ns = time.time_ns()
    pairs = _same_files(known, others)
    if worthwhile and max(known.last_change, others.last_change) < begun_ns - SETTLED_NS:
        array = np.array(pairs, np.int64).reshape(-1, 2)
        write_arrays(f"repeats-{both}", {"pairs": array})
    return pairs


def _fits(kept: Arrays, known: int, others: int) -> bool:
    """Whether what is kept are pairs of indices into so many files each."""
    pairs = kept.get("pairs")
    return (
        pairs is not None
        and pairs.dtype == np.int64
        and pairs.shape[1:] == (2,)
        and bool((pairs >= 0).all() and (pairs < (known, others)).all())
    )


def _same_files(known: Sequence[Path], others: Sequence[Path]) -> list[tuple[int, int]]:
    """Pairs of files with the same bytes, with the first of several known ones.

    Files are told apart by their sizes, then by their ends, which is a small part of what an epoch
    reads; only those that agree in both are read whole.
    """
    firsts: dict[int, object] = dict(enumerate(_sizes(known)))
    seconds: dict[int, object] = dict(enumerate(_sizes(others)))
    for mark in (_end, _digest):
        shared = set(firsts.values()) & set(seconds.values())
        left = [i for i, value in firsts.items() if value in shared]
        right = [k for k, value in seconds.items() if value in shared]
        if len(left) + len(right) > COMPARED:
            return []
        with ThreadPoolExecutor(_READERS) as pool:
            firsts = dict(zip(left, pool.map(mark, [known[i] for i in left]), strict=True))
            seconds = dict(zip(right, pool.map(mark, [others[k] for k in right]), strict=True))
    first = {value: i for i, value in reversed(firsts.items())}
    return [(first[value], k) for k, value in seconds.items() if value in first]


def _sizes(paths: Sequence[Path]) -> Iterator[int]:
    if isinstance(paths, Files):
        return (paths.size(number) for number in range(len(paths)))
    return (path.stat().st_size for path in paths)


def _end(path: Path) -> bytes:
    return _read(path, 4096)


def _digest(path: Path) -> bytes:
    return hashlib.blake2b(_read(path, path.stat().st_size)).digest()


def _read(path: Path, last: int) -> bytes:
    """The last bytes of an image file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - last))
            return file.read()
    except OSError as error:
        raise unreadable(path, str(error.strerror)) from error


def _digests(split: ArraySplit) -> Iterator[bytes]:
    return (hashlib.blake2b(image.numpy().data).digest() for image in split.images)

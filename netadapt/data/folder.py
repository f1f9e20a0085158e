"""Folders of images: which files are data, and which class each is of.

Files and folders that systems and programs leave beside data are none: hidden ones (a name that
begins with a dot, such as ``.ipynb_checkpoints``), ``__MACOSX``, ``@eaDir``, ... A class is named
by a folder right below ``train/`` or ``test/``; deeper folders belong to it.
"""

import os
from array import array
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netadapt.data.listing import Files, Folders, ImageFolder, changed_ns
from netadapt.errors import DataError

_LEFT_BEHIND = frozenset(
    {"__macosx", "__pycache__", "@eadir", "@tmp", "#recycle", "$recycle.bin", "lost+found",
     "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
)  # fmt: skip
"""Names, in lower case, that Mac OS X, Synology, Windows and others put beside a user's files."""

_SCANNERS = 8
"""Classes that are looked through at once; a file system over a network answers slowly."""


def scan(root: Path, known: frozenset[str]) -> ImageFolder:
    """Find the images below one folder per class. Whatever else lies there is remarked on.

    Args:
        root: holds the folders of the classes.
        known: endings of image files, in lower case and with their dot.

    Raises:
        DataError: there are fewer than two classes, one has no images, or a folder or file cannot
            be read.
    """
    try:
        return _scanned(root, known)
    except OSError as error:  # a link in a circle, or what has gone since its folder was read
        place = error.filename or root
        raise DataError(
            f"Cannot look through {root}: {place}: {error.strerror}. If it was being changed, try "
            "again; otherwise repair or remove that entry."
        ) from error


def _scanned(root: Path, known: frozenset[str]) -> ImageFolder:
    """See :func:`scan`."""
    entries = _entries(root)
    classes = tuple(entry.name for entry in entries if entry.is_dir())
    if len(classes) < 2:
        raise DataError(_too_few(root, classes))
    others = [entry.name for entry in entries if entry.is_file()]
    with ThreadPoolExecutor(_SCANNERS) as pool:
        parts = list(pool.map(lambda name: _class(root, name, known), classes))
    names = b"".join(bytes(part.names) for part in parts)
    lengths = np.concatenate([_numbers(part.lengths) for part in parts])
    for part in parts:
        others += part.others
    return ImageFolder(
        files=Files(
            root,
            names,
            np.cumsum(lengths),
            np.concatenate([_numbers(part.sizes) for part in parts]),
            np.concatenate([_numbers(part.changed) for part in parts]),
        ),
        labels=np.repeat(np.arange(len(parts)), [len(part.lengths) for part in parts]),
        classes=classes,
        folders=((".", changed_ns(root.stat())), *(f for part in parts for f in part.folders)),
        remarks=_remarks(others, [part.deeper for part in parts if part.deeper]),
    )


def folder_to_try(root: Path) -> Path | None:
    """A folder inside ``root`` that has a ``train/``, where an archive was unpacked too deep."""
    return next((Path(e.path) for e in _entries(root) if (Path(e.path) / "train").is_dir()), None)


@dataclass
class _Class:
    """What was found in the folder of one class; names are relative to the folder of all."""

    names: bytearray = field(default_factory=bytearray)
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    changed: "array[int]" = field(default_factory=lambda: array("q"))
    folders: list[tuple[str, int]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    deeper: str = ""


def _class(root: Path, name: str, known: frozenset[str]) -> _Class:
    part = _Class()
    found = list(_files(root, name, part.folders))
    # As paths are sorted: folder by folder, which the text of a path is not.
    found.sort(key=lambda file: file[0].split("/"))
    for path, size, changed in found:
        if os.path.splitext(path)[1].lower() not in known:
            part.others.append(path)
            continue
        written = os.fsencode(path)
        part.names += written
        part.lengths.append(len(written))
        part.sizes.append(size)
        part.changed.append(changed)
        if path.count("/") > 1 and not part.deeper:
            part.deeper = path.rpartition("/")[0]
    if not part.lengths:
        raise DataError(
            f"Class folder {root / name} has no images; add some or remove it (known are "
            f"files such as .jpg and .png{_endings(part.others)})."
        )
    return part


def _files(root: Path, folder: str, folders: Folders) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of all files below a folder, by a walk that ends where it has been.

    Links are followed, but none into a folder already seen.
    """
    seen: set[tuple[int, int]] = set()
    ahead = [folder]
    while ahead:
        current = ahead.pop()
        status = (root / current).stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.append((current, changed_ns(status)))
        for entry in _entries(root / current):
            path = f"{current}/{entry.name}"
            if entry.is_dir():
                ahead.append(path)
            elif entry.is_file():
                state = entry.stat()
                yield path, state.st_size, changed_ns(state)
            else:
                what = "a link to nothing" if entry.is_symlink() else "a pipe, socket or device"
                raise DataError(f"{root / path} is no file but {what}; remove it.")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a user put into a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            mine = [e for e in entries if e.name[0] != "." and e.name.lower() not in _LEFT_BEHIND]
    except OSError as error:
        raise DataError(f"Cannot read the folder {folder}: {error.strerror}.") from error
    return sorted(mine, key=lambda entry: entry.name)


def _numbers(values: "array[int]") -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.frombuffer(values, np.int64) if values else np.zeros(0, np.int64)


def _too_few(root: Path, classes: tuple[str, ...]) -> str:
    inner = [e.name for name in classes for e in _entries(root / name) if e.is_dir()]
    if inner:
        return (
            f"{root} has 1 class folders; at least two are needed to learn from. {classes[0]} "
            f"holds folders itself ({_some(inner)}): if these are the classes, move them up into "
            f"{root}."
        )
    return f"{root} has {len(classes)} class folders; at least two are needed to learn from."


def _endings(names: list[str]) -> str:
    endings = _kinds(names)
    return f", not {_some(endings)}" if endings else ""


def _kinds(names: list[str]) -> list[str]:
    return sorted(Counter(os.path.splitext(name)[1].lower() or "no ending" for name in names))


def _remarks(others: list[str], deeper: list[str]) -> tuple[str, ...]:
    """What to tell of a folder beside its images."""
    told = []
    if others:
        told.append(
            f"{len(others)} file(s) are no images of a class and left out "
            f"({_some(_kinds(others))}), such as {others[0]}."
        )
    if deeper:
        told.append(
            f"folders inside class folders, such as {deeper[0]}, count as of their class; if they "
            "are the classes, move them up."
        )
    return tuple(told)


def _some(names: list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")

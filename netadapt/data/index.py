"""An index of a folder of images, so that a second start need not look at every file.

It holds as long as no folder below was changed, which adding, removing or renaming a file does. A
file that is written anew in its place changes no folder: the sizes and times of the files are
looked at too, of at most 100,000 that are drawn evenly.
"""

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from netadapt.data.cache import Arrays, read_arrays, write_arrays
from netadapt.data.folder import scan
from netadapt.data.images import suffixes
from netadapt.data.listing import Files, ImageFolder, Numbers, changed_ns

_log = logging.getLogger(__name__)

_VERSION = 1

LOOKED_AT = 100_000
"""Files whose sizes and times are compared with the index."""

SETTLED_NS = 2 * 10**9
"""What changed so shortly before it was looked at may change again without a later time."""


FEWEST = 1000
"""Folders of fewer images are looked through each time, which takes no time."""


def indexed(root: Path) -> ImageFolder:
    """The images below one folder per class, as :func:`netadapt.data.folder.scan` finds them.

    Raises:
        DataError: as there.
    """
    known = suffixes()
    key = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    stored = read_arrays(f"index-{key}")
    folder = _valid(root, stored, known) if stored else None
    if folder is None:
        begun_ns = time.time_ns()
        folder = scan(root, known)
        changed = max(folder.files.last_change, *(when for _, when in folder.folders))
        if len(folder.files) >= FEWEST and changed < begun_ns - SETTLED_NS:
            write_arrays(f"index-{key}", _arrays(root, folder, known))
    for remark in folder.remarks:
        _log.warning("%s: %s", root, remark)
    return folder


def _arrays(root: Path, folder: ImageFolder, known: frozenset[str]) -> Arrays:
    about = {
        "version": _VERSION, "root": str(root.resolve()), "suffixes": sorted(known),
        "classes": folder.classes, "folders": folder.folders, "remarks": folder.remarks,
    }  # fmt: skip
    files = folder.files
    return {
        "about": np.frombuffer(json.dumps(about).encode("ascii"), np.uint8),
        "names": np.frombuffer(files.names, np.uint8),
        "ends": files.ends, "sizes": files.sizes, "changed": files.changed,
        "labels": folder.labels,
    }  # fmt: skip


def _valid(root: Path, stored: Arrays, known: frozenset[str]) -> ImageFolder | None:
    """What an index tells, if it is of this folder and nothing has changed since."""
    try:
        about: dict[str, Any] = json.loads(stored["about"].tobytes())
        if (about["version"], about["root"], about["suffixes"]) != (
            _VERSION, str(root.resolve()), sorted(known),
        ):  # fmt: skip
            return None
        numbers = [_numbers(stored[name]) for name in ("ends", "sizes", "changed", "labels")]
        ends, sizes, changed, labels = numbers
        folder = ImageFolder(
            Files(root, stored["names"].tobytes(), ends, sizes, changed),
            labels,
            tuple(map(str, about["classes"])),
            tuple((str(name), int(when)) for name, when in about["folders"]),
            tuple(map(str, about["remarks"])),
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return folder if _whole(folder) and _unchanged(folder) else None


def _numbers(values: Any) -> Numbers:
    if values.dtype != np.int64 or values.ndim != 1:
        raise TypeError("not what an index has")
    return np.asarray(values)


def _whole(folder: ImageFolder) -> bool:
    """Whether the parts of an index fit each other."""
    files, labels, classes = folder.files, folder.labels, len(folder.classes)
    return (
        len(files.ends) == len(files.sizes) == len(files.changed) == len(labels) > 0
        and bool((np.diff(files.ends, prepend=0) > 0).all())
        and files.ends[-1] == len(files.names)
        and classes > 1
        and bool((labels >= 0).all() and (labels < classes).all())
        and bool((np.bincount(labels, minlength=classes) > 0).all())
    )


def _unchanged(folder: ImageFolder) -> bool:
    root, files = folder.files.root, folder.files
    try:
        if any(changed_ns(os.stat(root / name)) != when for name, when in folder.folders):
            return False
        drawn = np.unique(np.linspace(0, len(files) - 1, min(len(files), LOOKED_AT)).astype(int))
        base = os.fsencode(root) + b"/"
        for number in drawn.tolist():
            status = os.stat(base + files.name(number))
            if (status.st_size, changed_ns(status)) != (
                files.sizes[number], files.changed[number],
            ):  # fmt: skip
                return False
    except (OSError, ValueError):
        return False
    return True

"""What lies in a folder of images, told in a few bytes per file: millions of them fit in memory."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]

Folders = list[tuple[str, int]]
"""Folders, relative to that of all classes, with the time at which each was last changed."""


def changed_ns(status: os.stat_result) -> int:
    """When a file or the entries of a folder last changed.

    It is the time of the inode, which no program can set back as it can that of the content;
    Windows has none.
    """
    return status.st_mtime_ns if os.name == "nt" else status.st_ctime_ns


@dataclass(frozen=True, eq=False)
class Files(Sequence[Path]):
    """Paths of files below one folder, with their sizes.

    Attributes:
        root: that folder.
        names: their names relative to it, one after the other, as the file system has them.
        ends: where in ``names`` each ends [files].
        sizes: of each, in bytes [files].
        changed: when each was last changed, see :func:`changed_ns` [files].
        rows: which of these files are meant, in their order; None for all.
    """

    root: Path
    names: bytes
    ends: Numbers
    sizes: Numbers
    changed: Numbers
    rows: Numbers | None = None

    def __len__(self) -> int:
        return len(self.ends if self.rows is None else self.rows)

    @overload
    def __getitem__(self, number: int) -> Path: ...
    @overload
    def __getitem__(self, number: slice) -> "Files": ...
    def __getitem__(self, number: int | slice) -> "Path | Files":
        """The path of one file, or some of the files."""
        if isinstance(number, slice):
            return self.taken(np.arange(len(self))[number])
        return self.root / os.fsdecode(self.name(number))

    def name(self, number: int) -> bytes:
        """The name of one file, relative to the root."""
        row = self._row(number)
        return self.names[self.ends[row - 1] if row else 0 : self.ends[row]]

    def size(self, number: int) -> int:
        """The size of one file in bytes, when it was last looked at."""
        return int(self.sizes[self._row(number)])

    def taken(self, numbers: Numbers) -> "Files":
        """Some of the files, in the order of their numbers."""
        return replace(self, rows=numbers if self.rows is None else self.rows[numbers])

    @property
    def last_change(self) -> int:
        """When the latest of the files changed."""
        return int((self.changed if self.rows is None else self.changed[self.rows]).max())

    @cached_property
    def digest(self) -> str:
        """Hash of where the files are, and of their names, sizes and times."""
        digest = hashlib.sha256(os.fsencode(self.root.resolve()))
        rows = slice(None) if self.rows is None else self.rows
        digest.update(b"".join(self.name(number) + b"\0" for number in range(len(self))))
        for numbers in (self.sizes, self.changed):
            digest.update(np.ascontiguousarray(numbers[rows]).data)
        return digest.hexdigest()

    def _row(self, number: int) -> int:
        return range(len(self.ends))[number] if self.rows is None else int(self.rows[number])


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The images of one split.

    Attributes:
        files: the image files, class by class.
        labels: the class index of each.
        classes: names, by class index.
        folders: every folder that was looked into, so that a later change can be noticed.
        remarks: what a user may want to know of the rest that lies there.
    """

    files: Files
    labels: Numbers
    classes: tuple[str, ...]
    folders: tuple[tuple[str, int], ...]
    remarks: tuple[str, ...]

"""Folders of images: which files are data, and which class each is of.

Files and folders that systems and programs leave beside data are none: hidden ones (a name that
begins with a dot, such as ``.ipynb_checkpoints``), ``__MACOSX``, ``@eaDir``, ... A class is named
by a folder right below ``train/`` or ``test/``; deeper folders belong to it.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netadapt.data.images import suffixes
from netadapt.errors import DataError

_log = logging.getLogger(__name__)

_LEFT_BEHIND = frozenset(
    {"__macosx", "__pycache__", "@eadir", "@tmp", "#recycle", "$recycle.bin", "lost+found",
     "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
)  # fmt: skip
"""Names, in lower case, that Mac OS X, Synology, Windows and others put beside a user's files."""


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images of one split.

    Attributes:
        paths: image files, class by class.
        labels: the class index of each.
        classes: names, by class index.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def scan(root: Path) -> ImageFolder:
    """Find the images below one folder per class. Whatever else lies there is told to the log.

    Raises:
        DataError: there are fewer than two classes, one has no images, or a folder or file cannot
            be read.
    """
    classes = tuple(entry.name for entry in _entries(root) if entry.is_dir())
    if len(classes) < 2:
        raise DataError(_too_few(root, classes))
    known = suffixes()
    paths: list[Path] = []
    labels: list[int] = []
    others = [Path(entry.path) for entry in _entries(root) if entry.is_file()]
    deeper: list[Path] = []
    for label, name in enumerate(classes):
        files = sorted(_files(root / name, set()))
        images = [path for path in files if path.suffix.lower() in known]
        if not images:
            raise DataError(
                f"Class folder {root / name} has no images; add some or remove it (known are "
                f"files such as .jpg and .png{_endings(files)})."
            )
        others += [path for path in files if path.suffix.lower() not in known]
        deeper += [path.parent for path in images if path.parent != root / name][:1]
        paths += images
        labels += [label] * len(images)
    _remark(root, others, deeper)
    return ImageFolder(tuple(paths), tuple(labels), classes)


def folder_to_try(root: Path) -> Path | None:
    """A folder inside ``root`` that has a ``train/``, where an archive was unpacked too deep."""
    return next((Path(e.path) for e in _entries(root) if (Path(e.path) / "train").is_dir()), None)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a user put into a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            mine = [e for e in entries if e.name[0] != "." and e.name.lower() not in _LEFT_BEHIND]
    except OSError as error:
        raise DataError(f"Cannot read the folder {folder}: {error.strerror}.") from error
    return sorted(mine, key=lambda entry: entry.name)


def _files(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """All files below a folder; links are followed, but none into a folder already seen."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _files(folder / entry.name, seen)
        elif entry.is_file():
            yield folder / entry.name
        else:
            what = "a link to nothing" if entry.is_symlink() else "a pipe, socket or device"
            raise DataError(f"{folder / entry.name} is no file but {what}; remove it.")


def _too_few(root: Path, classes: tuple[str, ...]) -> str:
    inner = [e.name for name in classes for e in _entries(root / name) if e.is_dir()]
    if inner:
        return (
            f"{root} has 1 class folders; at least two are needed to learn from. {classes[0]} "
            f"holds folders itself ({_some(inner)}): if these are the classes, move them up into "
            f"{root}."
        )
    return f"{root} has {len(classes)} class folders; at least two are needed to learn from."


def _endings(files: list[Path]) -> str:
    endings = Counter(path.suffix.lower() or "no ending" for path in files)
    return f", not {_some(sorted(endings))}" if endings else ""


def _remark(root: Path, others: list[Path], deeper: list[Path]) -> None:
    if others:
        endings = sorted({path.suffix.lower() or "no ending" for path in others})
        _log.warning(
            "%s: %d file(s) are no images of a class and left out (%s), such as %s.",
            root, len(others), _some(endings), others[0].relative_to(root),
        )  # fmt: skip
    if deeper:
        _log.warning(
            "%s: folders inside class folders, such as %s, count as of their class; if they are "
            "the classes, move them up.",
            root, deeper[0].relative_to(root),
        )  # fmt: skip


def _some(names: list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")

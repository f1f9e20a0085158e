"""Files that make a second start fast: what lies in a folder, and small images as they decode.

They are in ``$NETADAPT_CACHE``, or else ``$XDG_CACHE_HOME/netadapt``, or ``~/.cache/netadapt``; an
empty ``NETADAPT_CACHE`` turns them off. They hold nothing that is not in the data: what is missing,
damaged or of another version is made anew, and where nothing can be written all works without.
"""

import os
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

LIMIT_BYTES = 8 * 1024**3
"""All files together take no more; those not used for longest go first."""

_OURS = "netadapt-"
_KEPT = re.compile(r"netadapt-((index|decoded|repeats)-[\w-]+\.np[yz]|\w+\.part)")
"""Names of the files that are written here; no other file is deleted."""

_STALE_S = 86400

Arrays = Mapping[str, np.ndarray[Any, Any]]


def cache_folder() -> Path | None:
    """Where the files are; None if there are to be none."""
    own = os.environ.get("NETADAPT_CACHE")
    if own is not None:
        return Path(own) if own else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    with suppress(RuntimeError):  # a user without a home
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "netadapt"
    return None


def read_arrays(name: str) -> dict[str, np.ndarray[Any, Any]] | None:
    """The arrays of a file that :func:`write_arrays` wrote; None if it is not there, or not whole.

    Each array is checked against its checksum.
    """
    path = _plain(_OURS + f"{name}.npz")
    if path is None:
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {key: content[key] for key in content.files}
    except Exception:  # zipfile and numpy raise anything for a damaged file
        return None
    _used(path)
    return arrays


def write_arrays(name: str, arrays: Arrays) -> None:
    """Write arrays under a name, whole or not at all; nothing happens where that is not possible.

    Args:
        name: of letters, digits and hyphens.
        arrays: by names.
    """
    _write(lambda file: np.savez(file, **dict[str, Any](arrays)), lambda: _OURS + f"{name}.npz")


def read_bytes(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """One array of bytes that :func:`write_bytes` wrote, mapped and not copied into memory.

    Writing to it changes no file. Its checksum is part of the file's name.
    """
    for found in _names():
        if not re.fullmatch(_OURS + f"{name}-[0-9a-f]{{8}}\\.npy", found):
            continue
        path = _plain(found)
        try:
            content = np.lib.format.open_memmap(path, mode="c") if path else None
            fits = content is not None and content.shape == shape and content.dtype == np.uint8
            if path is not None and fits and found == _bytes_name(name, content):
                _used(path)
                return content
        except Exception:  # as above
            continue
    return None


def write_bytes(name: str, content: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    """Write one array of bytes, as :func:`write_arrays` does."""
    if content.nbytes <= LIMIT_BYTES // 2:
        _write(
            lambda file: np.save(file, content, allow_pickle=False),
            lambda: _bytes_name(name, content),
        )


def _bytes_name(name: str, content: Any) -> str:
    return _OURS + f"{name}-{zlib.crc32(np.ascontiguousarray(content).data):08x}.npy"


def _names() -> list[str]:
    """Names of all files of ours; none where the folder cannot be read."""
    folder = cache_folder()
    try:
        return sorted(filter(_KEPT.fullmatch, os.listdir(folder))) if folder else []
    except OSError:
        return []


def _plain(name: str) -> Path | None:
    """The path of a file of the cache, if it is a plain one."""
    folder = cache_folder()
    path = folder / name if folder else None
    try:
        return path if path is not None and path.is_file() else None
    except OSError:
        return None


def _used(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)


def _write(fill: Callable[[IO[bytes]], None], name: Callable[[], str]) -> None:
    folder = cache_folder()
    if folder is None:
        return
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=folder, prefix=_OURS, suffix=".part", delete=False
        ) as file:
            temporary = Path(file.name)
            fill(file)
        temporary.replace(folder / name())
        _prune()
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _prune() -> None:
    """Delete what was never finished, and what was not used for longest, down to the limit."""
    states = [(path.stat(), path) for path in map(_plain, _names()) if path]
    total = sum(state.st_size for state, _ in states)
    for state, path in sorted(states, key=lambda pair: pair[0].st_mtime):
        unfinished = path.suffix == ".part" and time.time() - state.st_mtime > _STALE_S
        if unfinished or total > LIMIT_BYTES:
            path.unlink(missing_ok=True)
            total -= state.st_size

"""Writing files so that nothing is lost: whole or not at all, and one sentence where it fails."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from netadapt.errors import RunError, UsageError

PNG_BEGINS = (b"\x89PNG\r\n",)
PAGE_BEGINS = (b"<!doctype html", b"<!DOCTYPE html", b"<html")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a failed write into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "The disk is full: free some space, then repeat the command."
        else:
            advice = "Check the folder and its permissions, then repeat the command."
        reason = error.strerror or str(error)
        raise RunError(f"Cannot write {path} ({reason}). {advice}") from error


def claimed(path: Path) -> FileLock:
    """A lock that one process holds as long as it writes to a file or folder.

    It lies beside, so that what is written may be replaced or moved meanwhile.

    Raises:
        RunError: another process has it, or there is no writing there.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"Another process is writing to {path}; wait for it, or name another."
            ) from None
    return lock


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the lock of a file that is written bit by bit, and leave nothing of it.

    Raises:
        RunError: as in :func:`claimed`.
    """
    lock = claimed(path)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


def size_of(path: Path) -> int | None:
    """Bytes of a file; None if there is none."""
    return path.stat().st_size if path.is_file() else None


def check_output(path: Path, *, begins: tuple[bytes, ...] = ()) -> None:
    """Refuse to replace what is no plain file, or a file of another kind.

    Args:
        path: what is going to be written.
        begins: how files of its kind begin; none to replace any plain file.

    Raises:
        UsageError: what is there is something else, or there is no writing to it.
    """
    try:
        if path.is_symlink():
            raise UsageError(
                f"{path} is a symbolic link and is left as it is; name the file itself."
            )
        if not path.exists():
            nearest = next(p for p in path.absolute().parents if p.exists() or p.is_symlink())
            if not nearest.is_dir():
                raise UsageError(f"Cannot write {path}: {nearest} is no folder.")
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise UsageError(f"Cannot write {path}: the folder {nearest} is not writable.")
            return
        if not path.is_file():
            raise UsageError(f"{path} is no plain file and is left as it is; name another.")
        if begins and path.stat().st_size:
            with path.open("rb") as file:
                start = file.read(4096)
            if not any(kind in start for kind in begins):
                raise UsageError(
                    f"{path} is there already and is a file of another kind; move it away, or name "
                    "another."
                )
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: a reader sees the old content or the new.

    Raises:
        RunError: the disk is full or the folder cannot be written.
        UsageError: there is something that is no plain file, such as a link or a device.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        check_output(path)
    temporary = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _keep_names(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _keep_names(folder: Path) -> None:
    """Bring what was renamed in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

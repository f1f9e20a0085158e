"""Writing files so that nothing is lost: whole or not at all, and one sentence where it fails."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netadapt.errors import RunError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a failed write into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "The disk is full: free some space, then repeat the command to continue."
        else:
            advice = "Check the folder and its permissions, then repeat the command to continue."
        reason = error.strerror or str(error)
        raise RunError(f"Cannot write {path} ({reason}). {advice}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: a reader sees the old content or the new.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

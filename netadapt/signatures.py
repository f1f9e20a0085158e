"""What a file is, by its first bytes: its name only says what it was meant to be."""

from pathlib import Path

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7-zip",
    b"Rar!": "rar",
}


def first_bytes(path: Path, count: int = 64) -> bytes:
    """The beginning of a file; raises ``OSError``."""
    with path.open("rb") as file:
        return file.read(count)


def mishap(path: Path) -> str:
    """What a file is instead of what its name promises, if that is one of the usual accidents.

    Returns:
        A clause such as ``it is empty``, with the remedy where there is one; or nothing.
    """
    if path.is_dir():
        return "it is a folder; name a file in it"
    if not path.exists():
        return "it is not there (any more)"
    if not path.is_file():
        return "it is no regular file"
    try:
        start = first_bytes(path)
    except OSError as error:
        return str(error.strerror or error).lower()
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself with 'git lfs pull'"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page; download the file itself"
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            return f"it is compressed ({name}); unpack it first"
    return ""

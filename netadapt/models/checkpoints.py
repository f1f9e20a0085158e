"""Weight files in the forms that people have, read without running anything that they hold.

What a file is, is told by its content, not by its suffix. Of a pickle, tensors, numbers, texts and
their containers are read; objects of any class stay unread, as :class:`Unread`, and no code is
imported or run for them (``torch.load(..., weights_only=True)``, PyTorch's restricted unpickler).
"""

import json
import pickletools
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from netadapt.errors import ModelError
from netadapt.signatures import first_bytes, mishap

_INDEX_LIMIT_BYTES = 64 * 1024**2
_ARRAY_PARTS: dict[str, Any] = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "_reconstruct": np.zeros(1).__reduce__()[0],
}
"""What numpy's arrays, which are plain data, are rebuilt by."""
_ALLOWED = re.compile(r"torch\.\w+|torch\._utils\..*|_codecs\.encode|collections\.OrderedDict")
"""Names in old files that are not classes of others."""

_LONGEST_NAME = 500
"""No class or function has a longer one, with its module."""

_COMMON = ("builtins", "collections", "numpy")
_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")


class Unread:
    """An object of some class in a pickle; what it held is passed over.

    Attributes:
        kind: its class, as ``package.module.Class``.
    """

    kind = ""

    def __new__(cls, *_args: Any, **_named: Any) -> "Unread":
        """Whatever arguments the class takes."""
        return super().__new__(cls)

    def __setstate__(self, _state: Any) -> None:
        """Drop what the object held."""


def read(path: Path) -> Any:
    """What a weight file holds: a mapping, as a rule, with tensors somewhere in it.

    Read are safetensors (one file, or the ``.index.json`` of several) and what ``torch.save``
    wrote.

    Raises:
        ModelError: the file is missing, damaged, of another kind, or holds code alone.
    """
    if not path.exists():
        raise ModelError(f"There is no weight file {path}; check the path.")
    accident = mishap(path)
    if accident:
        raise _unreadable(path, accident)
    start = first_bytes(path)
    try:
        if start.lstrip().startswith(b"{") and path.stat().st_size < _INDEX_LIMIT_BYTES:
            return _sharded(path)
        if _is_safetensors(start, path):
            return load_file(path)
        return _torch_file(path)
    except SafetensorError as error:
        raise _unreadable(path, f"it is a damaged safetensors file ({error})") from error
    except OSError as error:
        raise _unreadable(path, (error.strerror or str(error)).lower()) from error


def _is_safetensors(start: bytes, path: Path) -> bool:
    """Eight bytes say how long the header is, which is JSON."""
    if len(start) < 9 or start[8:9] != b"{":
        return False
    length: int = struct.unpack("<Q", start[:8])[0]
    return length <= path.stat().st_size or path.suffix == ".safetensors"


def _sharded(path: Path) -> dict[str, Any]:
    """All tensors of the files that an index names."""
    try:
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path, "it is JSON, but no index of weight files") from error
    tensors: dict[str, Any] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise _unreadable(path, f"it names {name!r}, which is no file beside it")
        tensors |= read(path.with_name(name))
    return tensors


def _torch_file(path: Path) -> Any:
    """What ``torch.save`` wrote."""
    stubs = _stubs(path)
    if any(len(name) > _LONGEST_NAME for name in stubs):  # PyTorch would ponder it for minutes
        raise _unreadable(path, "it is damaged")
    dtypes = [type(np.dtype(name)) for name in _DTYPES]
    allowed: list[Any] = [*dtypes, *((value, name) for name, value in stubs.items())]
    try:
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals(allowed),
            path.open("rb") as file,  # of a path, torch.load would go by its suffix
        ):
            warnings.simplefilter("ignore")  # on pickle protocols, of no use to a user
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # it raises anything for what is damaged or no checkpoint
        kinds = [v.kind for v in stubs.values() if isinstance(v, type) and issubclass(v, Unread)]
        raise _unreadable(path, _why(path, kinds)) from error
    if isinstance(content, Unread):
        raise ModelError(
            f"{path} is a whole pickled model ({content.kind}), and loading one would run code. "
            "Where it was made, save its weights alone: torch.save(model.state_dict(), path)."
        )
    return content


def _stubs(path: Path) -> dict[str, Any]:
    """A stand-in for every class or function that the pickle names and PyTorch does not allow."""
    stubs: dict[str, Any] = {}
    for name in _globals(path):
        module, _, attribute = name.rpartition(".")
        if module.startswith("numpy") and attribute in _ARRAY_PARTS:
            stubs[name] = _ARRAY_PARTS[attribute]
        elif name == "collections.defaultdict":
            stubs[name] = lambda *_: {}
        else:
            stubs[name] = type(attribute, (Unread,), {"__module__": module, "kind": name})
    return stubs


def _globals(path: Path) -> set[str]:
    """Names in the pickle that PyTorch does not allow by itself; found without running it."""
    try:
        if _is_zip(path):
            return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        with path.open("rb") as file:  # before PyTorch 1.6: four pickles, the last is the object
            found = [op for _ in range(4) for op in pickletools.genops(file)]
    except Exception:  # no checkpoint: torch.load will say so
        return set()
    names = {str(arg).replace(" ", ".") for op, arg, _ in found if op.name == "GLOBAL"}
    names = {name.replace("__builtin__.", "builtins.") for name in names}  # of protocol 2
    return {name for name in names if len(name) > _LONGEST_NAME or not _ALLOWED.fullmatch(name)}


def _is_zip(path: Path) -> bool:
    """Whether a file is an archive, be it a damaged one."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # as of one that says to span several disks
        return True


def _why(path: Path, kinds: list[str]) -> str:
    """Why PyTorch refuses a file."""
    if kinds:
        own = [kind for kind in kinds if kind.partition(".")[0] not in _COMMON]
        some = ", ".join(sorted(own or kinds)[:3])
        return f"it holds objects that only code could load ({some}); save the weights alone"
    if not _is_zip(path):
        return "it is damaged, was cut off, or is no weight file"
    try:
        with zipfile.ZipFile(path) as archive:
            inner = {name.partition("/")[2]: name for name in archive.namelist()}
            head = archive.open(inner["data.pkl"]).read(2) if "data.pkl" in inner else b""
    except Exception:  # zipfile raises anything for what is damaged
        return "it is damaged"
    if "constants.pkl" in inner:
        return "it is a TorchScript program"
    if "archive_format" in inner:
        return "it is a program of torch.export"
    if not head:
        return "it is an archive of another kind"
    if head > b"\x80\x02":
        return f"it was saved with pickle protocol {head[1]}, and only torch.save's own, 2, is read"
    return "it is damaged"


def _unreadable(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} cannot be read as weights: {reason}. Expected is what torch.save("
        "model.state_dict(), path) wrote, or safetensors."
    )

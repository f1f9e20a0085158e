"""ONNX files as people have them: with their weights beside them, with open dimensions, too new.

What is sent to a device is one message that holds its weights. Of the dimensions that a file leaves
open, the first of an input is the batch, which the device sets; any other must be given, since a
network costs as much as its inputs are large.
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from netadapt.errors import ShapeError, UsageError
from netadapt.signatures import mishap

Shapes = Mapping[str, Sequence[int]]
"""Shape of each input by name, with its batch or without; the name may be empty if one needs it."""

_MESSAGE_LIMIT_BYTES = 2**31 - 1  # of Protocol Buffers
_TEXT = "STRING"
_UNFED = ("BFLOAT16", "FLOAT8", "FLOAT4", "INT4", "UINT4", "COMPLEX", "INT2", "UINT2")
"""Beginnings of the element types that numpy has no numbers for."""


def read_onnx(path: Path, shapes: Shapes | None = None) -> bytes:
    """A model as one message, with its weights in it and no dimension open but the batch.

    Args:
        path: the file; weights that it keeps in other files are read from beside it.
        shapes: for inputs that leave more open than their batch.

    Raises:
        UsageError: the file cannot be read, or is no ONNX model.
        ShapeError: it needs shapes that are not given, or does not have those that are.
    """
    model = _parsed(path)
    _inline(model, path)
    _fix(model, path, shapes or {})
    return bytes(model.SerializeToString())


def refusal(error: str) -> str:
    """What ONNX Runtime says of a model that it cannot load, as a clause; empty if unknown."""
    for pattern, clause in _REFUSALS:
        match = re.search(pattern, error)
        if match:
            return clause.format(*match.groups())
    return ""


_REFUSALS = (
    (r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
     "it is written in version {0} of ONNX's format, and the runtime there reads up to {1}: "
     "export it for an older version, or install a newer onnxruntime"),
    (r"Opset (\d+) is under development.*?domain ([\w.]+) is till opset (\d+)",
     "it uses operators of opset {0} of {1}, and the runtime there knows up to {2}: export it for "
     "an older opset, or install a newer onnxruntime"),
    (r"([\w.:]+)\(-?\d+\) is not a registered function/op",
     "the runtime there has no operator {0}: export the model without it"),
    (r"No Op registered for (\S+) with domain_version of (\d+)",
     "the runtime there has no operator {0} in opset {1}: export the model without it"),
    (r"INVALID_PROTOBUF", "it is no ONNX model, or was cut off"),
)  # fmt: skip


def _parsed(path: Path) -> Any:
    import onnx

    if not path.exists():
        raise UsageError(f"There is no file {path}; check the path.")
    accident = mishap(path)
    if accident:
        raise _unreadable(path, accident)
    if path.stat().st_size > _MESSAGE_LIMIT_BYTES:
        raise _unreadable(path, "it has more than 2 GB, the most that ONNX allows in one file")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except OSError as error:
        raise _unreadable(path, (error.strerror or str(error)).lower()) from error
    except Exception as error:  # of Protocol Buffers, whose classes are no dependency of ours
        raise _unreadable(path, "it is no ONNX model, or was cut off") from error
    if not model.ir_version or not model.graph.node:
        raise _unreadable(path, "it is no ONNX model, or holds no operator")
    return model


def _inline(model: Any, path: Path) -> None:
    """Read the weights that a model keeps in files beside it into the model."""
    from onnx import TensorProto
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    total = path.stat().st_size
    for tensor in filter(uses_external_data, _tensors(model)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on keys that it does not know
                info = ExternalDataInfo(tensor)
            location = Path(info.location)
        except (ValueError, TypeError) as error:
            raise _unreadable(path, "where it keeps its weights is no file and place") from error
        data = _beside(path, location, info.offset or 0, info.length)
        total += len(data)
        if total > _MESSAGE_LIMIT_BYTES:
            raise _unreadable(
                path, "with the weights beside it, it has more than 2 GB, the most that can be sent"
            )
        tensor.raw_data = data
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _tensors(model: Any) -> Iterator[Any]:
    """All constants of a model, those of its branches and functions too."""
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        yield from getattr(graph, "initializer", ())  # a function has none
        for attribute in (a for node in graph.node for a in node.attribute):
            graphs += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t


def _beside(path: Path, location: Path, offset: int, length: int | None) -> bytes:
    """Bytes of a file that holds weights of the model; it must be in its folder or below."""
    place = path.parent / location
    if location.is_absolute() or ".." in location.parts:
        raise _unreadable(path, f"it keeps weights in {location}, outside of its folder")
    try:
        with place.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - offset  # nothing is there of what has no end
            wanted = left if length is None else length
            if not 0 <= wanted <= left:
                raise _unreadable(path, f"{place}, where it keeps its weights, was cut off")
            file.seek(offset)
            return file.read(wanted)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unreadable(path, f"it keeps its weights in {place} ({reason})") from error


def _fix(model: Any, path: Path, shapes: Shapes) -> None:
    """Fill open dimensions from the shapes; all that share a name become the same."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {i.name: i for i in model.graph.input if i.name not in constants}
    for value in inputs.values():
        _check_type(value, path)
    batch = {d.dim_param for i in inputs.values() for d in _dims(i)[:1] if d.dim_param}
    needy = [name for name, i in inputs.items() if not _settled(i, batch)]
    known: dict[str, int] = {}
    for name, shape in _by_name(shapes, inputs, needy, path).items():
        known |= _assigned(inputs[name], shape, path)
    for value in [*inputs.values(), *model.graph.output, *model.graph.value_info]:
        for dim in _dims(value):
            if dim.dim_param in known:
                dim.dim_value = known[dim.dim_param]
    lacking = [name for name, i in inputs.items() if not _settled(i, batch)]
    if lacking:
        raise ShapeError(
            f"{path} leaves dimensions of its inputs open beside the batch: "
            f"{', '.join(f'{name} {_shown(inputs[name])}' for name in lacking)}. What it costs "
            "depends on them: give the shape of each."
        )


def _by_name(
    shapes: Shapes, inputs: Mapping[str, Any], needy: Sequence[str], path: Path
) -> dict[str, Sequence[int]]:
    """Shapes by the names of inputs; one without a name is of the only input that needs it."""
    found = {name: shape for name, shape in shapes.items() if name}
    strange = sorted(found.keys() - inputs.keys())
    if strange:
        raise ShapeError(f"{path} has no input {strange[0]!r}; its inputs are {', '.join(inputs)}.")
    if "" in shapes:
        able = [name for name in needy or inputs if name not in found]
        if len(able) > 1:
            raise ShapeError(
                f"{path} has several inputs that a shape may be of: {', '.join(able)}; name the "
                "one that is meant."
            )
        found |= {name: shapes[""] for name in able}
    return found


def _assigned(value: Any, shape: Sequence[int], path: Path) -> dict[str, int]:
    """Give one input its shape; the sizes of its named dimensions."""
    if not value.type.tensor_type.HasField("shape"):
        for _ in range(len(shape) + 1):  # nothing is said of it: a batch, and what was given
            value.type.tensor_type.shape.dim.add()
    dims = _dims(value)
    mine = dims[len(dims) - len(shape) :]
    fits = len(dims) - len(shape) in (0, 1) and all(
        not _is_set(dim) or dim.dim_value == size for dim, size in zip(mine, shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"The input {value.name} of {path} is {_shown(value)}, which "
            f"{'x'.join(map(str, shape))} does not fit; give the sizes after the batch, in order."
        )
    named = {d.dim_param: size for d, size in zip(mine, shape, strict=True) if d.dim_param}
    for dim, size in zip(mine, shape, strict=True):
        dim.dim_value = size
    return named


def _check_type(value: Any, path: Path) -> None:
    from onnx import TensorProto

    kind = value.type.WhichOneof("value")
    element = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    if kind != "tensor_type" or element == _TEXT or element.startswith(_UNFED):
        what = element.lower() if kind == "tensor_type" else str(kind).removesuffix("_type")
        raise UsageError(
            f"The input {value.name} of {path} is of type {what}, which nothing can be fed to "
            "here; only tensors of numbers are measured."
        )


def _dims(value: Any) -> Any:
    return value.type.tensor_type.shape.dim


def _is_set(dim: Any) -> bool:
    return bool(dim.dim_value > 0)


def _settled(value: Any, batch: set[str]) -> bool:
    """Whether no dimension is open but the batch, which may stand elsewhere by its name too."""
    if not value.type.tensor_type.HasField("shape"):
        return False
    return all(_is_set(dim) or dim.dim_param in batch - {""} for dim in _dims(value)[1:])


def _shown(value: Any) -> str:
    if not value.type.tensor_type.HasField("shape"):
        return "of no known shape"
    sizes = (str(d.dim_value) if _is_set(d) else d.dim_param or "?" for d in _dims(value))
    return f"[{', '.join(sizes)}]"


def _unreadable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} cannot be read as ONNX: {reason}.")

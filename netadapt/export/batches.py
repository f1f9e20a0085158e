"""A model that was written for one image, for any number of them."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def open_batch(onnx_model: bytes) -> bytes:
    """The same computation with the first dimension of inputs and outputs left open.

    A Reshape to ``[1, ...]`` becomes one that keeps the first dimension. Whether nothing else in
    the model hangs on the number of images is for the caller to see, by values.

    Args:
        onnx_model: serialized, for a batch of one.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(onnx_model)
    graph = model.graph
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "images"
    del graph.value_info[:]  # shapes inside, for one image
    targets = _reshape_targets(graph.node)
    for tensor in graph.initializer:
        dims = numpy_helper.to_array(tensor)
        if tensor.name in targets and dims.size and dims[0] == 1:
            kept = np.array([0, *dims[1:]], dims.dtype)  # 0 means as it is
            tensor.CopyFrom(numpy_helper.from_array(kept, tensor.name))
    return bytes(model.SerializeToString())


def _reshape_targets(nodes: Iterable[Any]) -> set[str]:
    """Names of the shapes that tensors are brought to, in all of which 0 now means as it is."""
    found = set()
    for node in nodes:
        if node.op_type == "Reshape":
            others = [a for a in node.attribute if a.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(others)
            found.add(node.input[1])
    return found

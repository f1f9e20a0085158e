"""ONNX graphs written by hand: a thousandth of the time that an exporter takes."""

from collections.abc import Sequence
from typing import Any

from netadapt.network import LayerShape, Pair, op_of

OPSET = 17
IR_VERSION = 8
_WEIGHT = 0.01  # no value that an optimizer could remove, such as 0 or 1
_NARROW = 16  # below this, a convolution as sink could force a reordering that the layer does not


class Graph:
    """An ONNX graph as it is written: each method adds to it and returns the name of a tensor."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.initializers: list[Any] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """One node of one output."""
        from onnx import helper

        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, values: Sequence[float], dims: Sequence[int] = (), kind: str = "") -> str:
        """A small tensor, stored as it is; ``kind`` is ``int64`` or empty for float32."""
        from onnx import TensorProto, helper

        name = f"c{len(self.initializers)}"
        dtype = TensorProto.INT64 if kind else TensorProto.FLOAT
        self.initializers.append(helper.make_tensor(name, dtype, dims, values))
        return name

    def integers(self, values: Sequence[int], dims: Sequence[int], kind: int) -> str:
        """A small tensor of integers; ``kind`` is one of ``onnx.TensorProto``'s."""
        from onnx import helper

        name = f"c{len(self.initializers)}"
        self.initializers.append(helper.make_tensor(name, kind, dims, values))
        return name

    def weight(self, *dims: int, value: float = _WEIGHT) -> str:
        """A weight of any size in a few bytes: the runtime folds it to the same constant."""
        from onnx import TensorProto, helper

        fill = helper.make_tensor("v", TensorProto.FLOAT, (1,), (value,))
        return self.add("ConstantOfShape", self.constant(dims, (len(dims),), "int64"), value=fill)

    def input(self, *dims: int) -> str:
        """An input of ``[batch, *dims]``."""
        from onnx import TensorProto, helper

        name = f"x{len(self.inputs)}"
        shape = (self.batch, *dims)
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, name: str, rank: int = 4) -> None:
        """Makes a tensor of that many dimensions an output."""
        from onnx import TensorProto, helper

        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank))

    def stem(self, channels: int, hw: Pair) -> str:
        """Produces ``[batch, channels, H, W]`` as a convolution before it would."""
        return self.add("Conv", self.input(1, *hw), self.weight(channels, 1, 1, 1))

    def sink(self, x: str, channels: int, hw: Pair) -> None:
        """Reads one pixel, in the layout that the next convolution of a network would read."""
        if channels < _NARROW and channels % 4 == 0:  # depthwise: computed in blocks all the same
            weight, groups = self.weight(channels, 1, 1, 1), channels
        else:
            weight, groups = self.weight(16, channels, 1, 1), 1
        self.output(self.add("Conv", x, weight, strides=hw, group=groups))

    def tap(self, kind: str, x: str, hw: Pair) -> None:
        """A second reader of ``x``: of one pixel (``tapped``), of all (``pooled``), or none."""
        if kind == "tapped":
            self.output(self.add("AveragePool", x, kernel_shape=(1, 1), strides=hw))
        elif kind == "pooled":
            self.output(self.add("ReduceMean", x, axes=(2, 3)))

    def model(self) -> bytes:
        """The serialized model."""
        from onnx import helper

        graph = helper.make_graph(self.nodes, "probe", self.inputs, self.outputs, self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        return bytes(model.SerializeToString())


def window_attributes(shape: LayerShape) -> dict[str, Any]:
    """Kernel attributes; the end padding is what makes the output ``out_hw``."""
    ends = []
    for i in (0, 1):
        reach = (shape.out_hw[i] - 1) * shape.stride[i] + 1
        reach += shape.dilation[i] * (shape.kernel[i] - 1)
        needed = reach - shape.in_hw[i] - shape.padding[i]
        slack = shape.padding[i] - needed  # what the stride leaves unread
        ends.append(shape.padding[i] if 0 <= slack < shape.stride[i] else max(needed, 0))
    window = {"kernel_shape": shape.kernel, "strides": shape.stride}
    if shape.dilation != (1, 1):
        window["dilations"] = shape.dilation
    return {**window, "pads": (*shape.padding, *ends)}


_ALIASES = {
    "clip": "relu6",
    "hard_sigmoid": "hardsigmoid",
    "hard_swish": "hardswish",
    "leakyrelu": "leaky_relu",
    "swish": "silu",
}
_PLAIN = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "hardswish": "HardSwish",
    "elu": "Elu",
    "selu": "Selu",
    "celu": "Celu",
    "softplus": "Softplus",
    "softsign": "Softsign",
}
ACTIVATIONS = (*_PLAIN, "relu6", "hardtanh", "hardsigmoid", "leaky_relu", "prelu", "silu", "gelu",
               "gelu_tanh", "mish", "softmax")  # fmt: skip
"""Every ``LayerShape.act`` that can be timed, besides the empty one."""


def is_known_activation(name: str) -> bool:
    """Whether :func:`activate` writes it; it leaves others out."""
    return not name or _ALIASES.get(name, name) in ACTIVATIONS


def activate(graph: Graph, x: str, shape: LayerShape) -> str:
    """The activation of a layer, in the operators that exporters write; nothing if unknown."""
    name = _ALIASES.get(shape.act, shape.act)
    if not name:
        return x
    if name in _PLAIN:
        return graph.add(_PLAIN[name], x)
    if name in ("relu6", "hardtanh"):
        low, high = (0.0, 6.0) if name == "relu6" else (-1.0, 1.0)
        return graph.add("Clip", x, graph.constant((low,)), graph.constant((high,)))
    if name == "hardsigmoid":
        return graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    if name == "leaky_relu":
        return graph.add("LeakyRelu", x, alpha=0.1)
    if name == "prelu":
        dims = (shape.cout,) if op_of(shape.op).rows else (shape.cout, 1, 1)
        return graph.add("PRelu", x, graph.weight(*dims))
    if name == "silu":
        return graph.add("Mul", x, graph.add("Sigmoid", x))
    if name == "mish":
        return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))
    if name == "softmax":
        return graph.add("Softmax", x, axis=-1 if op_of(shape.op).rows else 1)
    if name == "gelu":
        return _gelu(graph, x)
    if name == "gelu_tanh":
        return _gelu_tanh(graph, x)
    return x


def _gelu(graph: Graph, x: str) -> str:
    """``x * (1 + erf(x / sqrt 2)) / 2``, which the runtime fuses to one operator."""
    inner = graph.add("Erf", graph.add("Div", x, graph.constant((2**0.5,))))
    outer = graph.add("Mul", x, graph.add("Add", inner, graph.constant((1.0,))))
    return graph.add("Mul", outer, graph.constant((0.5,)))


def _gelu_tanh(graph: Graph, x: str) -> str:
    """``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2``."""
    cube = graph.add(
        "Mul", graph.add("Pow", x, graph.constant((3.0,))), graph.constant((0.044715,))
    )
    inner = graph.add(
        "Mul", graph.add("Add", x, cube), graph.constant(((2 / 3.141592653589793) ** 0.5,))
    )
    outer = graph.add("Add", graph.add("Tanh", inner), graph.constant((1.0,)))
    return graph.add("Mul", graph.add("Mul", x, outer), graph.constant((0.5,)))


def layout_model(weight: float) -> bytes:
    """Two convolutions whose optimized form shows the layout: 8 equal weights in the first."""
    graph = Graph(1)
    first = graph.constant([weight] * 8, (8, 1, 1, 1))
    x = graph.add("Conv", graph.input(1, 8, 8), first)
    graph.sink(x, 8, (8, 8))
    return graph.model()


def integer_model(channels: int, activation: int, weight: int) -> bytes:
    """A quantized convolution, 1x1, of one value each in all activations and all weights.

    Scales are 1 but for the output's, of which the exact sum is ``weight`` times one.
    """
    from onnx import TensorProto

    graph = Graph(1)
    one, unsigned = graph.constant((1.0,)), graph.integers((0,), (), TensorProto.UINT8)
    signed = graph.integers((0,), (), TensorProto.INT8)
    coarse = graph.constant((float(channels * activation),))
    filled = graph.integers([weight] * 16 * channels, (16, channels, 1, 1), TensorProto.INT8)
    x = graph.add("QuantizeLinear", graph.input(channels, 4, 4), one, unsigned)
    x = graph.add("DequantizeLinear", x, one, unsigned)
    y = graph.add("Conv", x, graph.add("DequantizeLinear", filled, one, signed))
    y = graph.add("QuantizeLinear", y, coarse, unsigned)
    graph.output(graph.add("DequantizeLinear", y, coarse, unsigned))
    return graph.model()

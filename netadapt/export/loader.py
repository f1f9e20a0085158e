"""Generate a loader that needs torch alone: no netadapt, and not the model's own class.

The model's graph, as torch.fx traces it in evaluation mode, is written out as Python: one line per
module that torch.nn can build from its own repr, and the forward as fx generates it. Whether the
text really rebuilds the model is tried before it is handed out. A model that cannot be written so
gets a loader that reads ``adapted.pt2``, which needs torch alone as well.
"""

import re
import runpy
import tempfile
from pathlib import Path

import torch
from torch import Tensor, fx, nn

_HEADER = '''"""Load the adapted network; needs torch alone. Written by netadapt.

    from load_adapted import load
    model = load()                   # in evaluation mode; model(images [N, C, H, W])

    from load_adapted import apply_to
    apply_to(model)                  # a fresh model of the original class becomes the adapted one
"""

import json
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).resolve().parent


def apply_to(model):
    """Give a fresh model of the original architecture the adapted widths and weights."""
    state = torch.load(HERE / "adapted.pt", map_location="cpu", weights_only=True)
    arch = json.loads((HERE / "arch.json").read_text())
    for name, values in arch["attributes"].items():
        module = model.get_submodule(name)
        for attribute, value in values.items():
            if isinstance(value, list) and not isinstance(getattr(module, attribute, None), list):
                value = tuple(value)
            setattr(module, attribute, value)
    own = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    fresh = model.state_dict()  # keeps the version of each module's format
    for name, value in state.items():
        own[name].data = own[name].data.new_empty(value.shape)
        own[name].data.copy_(value)  # buffers outside the state dict too
    fresh.update({name: value for name, value in state.items() if name in fresh})
    model.load_state_dict(fresh)
    return model
'''

_GRAPH_LOADER = """

MODULES = {{
{modules}
}}
PARAMETERS = {{
{parameters}
}}
BUFFERS = {{
{buffers}
}}


class Adapted(nn.Module):
    \"\"\"The adapted network as it computes in evaluation mode.\"\"\"

    def __init__(self):
        super().__init__()
        for name, make in MODULES.items():
            parent, _, child = name.rpartition(".")
            self.get_submodule(parent).add_module(child, make())
        for name, shape in PARAMETERS.items():
            parent, _, child = name.rpartition(".")
            parameter = nn.Parameter(torch.empty(shape))
            self.get_submodule(parent).register_parameter(child, parameter)
        for name, (shape, dtype) in BUFFERS.items():
            parent, _, child = name.rpartition(".")
            self.get_submodule(parent).register_buffer(child, torch.empty(shape, dtype=dtype))

{forward}


def load():
    \"\"\"The adapted network with its weights, in evaluation mode.\"\"\"
    state = torch.load(HERE / "adapted.pt", map_location="cpu", weights_only=True)
    model = Adapted().to(next(v.dtype for v in state.values() if v.is_floating_point()))
    model.load_state_dict({{name: state[name] for name in model.state_dict()}})
    return model.eval()
"""

_PROGRAM_LOADER = '''

def load():
    """The adapted network with its weights, as it computes in evaluation mode."""
    return torch.export.load(HERE / "adapted.pt2").module()
'''


_IMPORTS = {
    "torch": "",  # the header imports it
    "device": "from torch import device",
    "inf": "from math import inf",
    "nan": "from math import nan",
    "math": "import math",
    "operator": "import operator",
}
"""Names that generated code may use, and what defines each."""


class NotStandalone(Exception):
    """The model's graph cannot be written as text; the message says why."""


def loader_source(model: nn.Module, images: Tensor) -> tuple[str, str]:
    """Text of ``load_adapted.py``, and which kind it is.

    Args:
        model: the adapted model, in evaluation mode.
        images: inputs ``[N, C, H, W]`` that the rebuilt model must agree on, bit for bit.

    Returns:
        The text, and ``graph`` or ``program``.
    """
    try:
        text = _HEADER + _graph_loader(model)
        _try(text, model, images)
    except NotStandalone:
        return _HEADER + _PROGRAM_LOADER, "program"
    return text, "graph"


def _graph_loader(model: nn.Module) -> str:
    try:
        graph = fx.GraphModule(model, fx.Tracer().trace(model)).graph
    except Exception as error:  # fx raises anything
        raise NotStandalone(f"torch.fx cannot trace it: {error}") from error
    _skip_stochastic_depth(graph)
    graph.eliminate_dead_code()
    graph.output_node().type = None  # annotations name classes that the file would have to import
    code = graph.python_code("self")
    used = [name for name in code.globals if re.search(rf"\b{name}\b", code.src)]
    strange = [name for name in used if name not in _IMPORTS]
    if strange:
        raise NotStandalone(f"it calls {', '.join(strange)}")
    modules: dict[str, str] = {}
    parameters: dict[str, str] = {}
    buffers: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            module = model.get_submodule(node.target)
            _parents(node.target, modules)
            modules[node.target] = _constructor(module)
        elif node.op == "get_attr":
            parent, _, child = node.target.rpartition(".")
            tensor = getattr(model.get_submodule(parent), child)
            if not isinstance(tensor, Tensor):
                raise NotStandalone(f"its attribute {node.target} is no tensor")
            _parents(node.target, modules)
            if isinstance(tensor, nn.Parameter):
                parameters[node.target] = repr(tuple(tensor.shape))
            elif node.target in model.state_dict():
                buffers[node.target] = repr((tuple(tensor.shape), tensor.dtype))
            else:
                raise NotStandalone(f"{node.target} is not in its state dict")
    forward = "\n".join(f"    {line}" if line else "" for line in code.src.strip().split("\n"))
    return "\n".join(filter(None, [_IMPORTS[name] for name in used])) + _GRAPH_LOADER.format(
        modules="\n".join(f'    "{name}": lambda: {text},' for name, text in modules.items()),
        parameters="\n".join(f'    "{name}": {text},' for name, text in parameters.items()),
        buffers="\n".join(f'    "{name}": {text},' for name, text in buffers.items()),
        forward=forward,
    )


def _skip_stochastic_depth(graph: fx.Graph) -> None:
    """Torchvision's stochastic depth is the identity in evaluation mode: drop it."""
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target.__name__ == "stochastic_depth":
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _parents(name: str, modules: dict[str, str]) -> None:
    """Note the empty modules that lead to ``name``, outermost first."""
    parts = name.split(".")[:-1]
    for depth in range(1, len(parts) + 1):
        modules.setdefault(".".join(parts[:depth]), "nn.Module()")


def _constructor(module: nn.Module) -> str:
    kind = type(module)
    if getattr(nn, kind.__name__, None) is not kind or next(module.children(), None) is not None:
        raise NotStandalone(f"{kind.__qualname__} is not a plain torch.nn module")
    return f"nn.{kind.__name__}({module.extra_repr()})"


def _try(text: str, model: nn.Module, images: Tensor) -> None:
    """Load the weights through the generated text, as a user will, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load_adapted.py"
        script.write_text(text)
        torch.save(model.state_dict(), Path(folder) / "adapted.pt")
        try:
            rebuilt = runpy.run_path(str(script))["load"]()
            with torch.no_grad():
                same = _equal(rebuilt(images.clone()), model(images.clone()))
        except Exception as error:  # whatever the text does wrong, the other loader serves
            raise NotStandalone(f"the generated text fails: {error}") from error
    if not same:
        raise NotStandalone("the generated text computes something else")


def _equal(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b

"""Front ends: a model's code as a graph, by torch.fx, or by torch.export where fx cannot follow."""

import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from netadapt.tracing import _modules


@dataclass(frozen=True)
class Captured:
    """A model's code as a graph.

    Attributes:
        graph: the graph; its nodes name modules and tensors of the model.
        names: for graphs whose tensors are placeholders, their qualified names.
    """

    graph: fx.Graph
    names: dict[str, str] = field(default_factory=dict)

    def same_as(self, other: "Captured") -> bool:
        """Whether both compute the same by the same calls."""

        def lines(graph: fx.Graph) -> list[tuple[str, ...]]:
            return [(n.op, str(n.target), str(n.args), str(n.kwargs)) for n in graph.nodes]

        return lines(self.graph) == lines(other.graph)


class Tracer(fx.Tracer):
    """A symbolic trace that leaves no mark on the model and can step over what it cannot follow.

    Args:
        step_over: whether a module whose code cannot be followed becomes one opaque call.
    """

    proxy_buffer_attributes = True  # else code that updates a buffer would do so while tracing

    def __init__(self, step_over: bool = False) -> None:
        super().__init__()
        self._step_over = step_over

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Modules with a rule, and those of torch itself, are called whole."""
        return _modules.rule_of(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Follow a module's own code, past the user's hooks, which must not see proxies."""
        last = next(reversed(self.graph.nodes), None)
        try:
            return super().call_module(m, m.forward, args, kwargs)
        except Exception:
            if not self._step_over:
                raise
            for node in reversed(self.graph.nodes):
                if node is last:
                    break
                self.graph.erase_node(node)
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """All modules in training or in evaluation mode for a while; then each as it was."""
    before = [(module, module.training) for module in model.modules()]
    for module, _ in before:
        module.training = training
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, and no log of errors that the caller is told of anyway."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def by_fx(model: nn.Module, training: bool, inputs: int, step_over: bool = False) -> Captured:
    """Capture by symbolic trace: all code runs, no tensor is computed.

    Args:
        model: the model.
        training: which mode's code to capture.
        inputs: how many arguments are given; further ones take their defaults.
        step_over: whether to make an opaque call of a module that cannot be followed.
    """
    with mode(model, training), quiet():
        tracer = Tracer(step_over)
        return Captured(tracer.trace(model, concrete_args=defaults(model, inputs)))


def defaults(model: nn.Module, inputs: int) -> dict[str, Any] | None:
    """Values of the arguments of ``forward`` that are not given."""
    parameters = list(inspect.signature(model.forward).parameters.values())[inputs:]
    return {p.name: p.default for p in parameters if p.default is not p.empty} or None


def by_export(model: nn.Module, training: bool, inputs: tuple[torch.Tensor, ...]) -> Captured:
    """Capture by torch.export: the operations that one run of the model executes."""
    # On failure torch.export writes the whole graph so far to stderr; its error says enough.
    with mode(model, training), quiet(), redirect_stderr(io.StringIO()):
        program = torch.export.export(model, inputs, strict=False)
    signature = program.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    return Captured(program.graph_module.graph, dict(names))

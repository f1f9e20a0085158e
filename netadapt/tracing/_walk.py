"""The walk over a captured graph: shapes by fake tensors, channels by the rules.

No number is computed. Fake tensors carry shapes only, so that tracing needs no memory beyond the
model's and cannot change a buffer, whatever mode the captured code was in.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import fx, nn

from netadapt.tracing import _functions, _modules
from netadapt.tracing._ledger import Ids, freeze
from netadapt.tracing._values import Call, Findings, Rule, Value, plain


class Walk:
    """One pass over a graph in order of execution.

    Args:
        model: the model whose modules and tensors the graph names.
        graph: what to walk.
        inputs: fake tensors, one for each placeholder; later placeholders take their default.
        names: qualified names of the tensors that placeholders of an exported graph stand for.
        found: where findings go.
    """

    def __init__(
        self, model: nn.Module, graph: fx.Graph, inputs: list[Any], names: dict[str, str],
        found: Findings,
    ) -> None:  # fmt: skip
        self._model = model
        self._graph = graph
        self._inputs = inputs
        self._names = names
        self._found = found
        self._known: dict[fx.Node, Any] = {}
        self._given: dict[fx.Node, Any] = {}

    def run(self) -> None:
        """Walk it all."""
        visit: dict[str, Callable[[fx.Node], tuple[Any, Any]]] = {
            "placeholder": self._placeholder,
            "get_attr": self._get_attr,
            "output": self._output,
        }
        for node in self._graph.nodes:
            self._given[node], self._known[node] = visit.get(node.op, self._call)(node)

    def _placeholder(self, node: fx.Node) -> tuple[Any, Any]:
        if node.target in self._names:
            return self._tensor(self._names[str(node.target)])
        value = self._inputs.pop(0) if self._inputs else (node.args[0] if node.args else None)
        return value, plain(value)

    def _get_attr(self, node: fx.Node) -> tuple[Any, Any]:
        return self._tensor(str(node.target))

    def _tensor(self, name: str) -> tuple[Any, Any]:
        path, _, attr = name.rpartition(".")
        tensor = getattr(self._model.get_submodule(path), attr)
        shape, ledger = tuple(tensor.shape), self._found.ledger
        if name not in ledger.canonical:
            return tensor, plain(tensor)
        wide = [dim for dim, size in enumerate(shape) if size > 1]
        if len(wide) != 1:
            return tensor, Value(shape, name=name)
        (dim,) = wide  # a vector, such as a layer scale: its elements may belong to channels
        ids: Ids = ledger.fresh(shape[dim])
        ledger.slot(name, dim, "channelwise", ids)
        return tensor, Value(shape, dim, ids, name)

    def _output(self, node: fx.Node) -> tuple[Any, Any]:
        freeze(self._found.ledger, fx.node.map_arg(node.args, self._known.__getitem__), OUTPUT)
        return None, None

    def _call(self, node: fx.Node) -> tuple[Any, Any]:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self._given.__getitem__)
        out = self._execute(node, args, kwargs)
        if not any(isinstance(part, torch.Tensor) for part in leaves(out)):
            self._found.queries.add(node)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self._known.__getitem__)
        called = node.op == "call_module"
        owner = str(node.target) if called else caller(node)
        name = owner if called else node.name
        call = Call(node, name, spoken(node, self._model), owner, self._model, out, self._found)
        rule = self._rule(node)
        if rule is None or not accepts(rule, (call, *args), kwargs):
            if called:
                module = self._model.get_submodule(owner)
                inside = [path for path, _ in module.named_modules(prefix=owner)]
                self._found.ledger.leave(inside, f"is part of {call.what}, which is not known")
            known = call.freeze(args, kwargs, why=", an operation that netadapt does not know")
            self._cost_of_unknown(call, args, known)
            return out, known
        return out, rule(call, *args, **kwargs)

    def _rule(self, node: fx.Node) -> Rule | None:
        if node.op == "call_module":
            return _modules.rule_of(self._model.get_submodule(str(node.target)))
        if node.op == "call_method":
            return _functions.METHODS.get(str(node.target))
        return _functions.rule_of(node.target)

    def _execute(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if "val" in node.meta:
            return node.meta["val"]
        if node.op == "call_module":
            # forward, not the module itself: hooks of the user must not see fake tensors
            return self._model.get_submodule(str(node.target)).forward(*args, **kwargs)
        if node.op == "call_method":
            subject, *rest = args
            return getattr(subject, str(node.target))(*rest, **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def _cost_of_unknown(self, call: Call, args: Any, known: Any) -> None:
        sources = [arg for arg in args if isinstance(arg, Value)]
        if isinstance(known, Value) and sources:
            call.layer("other", sources[0], known)


def leaves(out: Any) -> Iterator[Any]:
    """Everything in what a call returned."""
    if isinstance(out, dict):
        out = list(out.values())
    if isinstance(out, list | tuple):
        for part in out:
            yield from leaves(part)
    else:
        yield out


OUTPUT = "is an output of the network"


def caller(node: fx.Node) -> str:
    """Qualified name of the module whose forward makes a call."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path = str(next(reversed(stack.values()))[0])
    return path.removeprefix("L['self']").lstrip(".")


def spoken(node: fx.Node, model: nn.Module) -> str:
    """The operation of a call in words."""
    if node.op == "call_module":
        return f"{node.target} ({type(model.get_submodule(str(node.target))).__name__})"
    if node.op == "call_method":
        return f"Tensor.{node.target}"
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    module = getattr(node.target, "__module__", "") or "torch"
    module = {"torch._C._nn": "torch.nn.functional", "_operator": "operator"}.get(module, module)
    return f"{module}.{getattr(node.target, '__name__', node.target)}"


@lru_cache(maxsize=1024)
def _signature(rule: Rule) -> inspect.Signature:
    return inspect.signature(rule)


def accepts(rule: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a rule has a parameter for every argument of the call."""
    try:
        _signature(rule).bind(*args, **kwargs)
    except TypeError:
        return False
    return True

"""A front end: run a model's own code once, and tell a rule of each operation that it calls.

The code runs as it is, with its control flow, on tensors that have shapes and no storage; where it
decides by values, on real ones. A mode of torch sees every operation, at the level at which the
code calls it, and below where code is compiled.
"""

import contextlib
import inspect
import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from netadapt.tracing import _functions
from netadapt.tracing._ledger import freeze
from netadapt.tracing._numbers import Number
from netadapt.tracing._shadow import Fakes, duplicate, mark_integers, strip_hooks
from netadapt.tracing._values import Call, Findings, Node, Rule, Value, plain
from netadapt.tracing.noise import same_noise

OUTPUT = "is an output of the network"


class Recorder(TorchFunctionMode):
    """Sees every call of the model's code, and keeps what the rules say of its tensors.

    Args:
        model: the stand-in that runs.
        found: where findings go.
        fake: whether no numbers are computed, so that only shapes need be right.
    """

    def __init__(self, model: nn.Module, found: Findings, fake: bool) -> None:
        super().__init__()
        self._fake = fake
        self._model = model
        self._found = found
        self._values: Any = WeakIdKeyDictionary()
        self._nodes: Any = WeakIdKeyDictionary()
        self._names: dict[int, str] = {}
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._stack: list[nn.Module] = [model]
        self._count: Counter[str] = Counter()
        for named in (model.named_parameters, model.named_buffers):
            for name, tensor in named(remove_duplicate=False):
                self._names.setdefault(id(tensor), name)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a call, and follow it."""
        kwargs = kwargs or {}
        name = bare(func)
        # Arithmetic inside an operation is none of the model's code: it gets plain integers.
        if self._fake and name in KEEPING_SHAPE and isinstance(args[0], torch.Tensor):
            out = torch.empty_like(args[0])
        else:
            out = func(*unmarked(args), **unmarked(kwargs))
        if name in _functions.SIZES:
            return self._sized(name, out, args, kwargs)
        if name not in _functions.QUERIES and self._counts(out, args, kwargs):
            self._follow(func, name, args, kwargs, out)
        return out

    def _counts(self, out: Any, args: Any, kwargs: Any) -> bool:
        """Whether a call has tensors in what it is given or returns."""
        return any(isinstance(part, torch.Tensor) for part in leaves([out, args, kwargs]))

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Know which module's code runs, by hooks of the stand-in."""
        for module in self._model.modules():
            module.register_forward_pre_hook(self._enter, prepend=True)
            module.register_forward_hook(self._leave, always_call=True)
        yield

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._stack.append(module)

    def _leave(self, module: nn.Module, args: Any, out: Any) -> None:
        if self._stack[-1] is module:
            self._stack.pop()

    def value(self, tensor: torch.Tensor) -> Value:
        """What is known of a tensor."""
        known = self._values.get(tensor)
        if known is not None:
            return known  # type: ignore[no-any-return]
        name = self._names.get(id(tensor), "")
        if name:
            self._found.ledger.used.add(self._found.ledger.canonical[name])
        return Value(tuple(tensor.shape), name=name)

    def _known(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.value(value)
        if isinstance(value, dict):
            return {key: self._known(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._known(part) for part in value] if isinstance(value, list) else tuple(
                self._known(part) for part in value
            )  # fmt: skip
        if isinstance(value, slice):
            return slice(*map(self._known, (value.start, value.stop, value.step)))
        return value

    def _sized(self, name: str, out: Any, args: Any, kwargs: Any) -> Any:
        (tensor, *rest) = args
        if name in ("shape", "size"):
            dim = rest[0] if rest else kwargs.get("dim")
            return _functions.sizes_of(self.value(tensor), self._found.ledger, dim)
        if name == "__len__":
            return _functions.sizes_of(self.value(tensor), self._found.ledger, 0)
        if name in ("numel", "nelement"):
            return math.prod(_functions.sizes_of(self.value(tensor), self._found.ledger, None))
        return out

    def _follow(self, func: Any, name: str, args: Any, kwargs: Any, out: Any) -> None:
        call = self._call(func, name, args, kwargs, out)
        given, options = self._known(args), self._known(kwargs)
        rule = _functions.rule_of(name, func)
        known, ledger = None, self._found.ledger
        if rule is not None and accepts(rule, 1 + len(given), tuple(options)):
            try:
                known = rule(call, *given, **options)
            except Exception as error:  # a use that the rule was not written for
                logging.getLogger(__name__).debug("%s: %r", call.what, error, exc_info=True)
                if STRICT:
                    raise
        if known is None:
            freeze(ledger, [given, options], f"feeds {call.what}, {UNKNOWN}")
            known = plain(out)
            sources = [part for part in leaves([given, options]) if isinstance(part, Value)]
            if isinstance(known, Value) and sources:
                call.layer("other", sources[0], known)
        self._bind(out, known, call.node)
        if name in ("set data", "__setitem__"):  # which return nothing
            self._nodes[args[0]] = call.node
        if name == "set data" and isinstance(args[1], torch.Tensor):
            self._values[args[0]] = call.solid(given[1])

    def _call(self, func: Any, name: str, args: Any, kwargs: Any, out: Any) -> Call:
        module = self._stack[-1]
        owner = self._paths[id(module)]
        whole = type(module).__module__.startswith("torch.nn.") and not isinstance(
            module, nn.Sequential | nn.ModuleList | nn.ModuleDict
        )
        what = f"{owner} ({type(module).__name__})" if whole and owner else spoken(func, name)
        title = owner if whole and owner else self._numbered(name)
        given = dict.fromkeys(
            node for part in leaves([args, kwargs])
            if isinstance(part, torch.Tensor) and (node := self._nodes.get(part)) is not None
        )  # fmt: skip
        node = Node(title, tuple(given), constant=all(source.constant for source in given))
        for source in given:
            source.users[node] = None
        return Call(node, title, name, what, owner, self._model, out, self._found)

    def _numbered(self, name: str) -> str:
        self._count[name] += 1
        seen = self._count[name]
        return name if seen == 1 else f"{name}_{seen - 1}"

    def _bind(self, out: Any, known: Any, node: Node) -> None:
        """Keep what is known of each tensor that a call returned."""
        if isinstance(out, torch.Tensor):
            value = known if isinstance(known, Value) else Value(tuple(out.shape))
            if value.shape != tuple(out.shape):
                raise AssertionError(f"{node.name}: {value.shape} is not {tuple(out.shape)}")
            if not value.name:
                self._values[out] = value
            self._nodes[out] = node
        elif isinstance(out, dict):
            for key, part in out.items():
                self._bind(part, known.get(key) if isinstance(known, dict) else None, node)
        elif isinstance(out, list | tuple):
            parts = known if isinstance(known, list | tuple) and len(known) == len(out) else None
            for i, part in enumerate(out):
                self._bind(part, parts[i] if parts is not None else None, node)

    def give(self, tensors: tuple[torch.Tensor, ...]) -> None:
        """Enter the model's inputs, whose channels are nobody's."""
        for i, tensor in enumerate(tensors):
            self._values[tensor] = Value(tuple(tensor.shape))
            self._nodes[tensor] = Node(f"input_{i}")

    def end(self, output: Any) -> None:
        """Fix the channels of the model's output."""
        for part in leaves(output):
            if isinstance(part, torch.Tensor):
                freeze(self._found.ledger, self.value(part), OUTPUT)


KEEPING_SHAPE = frozenset({
    "batch_norm", "instance_norm", "layer_norm", "group_norm", "local_response_norm", "normalize",
})  # fmt: skip
"""Functions whose output is shaped as their input, which is much faster to say than to compute."""

STRICT = False
"""Whether an error in a rule ends a trace; otherwise the operation counts as unknown."""

UNKNOWN = "an operation that netadapt does not know"


class Below(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Brings operations that compiled code calls to the mode above, as if called by the model."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it anew."""
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
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


def run(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    training: bool,
    found: Findings,
    fakes: Fakes | None,
) -> None:
    """Run a stand-in for the model once, in one mode.

    Args:
        model: the model, which stays as it is.
        inputs: what it is given.
        training: whether the code for training runs, or that for evaluation.
        found: where findings go.
        fakes: makes tensors without storage; None to compute with numbers, for code that
            decides by them.
    """
    with quiet(), torch.compiler.set_stance("force_eager"):
        stand_in = duplicate(model, fakes)
        for module in stand_in.modules():
            module.training = training
        strip_hooks(stand_in)
        mark_integers(stand_in, found.ledger)
        recorder = Recorder(stand_in, found, fakes is not None)
        given = inputs if fakes is None else tuple(map(fakes, inputs))
        recorder.give(given)
        with (
            torch.no_grad(), same_noise(),
            contextlib.nullcontext() if fakes is None else fakes.mode, recorder.watching(),
        ):  # fmt: skip
            with Below(), recorder:  # type: ignore[no-untyped-call]
                output = stand_in(*given)
            recorder.end(output)


def leaves(out: Any) -> Iterator[Any]:
    """Everything in what a call is given or returns, data classes opened."""
    if isinstance(out, dict):
        out = list(out.values())
    if isinstance(out, list | tuple):
        for part in out:
            yield from leaves(part)
    elif isinstance(out, slice):
        yield from (out.start, out.stop, out.step)
    elif hasattr(out, "__dataclass_fields__") and not isinstance(out, Value):
        yield from leaves(vars(out))
    else:
        yield out


def unmarked(value: Any) -> Any:
    """An argument with plain integers."""
    if isinstance(value, Number):
        return int(value)
    if type(value) is dict:
        return {key: unmarked(part) for key, part in value.items()}
    if type(value) in (list, tuple, torch.Size):
        return type(value)([unmarked(part) for part in value])
    if isinstance(value, slice):
        return slice(*map(unmarked, (value.start, value.stop, value.step)))
    return value


OPERATORS = {
    "truediv": "div", "rtruediv": "rdiv", "itruediv": "div", "invert": "bitwise_not",
    "rmul": "mul", "radd": "add", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "rpow": "rpow", "rmatmul": "rmatmul",
}  # fmt: skip


_AS_THEY_ARE = frozenset({
    "__getitem__", "__setitem__", "__len__", "__float__", "__int__", "__bool__", "__index__",
})  # fmt: skip


@lru_cache(maxsize=4096)
def bare(func: Any) -> str:
    """The name of an operation without its namespace, underscores or overload."""
    if isinstance(func, torch._ops.OpOverload):
        return str(func._schema.name).rpartition("::")[2]
    name = str(getattr(func, "__name__", func))
    if name in ("__get__", "__set__"):
        name = str(getattr(getattr(func, "__self__", None), "__name__", name))
        return name if func.__name__ == "__get__" else f"set {name}"
    if name in _AS_THEY_ARE:
        return name
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        return OPERATORS.get(name, name)
    return name


@lru_cache(maxsize=4096)
def spoken(func: Any, name: str) -> str:
    """The operation of a call in words."""
    if isinstance(func, torch._ops.OpOverload):
        return str(func)
    said = resolve_name(func) or name
    return said.removeprefix("torch.") if said.startswith("torch.Tensor.") else said


@lru_cache(maxsize=4096)
def accepts(rule: Rule, count: int, names: tuple[str, ...]) -> bool:
    """Whether a rule has a parameter for every argument of the call: some in order, some named."""
    try:
        inspect.signature(rule).bind(*range(count), **dict.fromkeys(names))
    except TypeError:
        return False
    return True

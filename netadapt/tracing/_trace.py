"""From a model to a :class:`netadapt.network.Network`: capture, walk, group, describe."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from netadapt.errors import ModelError
from netadapt.network import AttrSpec, FixedLayer, Network, TensorSpec, Width
from netadapt.tracing._capture import Captured, by_export, by_fx, mode, quiet
from netadapt.tracing._groups import Grouping, group_channels
from netadapt.tracing._layers import fuse, layer_spec, training_only, vectors
from netadapt.tracing._ledger import Ledger
from netadapt.tracing._values import Findings, Record
from netadapt.tracing._walk import Walk
from netadapt.tracing.unwrap import unwrap

BATCH_SIZES = (2, 1)  # 1 for code that was written for one image; 2 keeps the batch apart


def trace(
    model: nn.Module,
    inputs: Sequence[int] | torch.Tensor | Sequence[torch.Tensor],
    *,
    training: bool = True,
) -> Network:
    """Describe a model: its layers, its channel groups, and what may not shrink and why.

    The code is followed twice, in evaluation and in training mode, so that auxiliary heads take
    part. No number is computed; hooks do not run; the model stays as it is.

    Args:
        model: any model; wrappers for data parallelism or compilation are looked through.
        inputs: shape ``(C, H, W)`` of one image, or example inputs with their batch dimension.
        training: whether to follow the training mode too; if not, parts that run in training
            only are left as they are, and may no longer fit.

    Raises:
        ModelError: the model's code can be followed neither by torch.fx nor by torch.export.
    """
    model = unwrap(model)
    examples = as_inputs(model, inputs)
    ledger = new_ledger(model)
    seen, records = follow(model, examples, ledger)
    if training:
        records += training_only(follow(model, examples, ledger, seen)[1], records)
    return describe(model, tuple(examples[0].shape[1:]), ledger, records)


def as_inputs(
    model: nn.Module, inputs: Sequence[int] | torch.Tensor | Sequence[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Example inputs of one image each, on the meta device where only a shape is given."""
    if isinstance(inputs, torch.Tensor):
        return (inputs,)
    tensors = tuple(x for x in inputs if isinstance(x, torch.Tensor))
    if tensors:
        return tensors
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    sizes = [int(size) for size in inputs if isinstance(size, int)]
    return (torch.empty(1, *sizes, dtype=like.dtype, device=like.device),)


def new_ledger(model: nn.Module) -> Ledger:
    """An empty ledger that knows the model's tensors."""
    first: dict[int, str] = {}
    canonical, shapes = {}, {}
    for named in (model.named_parameters, model.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            canonical[name] = first.setdefault(id(tensor), name)
            shapes[canonical[name]] = tuple(tensor.shape)
    return Ledger(canonical, shapes)


def follow(
    model: nn.Module,
    examples: tuple[torch.Tensor, ...],
    ledger: Ledger,
    seen: Captured | None = None,
) -> tuple[Captured, list[Record]]:
    """The layers of one mode's code, by the first front end that can follow it.

    What a failed attempt has entered into the ledger stays: it saw true facts, if not all.

    Args:
        model: the model.
        examples: its inputs.
        ledger: where findings go.
        seen: None to follow evaluation mode; otherwise its graph, to follow training mode,
            which has no layers to add where its graph is the same.
    """
    training, failures = seen is not None, []
    for name, front_end in FRONT_ENDS.items():
        for batch in BATCH_SIZES:
            try:
                captured = front_end(model, training, with_batch(examples, batch))
                if seen is not None and captured.same_as(seen):
                    return captured, []
                found = Findings(ledger)
                walk(model, captured, with_batch(examples, batch), found)
            except Exception as error:  # whatever the model's code may raise
                failures.append(f"{name}: {sentence(error)}")
            else:
                return captured, fuse(found)
    said = "; ".join(dict.fromkeys(failures))
    state = "training" if training else "evaluation"
    raise ModelError(
        f"{type(model).__name__} cannot be traced in {state} mode ({said}). "
        "Trace the part of it that can be followed, such as its backbone."
    )


FRONT_ENDS: dict[str, Callable[[nn.Module, bool, tuple[torch.Tensor, ...]], Captured]] = {
    "torch.fx": lambda model, training, inputs: by_fx(model, training, len(inputs)),
    "torch.export": by_export,
    "torch.fx, stepping over modules": lambda model, training, inputs: by_fx(
        model, training, len(inputs), step_over=True
    ),
}


def with_batch(examples: tuple[torch.Tensor, ...], batch: int) -> tuple[torch.Tensor, ...]:
    """Zeros shaped as the examples, with another batch size, on no memory to speak of."""
    return tuple(x.new_zeros(1).expand(batch, *x.shape[1:]) if x.ndim else x for x in examples)


def sentence(error: Exception) -> str:
    """The first line of an error's message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 120 else f"{lines[0][:120]}..."


def walk(
    model: nn.Module, captured: Captured, inputs: tuple[torch.Tensor, ...], found: Findings
) -> None:
    """Walk a captured graph with fake tensors, in evaluation mode."""
    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    with mode(model, False), quiet(), fakes, torch.no_grad():
        given = [x.new_empty(x.shape) for x in map(fakes.from_tensor, inputs)]
        Walk(model, captured.graph, list(given), captured.names, found).run()


def describe(
    model: nn.Module, input_shape: tuple[int, ...], ledger: Ledger, records: list[Record]
) -> Network:
    """The findings as a frozen value."""
    counted = [*vectors(records), *(ids for ids, _ in ledger.attrs.values())]
    grouping = group_channels(ledger, counted)
    known: dict[int, Width] = {}
    return Network(
        input_shape=input_shape,
        layers=tuple(layer_spec(record, grouping, known) for record in records),
        groups={group.id: group for group in grouping.groups},
        tensors=tensors(model, ledger, grouping),
        attrs=attributes(ledger, grouping),
        fixed=fixed_layers(model, ledger, grouping),
    )


def tensors(model: nn.Module, ledger: Ledger, grouping: Grouping) -> tuple[TensorSpec, ...]:
    """Every parameter and buffer with the widths that it holds."""
    parameters = dict(model.named_parameters())

    def width(name: str, dim: int, size: int) -> Width:
        held = ledger.slots.get((name, dim))
        return Width(size) if held is None else grouping.width(held)

    return tuple(
        TensorSpec(
            name, tuple(width(name, d, size) for d, size in enumerate(shape)), name in parameters
        )
        for name, shape in ledger.shapes.items()
    )


def attributes(ledger: Ledger, grouping: Grouping) -> tuple[AttrSpec, ...]:
    """Every module attribute that follows the size of a group."""
    found = []
    for (module, attr), (ids, as_tuple) in ledger.attrs.items():
        width = grouping.width(ids)
        if width.terms:
            found.append(AttrSpec(module, attr, width, as_tuple))
    return tuple(found)


def fixed_layers(model: nn.Module, ledger: Ledger, grouping: Grouping) -> tuple[FixedLayer, ...]:
    """Every layer that keeps its width or some of it, and every module left alone, with why."""
    found: dict[str, str] = {}
    for (tensor, dim), ids in ledger.slots.items():
        layer = ledger.producers.get(tensor, "")
        if not layer or "out" not in ledger.roles[tensor, dim]:
            continue
        groups = {int(label): None for label in grouping.label[ids]}
        held = [grouping.groups[label] for label in groups]
        why = [group.fixed for group in held if group.fixed]
        if why:
            own = next((ledger.fixed[i] for i in ids.tolist() if i in ledger.fixed), "")
            root = next(group.id for group in held if group.fixed).partition("#")[0]
            said = own or (why[0] if root == layer else f"is tied to {root}, which {why[0]}")
            partly = "" if len(why) == len(held) else "some of its channels: "
            found.setdefault(layer, partly + said)
    touched = {tensor for tensor, _ in ledger.slots}
    for path, module in model.named_modules():
        names = [f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
        if names and not any(ledger.canonical[name] in touched for name in names):
            found.setdefault(path, ledger.untouched.get(path, "is not reached by the forward pass"))
    return tuple(FixedLayer(layer, why) for layer, why in found.items())

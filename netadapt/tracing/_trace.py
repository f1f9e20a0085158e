"""From a model to a :class:`netadapt.network.Network`: run, group, describe."""

from collections.abc import Sequence

import torch
from torch import nn

from netadapt.errors import ModelError, ShapeError
from netadapt.network import AttrSpec, FixedLayer, Network, TensorSpec, Width
from netadapt.plugins import blamed
from netadapt.tracing._groups import SINGLE, Grouping, group_channels
from netadapt.tracing._layers import fuse, layer_spec, training_only, vectors
from netadapt.tracing._ledger import NONE, Ids, Ledger, nobody
from netadapt.tracing._run import run
from netadapt.tracing._shadow import Fakes
from netadapt.tracing._values import Findings, Record
from netadapt.tracing.unwrap import unwrap

ATTEMPTS = ((False, 2), (False, 1), (True, 2), (True, 1))
"""Whether to compute with numbers, and how many images: two keep the batch apart from channels."""


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
        ShapeError: the inputs are neither sizes nor tensors.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"A {type(model).__name__} cannot be traced; give a torch.nn.Module.")
    model = unwrap(model)
    examples = as_inputs(model, inputs)
    network, single = described(model, examples, training, frozenset())
    if single:
        # What is tied too much to lose whole groups may lose the same channels of each.
        evenly, _ = described(model, examples, training, single)
        if free_units(evenly) > free_units(network):
            network = evenly
    return network


def described(
    model: nn.Module, examples: tuple[torch.Tensor, ...], training: bool, even: frozenset[str]
) -> tuple[Network, frozenset[str]]:
    """The network, and layers with groups that lose none though nothing else forbids it.

    Args:
        model: the model.
        examples: its inputs.
        training: whether to follow the training mode too.
        even: layers with groups that are to lose the same channels of each group.
    """
    fakes, untrained = Fakes(), ""
    ledger, found = follow(model, examples, new_ledger(model), fakes, even, training=False)
    records = fuse(found)
    if training:
        ledger, more = follow(model, examples, ledger, fakes, even, training=True)
        found.grouped |= more.grouped
        untrained = more.failure
        records += training_only(fuse(more), records)
    ledger.settle()
    network = describe(model, tuple(examples[0].shape[1:]), ledger, records, untrained)
    stuck = {
        slot.tensor.rpartition(".")[0]
        for group in network.groups.values()
        if group.fixed == SINGLE
        for slot in group.slots
    }
    return network, frozenset(stuck & found.grouped)


def free_units(network: Network) -> int:
    """How many units may be removed one by one."""
    return sum(group.size for group in network.groups.values() if not group.fixed)


def as_inputs(
    model: nn.Module, inputs: Sequence[int] | torch.Tensor | Sequence[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Example inputs of one image each, on the meta device where only a shape is given."""
    if isinstance(inputs, torch.Tensor):
        return (inputs,)
    listed = isinstance(inputs, Sequence) and not isinstance(inputs, str)
    tensors = tuple(x for x in inputs if isinstance(x, torch.Tensor)) if listed else ()
    if tensors:
        return tensors
    if not (listed and inputs and all(isinstance(x, int) and x > 0 for x in inputs)):
        raise ShapeError(
            f"{inputs!r} is no shape of an image; give sizes such as (3, 224, 224), or tensors."
        )
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
    before: Ledger,
    fakes: Fakes,
    even: frozenset[str],
    *,
    training: bool,
) -> tuple[Ledger, Findings]:
    """What one mode's code does to channels, by the first attempt that runs to its end.

    Each attempt writes into a copy of the ledger, so that one that fails leaves nothing.

    Args:
        model: the model.
        examples: its inputs.
        before: what is known already.
        fakes: makes tensors without storage.
        even: layers with groups that are to lose the same channels of each group.
        training: whether to run the code for training.

    Raises:
        ModelError: the model does not run.
    """
    failure: Exception = RuntimeError("no attempt")
    for real, batch in ATTEMPTS:
        found = Findings(before.copy(), batch, even)
        inputs = with_batch(examples, batch, real)
        try:
            run(model, inputs, training, found, None if real else fakes)
        except Exception as error:  # whatever the model's code may raise
            failure = error
        else:
            return found.ledger, found
    if training:  # code for training that runs with targets only: what it adds is not known
        return before, Findings(before, failure=sentence(failure))
    shapes = ", ".join("x".join(map(str, x.shape)) for x in with_batch(examples, 1, False))
    raise ModelError(
        f"{type(model).__name__} does not run on an input of {shapes}: "
        f"{blamed(failure) or sentence(failure)}"
    ) from failure


def with_batch(
    examples: tuple[torch.Tensor, ...], batch: int, real: bool
) -> tuple[torch.Tensor, ...]:
    """Tensors shaped as the examples with another batch size: noise, or on no memory."""

    def made(example: torch.Tensor) -> torch.Tensor:
        if not example.ndim:
            return example
        shape = (batch, *example.shape[1:])
        if not real:
            return example.new_zeros(1).expand(shape)
        like = torch.zeros(shape, dtype=example.dtype, device=example.device)
        if not example.is_floating_point():
            return like
        return like.copy_(torch.randn(shape, generator=torch.Generator().manual_seed(0)))

    return tuple(map(made, examples))


def sentence(error: Exception) -> str:
    """The first line of an error's message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 120 else f"{lines[0][:120]}..."


def describe(
    model: nn.Module, input_shape: tuple[int, ...], ledger: Ledger, records: list[Record],
    untrained: str,
) -> Network:  # fmt: skip
    """The findings as a frozen value."""
    counted = [*vectors(records), *ledger.attrs.values()]
    grouping = group_channels(ledger, counted)
    known: dict[int, Width] = {}
    return Network(
        input_shape=input_shape,
        layers=tuple(layer_spec(record, grouping, known) for record in records),
        groups={group.id: group for group in grouping.groups},
        tensors=tensors(model, ledger, grouping),
        attrs=attributes(model, ledger, grouping),
        fixed=fixed_layers(model, ledger, grouping, records, untrained),
        untrained=untrained,
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


def attributes(model: nn.Module, ledger: Ledger, grouping: Grouping) -> tuple[AttrSpec, ...]:
    """Every module attribute that follows the size of a group."""
    found = []
    for module, attr in dict.fromkeys((module, attr) for module, attr, _ in ledger.attrs):
        held = getattr(model.get_submodule(module), attr)
        sequence = not isinstance(held, int)
        widths = tuple(
            grouping.width(ledger.attrs.get((module, attr, i if sequence else None), nobody(value)))
            for i, value in enumerate(held if sequence else [held])
        )
        if any(width.terms for width in widths):
            found.append(AttrSpec(module, attr, widths, sequence))
    return tuple(found)


def fixed_layers(
    model: nn.Module, ledger: Ledger, grouping: Grouping, records: Sequence[Record],
    untrained: str,
) -> tuple[FixedLayer, ...]:  # fmt: skip
    """Every layer that keeps its width or some of it, and every module left alone, with why."""
    found: dict[str, str] = {}
    for (tensor, dim), ids in ledger.slots.items():
        layer = ledger.producers.get(tensor, "")
        if layer and "out" in ledger.roles[tensor, dim]:
            found.setdefault(layer, why_fixed(layer, ids, ledger, grouping))
    for record in records:
        if record.op in PRODUCTS:
            found.setdefault(record.name, why_kept(record, ledger, grouping))
    found = {layer: why for layer, why in found.items() if why}
    touched = {tensor for tensor, _ in ledger.slots}
    unreached = f"{UNREACHED} in evaluation, and training does not run" if untrained else UNREACHED
    for path, module in model.named_modules():
        names = [f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
        names = [ledger.canonical[name] for name in names]
        if names and not any(name in touched for name in names):
            known = "has no channels" if any(name in ledger.used for name in names) else unreached
            # The model's own parameters have no module to be named by.
            found.setdefault(path or ", ".join(names), ledger.untouched.get(path, known))
    return tuple(FixedLayer(layer, why) for layer, why in found.items())


def why_fixed(layer: str, ids: Ids, ledger: Ledger, grouping: Grouping) -> str:
    """Why some of the channels that a layer makes may not go; empty if all may."""
    held = [grouping.groups[label] for label in dict.fromkeys(grouping.label[ids].tolist())]
    why = [group.fixed for group in held if group.fixed]
    if not why:
        return ""
    own = next((ledger.fixed[i] for i in ids.tolist() if i in ledger.fixed), "")
    root = next(group.id for group in held if group.fixed).partition("#")[0]
    said = own or (why[0] if root == layer else f"is tied to {root}, which {why[0]}")
    return ("" if len(why) == len(held) else "some of its channels: ") + said


def why_kept(record: Record, ledger: Ledger, grouping: Grouping) -> str:
    """Why a layer that makes no channels of its own keeps its width; empty if it may shrink."""
    ids = record.cout[record.cout != NONE]
    if len(ids):
        return why_fixed(record.name, ids, ledger, grouping)
    known = ledger.untouched.get(record.module or record.name.rpartition(".")[0])
    if known or record.groups is None or len(record.groups) == 1:
        return known or "has a weight that the code computes in a way that netadapt cannot follow"
    return "works on each of some channels that nothing may remove, such as the network's input"


PRODUCTS = frozenset({"conv", "conv_transpose", "conv_nd", "deform_conv", "linear"})
"""Operations that a reader of the list expects there if they keep their width."""

UNREACHED = "is not reached by the forward pass"

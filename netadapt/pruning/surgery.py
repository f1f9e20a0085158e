"""Remove channels from a module: a new module, with the argument left as it was."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from netadapt.errors import ModelError
from netadapt.network import Network
from netadapt.tracing import duplicate, unwrap

Keep = Mapping[str, Sequence[int]]


def shrink(model: nn.Module, network: Network, keep: Keep) -> nn.Module:
    """A copy of the model that keeps the given units of each group named, and all of others.

    The copy has the same class, dtype, device, memory format, ``requires_grad``, training flags,
    hooks and ties between tensors. ``network.narrow(keep)`` describes it. Parameters are new
    objects, so an optimizer has to be made anew.

    Args:
        model: what ``network`` describes as it is now; of wrappers, what they hold is copied.
        network: the description.
        keep: for each group that shrinks, the units that stay, ascending.

    Raises:
        ModelError: the model is not the one that ``network`` describes, or a group named may not
            shrink.
        ValueError: a group is unknown, or its units are not ascending and within range.
    """
    model = unwrap(model)
    held = checked(model, network, keep)
    kept: dict[str, dict[int, list[int]]] = {}
    for (name, dim), indices in network.kept_indices(keep).items():
        kept.setdefault(name, {})[dim] = indices
    # Tensors to cut enter the memo cut, so that no tensor is copied whole first, and ties hold.
    memo: dict[int, object] = {id(held[n]): cut(held[n], dims) for n, dims in kept.items()}
    shrunken = duplicate(model, memo=memo)
    sizes = {group: len(units) for group, units in keep.items()}
    set_attributes(shrunken, network.attributes(sizes))
    return shrunken


def set_attributes(model: nn.Module, attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Set widths that modules hold: ``{module: {attribute: value}}``, sequences in their type."""
    for path, attrs in attributes.items():
        module = model.get_submodule(path)
        for attr, value in attrs.items():
            listed = isinstance(getattr(module, attr, None), list)
            items = isinstance(value, list | tuple)
            setattr(module, attr, list(value) if listed else tuple(value) if items else value)


def mask(model: nn.Module, network: Network, keep: Keep) -> nn.Module:
    """A copy of the model, of full size, that reads nothing of the units that do not stay.

    The weights by which layers sum over those channels are zero, so that it computes exactly
    what :func:`shrink` gives, whatever the activations between are. Where channels are summed
    without weights, what produces them is zero too.

    Raises:
        ModelError, ValueError: as :func:`shrink`.
    """
    model = unwrap(model)
    checked(model, network, keep)
    masked = duplicate(model)
    held = named_tensors(masked)
    with torch.no_grad():
        for group_id, units in keep.items():
            group = network.groups[group_id]
            gone = sorted(set(range(group.size)) - set(units))
            for slot in group.slots:
                if gone and (slot.role == "in" or group.summed):
                    indices = torch.tensor([i for unit in gone for i in slot.index[unit]])
                    tensor = held[slot.tensor]
                    tensor.index_fill_(slot.dim, indices.to(tensor.device), 0)
    return masked


def cut(tensor: torch.Tensor, kept: Mapping[int, Sequence[int]]) -> torch.Tensor:
    """A tensor's rows by dimension, with its type, memory format and ``requires_grad``."""
    with torch.no_grad():
        smaller = tensor.detach()
        for dim, indices in kept.items():
            smaller = smaller.index_select(dim, torch.tensor(indices, device=tensor.device))
        if is_channels_last(tensor):
            last = torch.empty_like(smaller, memory_format=torch.channels_last)
            smaller = last.copy_(smaller)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(smaller, requires_grad=tensor.requires_grad)
    return smaller.requires_grad_(tensor.requires_grad)


def is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether the strides are those of channels-last, also where a 1x1 kernel leaves it open."""
    return (
        tensor.ndim == 4
        and tensor.is_contiguous(memory_format=torch.channels_last)
        and tensor.stride() != torch.empty(tensor.shape, device="meta").stride()
    )


def named_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer; of tied ones, by the first name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def checked(model: nn.Module, network: Network, keep: Keep) -> dict[str, torch.Tensor]:
    """The model's tensors, once model, network and choice are found to fit each other."""
    network.complete({group: len(units) for group, units in keep.items()})
    for group_id, units in keep.items():
        group, listed = network.groups[group_id], list(units)
        if listed != sorted(set(listed)) or not 0 <= listed[0] <= listed[-1] < group.size:
            raise ValueError(
                f"units of {group_id!r} must ascend within 0..{group.size - 1}; found {listed}"
            )
        if group.fixed and len(listed) < group.size:
            raise ModelError(f"Group {group_id!r} may not shrink: it {group.fixed}.")
    held = named_tensors(model)
    for spec in network.tensors:
        expected = tuple(width.at(network.sizes) for width in spec.shape)
        found = tuple(held[spec.name].shape) if spec.name in held else None
        if found != expected:
            raise ModelError(
                f"The model is not the one that was traced: {spec.name} should have shape "
                f"{expected}, but {'is missing' if found is None else f'has {found}'}. "
                "Trace it again."
            )
    return held

"""Which units of a channel group matter: scores, and the choice of the best."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from netadapt.network import ChannelGroup, Slot
from netadapt.pruning.moments import Moments

Importance = Callable[..., Tensor]
"""``(parameters and buffers by name, group) -> scores [units]``; greater means keep.

One that names a further parameter ``gradients`` gets the gradients of the loss by parameter name,
those of one batch of training images; its scores are averaged over some batches. One that names
``moments`` gets what layers read on training images, see :data:`netadapt.pruning.moments.Moments`.
"""


def l2(tensors: Mapping[str, Tensor], group: ChannelGroup) -> Tensor:
    """Squared L2 norm of the filters of each unit (NetAdapt, section 3.3).

    Where several layers make the same channels, as those of a residual sum do, their filters
    count together. Biases do not count.
    """
    slots = [slot for slot in group.slots if slot.role == "out" and tensors[slot.tensor].ndim > 1]
    return per_unit((squared(tensors[slot.tensor], slot.dim), slot) for slot in slots)


def bn_scale(tensors: Mapping[str, Tensor], group: ChannelGroup) -> Tensor:
    """Magnitude of the normalization scale (Network Slimming); L2 where nothing normalizes."""
    slots = [
        slot
        for slot in group.slots
        if slot.role == "channelwise" and slot.tensor.endswith("weight")
        if tensors[slot.tensor].ndim == 1
    ]
    if not slots:
        return l2(tensors, group)
    return per_unit((tensors[slot.tensor].detach().double().abs().cpu(), slot) for slot in slots)


def random(tensors: Mapping[str, Tensor], group: ChannelGroup) -> Tensor:
    """Scores that mean nothing, the same for a group each time: the control of an experiment."""
    seed = sum(place * byte for place, byte in enumerate(group.id.encode(), start=1))
    return torch.rand(group.size, generator=torch.Generator().manual_seed(seed))


def taylor(
    tensors: Mapping[str, Tensor], group: ChannelGroup, *, gradients: Mapping[str, Tensor]
) -> Tensor:
    """Squared change of the loss, to first order, if all weights of a unit went to zero.

    Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019, equation 8: the
    square of the sum of weight times gradient over all that belongs to the unit. Weights that are
    not trained have no gradient, and count nothing.
    """
    slots = [slot for slot in group.slots if slot.tensor in gradients]
    if not slots:
        return torch.zeros(group.size, dtype=torch.float64)
    changes = (
        (summed(tensors[slot.tensor].detach() * gradients[slot.tensor], slot.dim), slot)
        for slot in slots
    )
    return per_unit(changes).square()


def output_error(tensors: Mapping[str, Tensor], group: ChannelGroup, *, moments: Moments) -> Tensor:
    """The order in which units go if each one that goes adds least to the error of the output.

    The error is that of the layers that read the group, summed over their outputs, on sample
    images, and counts what went before: two units that cancel each other go together (after Yang
    et al., "Designing energy-efficient convolutional neural networks using energy-aware pruning",
    CVPR 2017, which removes weights by the joint error they make). For kernels of more than one
    pixel, products of different taps are left out. A group that no layer of ``moments`` reads is
    ranked by :func:`l2`.

    Returns:
        0 for the unit that goes first, up to ``units - 1``.
    """
    readers = [slot for slot in group.slots if slot.role == "in"]
    read = [(slot, moments[slot.layer]) for slot in readers if slot.layer in moments]
    joint = [moment.output_products(tensors[slot.tensor], slot) for slot, moment in read]
    return order_of_removal(torch.stack(joint).sum(0)) if joint else l2(tensors, group)


def order_of_removal(joint: Tensor) -> Tensor:
    """When each unit goes, if the error of all that are gone is to grow least each time.

    Args:
        joint: ``[units, units]``; units that are gone make an error of the sum of their block.
    """
    added = joint.diagonal().clone()  # by each unit, to the error of those that are gone
    turns = torch.empty(len(joint), dtype=torch.float64)
    for turn in range(len(joint)):
        unit = int(added.argmin())
        turns[unit] = turn
        added += 2 * joint[unit]
        added[unit] = torch.inf
    return turns


IMPORTANCES: dict[str, Importance] = {
    "l2": l2,
    "bn_scale": bn_scale,
    "taylor": taylor,
    "output_error": output_error,
    "random": random,
}
"""Every importance by the name it is asked for with."""

COMPARABLE = frozenset({"taylor"})
"""Those whose scores are of one unit in all groups, so that units of different groups compare."""


def top(scores: Tensor | Sequence[float], count: int) -> tuple[int, ...]:
    """The units of highest score, in their original order; of equals, those that come first.

    Raises:
        ValueError: there are fewer units than ``count``, or a score is not a number.
    """
    values = torch.as_tensor(scores, dtype=torch.float64)
    if not 0 <= count <= len(values):
        raise ValueError(f"cannot keep {count} of {len(values)} units")
    if bool(values.isnan().any()):
        raise ValueError("a unit's score is not a number; its weights hold NaN")
    order = torch.argsort(values, descending=True, stable=True)
    return tuple(sorted(order[:count].tolist()))


def squared(tensor: Tensor, dim: int) -> Tensor:
    """Sum of squares for each index along a dimension, in double precision on the CPU."""
    return summed(tensor.detach().double().square(), dim)


def summed(tensor: Tensor, dim: int) -> Tensor:
    """Sum for each index along a dimension, in double precision on the CPU."""
    other = [d for d in range(tensor.ndim) if d != dim]
    tensor = tensor.double()
    return (tensor.sum(other) if other else tensor).cpu()


def per_unit(scores: Iterator[tuple[Tensor, Slot]]) -> Tensor:
    """Sum over slots of the scores at the indices that each unit owns."""
    return torch.stack([held[torch.tensor(slot.index)].sum(1) for held, slot in scores]).sum(0)

"""Repair after a cut: layers make up for the channels that they no longer read."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from netadapt.network import Network
from netadapt.pruning.moments import Moment, Moments
from netadapt.pruning.surgery import Keep

RIDGE = 1e-3
"""Of the mean power of the channels that stay."""


def repair(
    shrunken: nn.Module, model: nn.Module, network: Network, keep: Keep, moments: Moments
) -> list[str]:
    """Give the layers that lost inputs the weights that come nearest to their former outputs.

    As the inputs of each were before the cut: what other cuts change before it is not looked at.

    Args:
        shrunken: what :func:`netadapt.pruning.surgery.shrink` made of the model; changed in place.
        model: before the cut.
        network: of the model.
        keep: for each group that shrank, the units that stayed.
        moments: of the model's layers, as :func:`netadapt.pruning.moments.watching` gives them;
            layers without stay as they were cut.

    Returns:
        The layers that were repaired.
    """
    kept, repaired = network.kept_indices(keep), []
    for layer, moment in moments.items():
        name = f"{layer}.weight"
        if (name, 1) not in kept:
            continue
        source, target = (m.get_submodule(layer).get_parameter("weight") for m in (model, shrunken))
        weight = least_squares(source, moment, kept[name, 1])
        if (name, 0) in kept:
            weight = weight[kept[name, 0]]
        with torch.no_grad():
            target.copy_(weight.to(target))
        repaired.append(layer)
    return repaired


def least_squares(
    weight: Tensor, moment: Moment, kept: Sequence[int], *, ridge: float = RIDGE
) -> Tensor:
    """The weight for the inputs kept that comes nearest to what all inputs gave.

    The channels that go are written as sums of those that stay, ``x_gone = M^T x_kept``, with the
    ``M`` of least mean square error; what read a channel that went then reads its share of those
    that stay. For 1x1 convolutions and linear layers the result is the ridge regression

        argmin_V  mean |W x - V x_kept|^2 + ridge * p * |V - W_kept|^2

    where ``p`` is the mean power of the channels kept; for larger kernels every tap is mixed by the
    same ``M``. But for the ridge, a channel that is a linear combination of those kept is not
    missed.

    Args:
        weight: ``[outputs, inputs, ...]``.
        moment: of its inputs.
        kept: indices of the inputs that stay, ascending.
        ridge: share of the mean power that is added to each channel's own; above zero.

    Returns:
        ``[outputs, len(kept), ...]``, in double precision on the CPU.
    """
    stay = moment.channels(list(kept))
    gone = sorted(set(range(len(moment.products))) - set(stay))
    by_channel = moment.by_channel(weight)
    power = moment.products[stay][:, stay]
    damped = power + torch.eye(len(stay)) * ridge * power.diagonal().mean().clamp_min(1e-30)
    mixed = torch.cholesky_solve(moment.products[stay][:, gone], torch.linalg.cholesky(damped))
    made_up = torch.einsum("ogt,kg->okt", by_channel[:, gone], mixed)
    return (by_channel[:, stay] + made_up).reshape(len(weight), len(kept), *weight.shape[2:])

"""How many of the numbers that enter each layer are zero: what sparse hardware gains by."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.network import Network


def ifmap_zeros(module: nn.Module, network: Network, images: Iterable[Tensor]) -> dict[str, float]:
    """Share of zeros in the input of each layer with weights, padding aside.

    Args:
        module: what ``network`` was traced from; run in evaluation mode, and left as it was.
        network: names the layers.
        images: batches of shape [N, C, H, W] on the module's device, such as holdout images.

    Returns:
        By the name of the layer.
    """
    counts: dict[str, list[int]] = {}
    layers = {layer.name: layer.module for layer in network.costed if layer.module}

    def counting(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            zeros, elements = counts.get(name, [0, 0])
            found = inputs[0].numel() - int(torch.count_nonzero(inputs[0]))
            counts[name] = [zeros + found, elements + inputs[0].numel()]

        return hook

    handles = [
        module.get_submodule(path).register_forward_pre_hook(counting(name))
        for name, path in layers.items()
    ]
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            for batch in images:
                module(batch)
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return {name: zeros / elements for name, (zeros, elements) in counts.items() if elements}

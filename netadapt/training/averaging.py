"""The running average of a network's weights over the steps of its training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from netadapt.training.batchnorm import BATCH_NORMS


class Average:
    """An exponential average of what is trained, and of the statistics that belong to it.

    After n steps the decay is the smaller of the one asked for and (1 + n) / (10 + n), so that
    weights from before the training soon count for little (as in TensorFlow's
    ExponentialMovingAverage). Means and variances of batch normalizations are averaged with the
    weights; any other buffer is a matter of the model's own, and stays as the training leaves it.

    Args:
        model: what is trained; its tensors stay the same objects throughout.
        decay: share of the average that stays at each step; 0 averages nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._sources = list(_averaged(model)) if decay else []
        self._averages = [tensor.detach().clone() for tensor in self._sources]

    def update(self, step: int) -> None:
        """Take in the weights of a step, counted from 0."""
        if self._sources:
            decay = min(self._decay, (1 + step) / (10 + step))
            average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            average(self._averages, self._sources, step)

    @torch.no_grad()
    def apply(self) -> None:
        """Give the model the average."""
        for tensor, average in zip(self._sources, self._averages, strict=True):
            tensor.copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the model has the average."""
        present = [tensor.detach().clone() for tensor in self._sources]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(self._sources, present, strict=True):
                    tensor.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """The average by name, to be kept; tensors that live on."""
        return {f"average/{number}": tensor for number, tensor in enumerate(self._averages)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back, in place, what :meth:`state` gave."""
        for name, average in self.state().items():
            average.copy_(state[name])


def _averaged(model: nn.Module) -> Iterator[Tensor]:
    """Weights that are trained, and statistics of batch normalizations; each once."""
    yield from (p for p in model.parameters() if p.requires_grad)
    norms = (module for module in model.modules() if isinstance(module, BATCH_NORMS))
    for norm in norms:
        yield from (s for s in (norm.running_mean, norm.running_var) if s is not None)

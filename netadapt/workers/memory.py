"""What a race remembers of its candidates from one part of the images to the next."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from netadapt.runs import Trial


class Memory:
    """The tensors that made candidates of one rung ready; those of the next take their place.

    Of an untrained candidate these are its statistics alone, so that any number of them is small.
    """

    def __init__(self) -> None:
        self._rung: tuple[int, int] | None = None
        self._states: dict[tuple[object, ...], dict[str, Tensor]] = {}

    def recall(self, trial: Trial, model: nn.Module) -> bool:
        """Make the model of a trial ready as it was before, if it was; whether that was so."""
        state = self._states.get(_identity(trial))
        if state is None:
            return False
        with torch.no_grad():
            for name, tensor in _tensors(model, trained=trial.rung > 0):
                tensor.copy_(state[name])
        return True

    def keep(self, trial: Trial, model: nn.Module) -> None:
        """Keep what made the model of a trial ready, and forget other rungs."""
        if self._rung != (trial.iteration, trial.rung):
            self._rung = (trial.iteration, trial.rung)
            self._states.clear()
        tensors = _tensors(model, trained=trial.rung > 0)
        self._states[_identity(trial)] = {name: tensor.clone() for name, tensor in tensors}


def _tensors(model: nn.Module, *, trained: bool) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_buffers()
    if trained:
        for name, parameter in model.named_parameters():
            yield name, parameter.detach()


def _identity(trial: Trial) -> tuple[object, ...]:
    return trial.weights, trial.iteration, trial.rung, trial.until, *sorted(trial.changes.items())

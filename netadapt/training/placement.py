"""Where a model is trained: device, memory layout and seeds, set for a while and put back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.data.task import Batch
from netadapt.errors import DeviceError, UsageError


def open_trainer(name: str) -> torch.device:
    """The device to train on: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        DeviceError: this machine has no such device.
        UsageError: the name is none of these.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"There is no trainer {name!r}; train on cpu or cuda.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"The trainer {name} is not available: PyTorch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA GPUs here; train on cpu, or check the driver."
        )
    return device


def placed(trainer: str) -> tuple[int, str | None]:
    """What computes when training: threads of this process, and the model of the GPU if one does.

    Raises:
        DeviceError, UsageError: see :func:`open_trainer`.
    """
    device = open_trainer(trainer)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return torch.get_num_threads(), name


@contextmanager
def arranged(model: nn.Module, device: torch.device) -> Iterator[tuple[torch.device, torch.dtype]]:
    """Put the model on the device, channels-last; undo that, and restore every module's mode.

    Gives the device, and the type that floating inputs must have.
    """
    tensors = [*model.parameters(), *model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    home = tensors[0].device if tensors else device
    plain = all(t.is_contiguous() for t in tensors if t.ndim == 4)
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield device, dtype
    finally:
        for module, training in modes:
            module.training = training
        layout = torch.contiguous_format if plain else torch.channels_last
        model.to(device=home, memory_format=layout)  # type: ignore[call-overload]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what dropout draws from, and leave the global random state as it was."""
    gpus = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed(seed)
        yield


def moved(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch on the device: images channels-last and of the given type, targets as they are."""
    inputs, targets = batch
    if isinstance(inputs, Tensor):
        if inputs.is_floating_point():
            inputs = inputs.to(device, dtype, non_blocking=True)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
    return _on(device, inputs), _on(device, targets)


def _on(device: torch.device, value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _on(device, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_on(device, item) for item in value]
    if isinstance(value, tuple):
        return tuple(_on(device, item) for item in value)
    return value

"""Weights as an analog chip holds them: programmed with errors, drifted, and read with noise."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from netadapt.platforms.accelerators.noise import AnalogHardware, Drift, Flicker, Noise

ANALOG = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""Layers whose weights are held by cells; everything else is computed digitally."""

_LEAST = 1e-9  # conductances below it have no logarithm


@dataclass(frozen=True, slots=True)
class Cells:
    """A layer's weights on one chip, relative to the scale of their output.

    Attributes:
        weight: what the cells hold by now, shaped like the layer's weight.
        read_noise: standard deviation of a read, of the same shape.
        scale: what a relative weight of 1 stands for; one for each output where that is dimension
            0 of the weight, else one for all.
        gain: factor on the outputs that undoes the mean drift.
    """

    weight: Tensor
    read_noise: Tensor
    scale: Tensor
    gain: float


def program(
    weight: Tensor, hardware: AnalogHardware, generator: torch.Generator, *, by_output: bool = True
) -> Cells:
    """Draw one chip's cells for a weight.

    Args:
        weight: of any shape; dimension 0 counts outputs if ``by_output``.
        hardware: kind of cells, and their age.
        generator: of the chip, on the weight's device.
        by_output: scale each output to its largest weight, rather than all to the largest of all.
    """
    weight = weight.detach()
    dims = tuple(range(1, weight.dim())) if by_output else tuple(range(weight.dim()))
    scale = weight.abs().amax(dim=dims, keepdim=True).clamp_min(1e-12)
    relative = weight / scale
    off = 1 / hardware.on_off
    held, variance = torch.zeros_like(relative), torch.zeros_like(relative)
    for sign in (1.0, -1.0):
        target = off + (1 - off) * (sign * relative).clamp_min(0.0)
        conductance = _programmed(target, hardware, generator)
        held += sign * conductance
        variance += _read_noise(conductance, hardware.noise, hardware.seconds) ** 2
    held, read_noise = held / (1 - off), variance.sqrt() / (1 - off)
    gain = float((held * relative).sum() / (held**2).sum().clamp_min(1e-12))
    return Cells(held, read_noise, scale, gain if hardware.rescaled else 1.0)


def _programmed(target: Tensor, hardware: AnalogHardware, generator: torch.Generator) -> Tensor:
    """Conductances that programming and the time since have made of the target."""
    noise = hardware.noise
    sigma = _polynomial(noise.programming_at(hardware.seconds), target)
    conductance = (target + sigma * _normal(target, generator)).clamp_min(0.0)
    if noise.drift is None:
        return conductance
    age = (hardware.seconds + noise.drift.t0_s) / noise.drift.t0_s
    return conductance * age ** -_drift_exponent(target, noise.drift, generator)


def _drift_exponent(target: Tensor, drift: Drift, generator: torch.Generator) -> Tensor:
    log = target.clamp_min(_LEAST).log()
    mean, spread = (
        (slope * log + offset).clamp(least, most)
        for slope, offset, least, most in (drift.mean, drift.spread)
    )
    return (mean + spread * _normal(target, generator)).abs()


def _read_noise(conductance: Tensor, noise: Noise, seconds: float) -> Tensor:
    """Standard deviation of one read."""
    relative = noise.read * conductance
    return relative if noise.flicker is None else _flickering(conductance, noise.flicker, seconds)


def _flickering(conductance: Tensor, flicker: Flicker, seconds: float) -> Tensor:
    age = torch.tensor((seconds + flicker.read_s) / (2 * flicker.read_s)).log().clamp_min(0.0)
    amplitude = (flicker.a / conductance.clamp_min(_LEAST) ** flicker.b).clamp_max(flicker.cap)
    return conductance * amplitude * age.sqrt().to(conductance)


def _polynomial(coefficients: tuple[float, ...], at: Tensor) -> Tensor:
    """Horner's rule; an error is never below zero."""
    value = torch.zeros_like(at)
    for coefficient in reversed(coefficients):
        value = value * at + coefficient
    return value.clamp_min(0.0)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


class _Programmed(nn.Module):
    """A weight that is programmed anew at each training step; gradients pass as if it were not."""

    def __init__(self, hardware: AnalogHardware, seed: int, *, by_output: bool) -> None:
        super().__init__()
        self._hardware, self._seed, self._by_output = hardware, seed, by_output
        self._generator: torch.Generator | None = None  # made where the weight is by then

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with one chip's errors while training, and as it is otherwise."""
        if not self.training:
            return weight
        if self._generator is None or self._generator.device != weight.device:
            self._generator = torch.Generator(weight.device).manual_seed(self._seed)
        cells = program(weight, self._hardware, self._generator, by_output=self._by_output)
        return weight + (cells.weight * cells.gain * cells.scale - weight).detach()


def is_analog(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.ConvTranspose2d | nn.Linear]:
    """Whether cells hold its weights; false for subclasses, whose weight others may use."""
    return type(module) in ANALOG


def scaled_by_output(layer: nn.Module) -> bool:
    """Whether dimension 0 of the layer's weight counts outputs."""
    return not isinstance(layer, nn.ConvTranspose2d)


@contextmanager
def training_noise(model: nn.Module, hardware: AnalogHardware, seed: int = 0) -> Iterator[None]:
    """Within it, every training step of ``model`` meets the weights of another chip.

    Inputs and outputs stay exact: errors of weights are what training learns to bear (Joshi et
    al., Nature Communications 2020). The parameters are the same objects throughout; their names
    in the state dict differ inside.

    Args:
        model: changed in place, and back at the end.
        hardware: kind of cells, and their age.
        seed: of the errors.
    """
    layers = [module for module in model.modules() if is_analog(module)]
    for number, layer in enumerate(layers):
        noise = _Programmed(hardware, seed + number, by_output=scaled_by_output(layer))
        parametrize.register_parametrization(layer, "weight", noise)
    try:
        yield
    finally:
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)

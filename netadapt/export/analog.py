"""A network as analog arrays compute it: each chip has its own errors, so accuracy has a spread."""

import copy
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from netadapt.config import Recipe
from netadapt.errors import UsageError
from netadapt.platforms import open_platform
from netadapt.platforms.accelerators.noise import AnalogHardware, Converters
from netadapt.platforms.accelerators.platform import ModelledPlatform
from netadapt.platforms.measurement import DeviceInfo
from netadapt.training.programming import is_analog, program, scaled_by_output, training_noise

_LEAST = 1e-12


class AnalogLayer(nn.Module):
    """A convolution or linear layer on one chip; its bias is added digitally.

    What enters an array at once, a vector or the patch of one group, is scaled to its largest
    element, and so are converters and their noise. Only the steps that a convolution's inputs are
    rounded to are those of the whole image, and a transposed convolution's scale is too. One array
    is as tall as the layer needs: sums of several shorter ones, each with a
    converter of its own, would add noise.

    Args:
        layer: not changed.
        hardware: cells and converters.
        generator: of the chip, on the layer's device; draws errors here, and noise in each pass.
    """

    held: Tensor
    read_noise: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(
        self,
        layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear,
        hardware: AnalogHardware,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        cells = program(layer.weight, hardware, generator, by_output=scaled_by_output(layer))
        self.layer = copy.deepcopy(layer)
        self.layer.bias = None
        self.register_buffer("held", cells.weight)
        self.register_buffer("read_noise", cells.read_noise)
        self._is_linear = isinstance(layer, nn.Linear)
        channels = (1, -1) if self._is_linear else (1, -1, 1, 1)
        scale = cells.scale.reshape(-1) * cells.gain
        self.register_buffer("scale", scale if self._is_linear else scale.reshape(channels))
        bias = None if layer.bias is None else layer.bias.detach()
        self.register_buffer(
            "bias", bias if bias is None or self._is_linear else bias.reshape(channels)
        )
        self._converters = hardware.converters
        self._generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs as the chip computes them; new noise at each call."""
        weight = self.held + self.read_noise * self._normal(self.held)
        dims = (-1,) if self._is_linear else tuple(range(1, inputs.dim()))
        largest = inputs.abs().amax(dim=dims, keepdim=True).clamp_min(_LEAST)
        relative = inputs / largest
        if self._converters is not None:
            relative = quantized(relative, self._converters.input_bits)
        outputs: Tensor = functional_call(self.layer, {"weight": weight}, (relative,))
        if self._converters is not None:
            largest_of_patch = self._largest_of_patch(relative)
            outputs = self._converted(outputs / largest_of_patch, self._converters)
            outputs = outputs * largest_of_patch
        outputs = outputs * (self.scale * largest)
        return outputs if self.bias is None else outputs + self.bias

    def _largest_of_patch(self, relative: Tensor) -> Tensor | float:
        """For each output, the largest input that it sums over; 1 where ``relative`` has it so."""
        layer = self.layer
        if not isinstance(layer, nn.Conv2d):
            return 1.0
        count, _, height, width = relative.shape
        of_group = relative.abs().reshape(count, layer.groups, -1, height, width).amax(2)
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = functional.pad(of_group, layer._reversed_padding_repeated_twice, mode)
        kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
        largest = functional.max_pool2d(padded, kernel, stride, dilation=dilation)
        return largest.clamp_min(_LEAST).repeat_interleave(layer.out_channels // layer.groups, 1)

    def _converted(self, outputs: Tensor, converters: Converters) -> Tensor:
        noisy = outputs + converters.output_noise * self._normal(outputs)
        step = 2 * converters.bound / ((1 << converters.adc_bits) - 2)
        return ((noisy / step).round() * step).clamp(-converters.bound, converters.bound)

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(
            like.shape, generator=self._generator, device=like.device, dtype=like.dtype
        )


def quantized(relative: Tensor, bits: int) -> Tensor:
    """Numbers in -1..1 rounded to signed steps of ``bits`` bits."""
    steps = (1 << (bits - 1)) - 1
    return (relative * steps).round() / steps


def on_chip(model: nn.Module, hardware: AnalogHardware, seed: int) -> nn.Module:
    """A copy of ``model`` in evaluation mode, its convolutions and linear layers on one chip.

    Args:
        model: not changed. Batch normalization may be folded or not: it scales whole outputs, as
            the cells' own scale does.
        hardware: cells and converters.
        seed: another chip for each.
    """
    weights = next(model.parameters(), None)
    device = torch.device("cpu") if weights is None else weights.device
    generator = torch.Generator(device).manual_seed(seed)
    chip = copy.deepcopy(model).eval()
    if is_analog(chip):
        return AnalogLayer(chip, hardware, generator)
    known: dict[nn.Module, AnalogLayer] = {}
    for name, module in list(chip.named_modules(remove_duplicate=False)):
        if is_analog(module):
            if module not in known:
                known[module] = AnalogLayer(module, hardware, generator)
            parent, _, attribute = name.rpartition(".")
            setattr(chip.get_submodule(parent), attribute, known[module])
    return chip


@dataclass(frozen=True, slots=True)
class AnalogScore:
    """A metric over several chips of one design.

    Attributes:
        scores: one for each chip.
    """

    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """What a chip reaches on average."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float:
        """Standard deviation between chips; 0 for a single one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0


def analog_score(
    model: nn.Module,
    metric: Callable[[nn.Module], float],
    hardware: AnalogHardware,
    *,
    chips: int = 10,
    seed: int = 0,
) -> AnalogScore:
    """Score a model as chips compute it.

    Args:
        model: not changed.
        metric: called with the model on each chip, in evaluation mode, without gradients.
        hardware: cells and converters.
        chips: how many; fewer than 10 say little about the spread.
        seed: of the first chip; the same seed draws the same chips.
    """
    with torch.no_grad():
        return AnalogScore(
            tuple(metric(on_chip(model, hardware, seed + chip)) for chip in range(chips))
        )


def analog_of(info: DeviceInfo) -> tuple[AnalogHardware, int] | None:
    """How a device's weights compute, and on how many chips to score; None where they are exact."""
    if not info.platform.startswith("crossbar:"):
        return None
    platform = open_platform(info.platform)
    if not isinstance(platform, ModelledPlatform) or platform.analog is None:
        return None
    return platform.analog, platform.chips


def training_on(
    info: DeviceInfo, model: nn.Module, recipe: Recipe, seed: int
) -> AbstractContextManager[None]:
    """Within it, training meets the device's noise if the recipe asks for it.

    Raises:
        UsageError: the recipe asks for the noise of a device that has none.
    """
    if not recipe.noise_aware:
        return nullcontext()
    analog = analog_of(info)
    if analog is None:
        raise UsageError(
            f"Noise-aware training needs a device with noise, and {info.platform} has none; "
            "give one such as crossbar:?noise=pcm."
        )
    return training_noise(model, analog[0], seed)


def score_on(
    info: DeviceInfo, model: nn.Module, metric: Callable[[nn.Module], float]
) -> AnalogScore:
    """Score a model as a device computes it: on several chips where no two are alike.

    All models of a run meet the same chips, so that their scores compare.

    Args:
        info: the device.
        model: not changed.
        metric: as for :func:`analog_score`.
    """
    analog = analog_of(info)
    if analog is None:
        return AnalogScore((metric(model),))
    hardware, chips = analog
    return analog_score(model, metric, hardware, chips=chips)

"""A model as the device is to run it: float32, or in 8 bits."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netadapt import data
from netadapt.export import to_onnx
from netadapt.export.batches import open_batch
from netadapt.platforms.measurement import DeviceInfo
from netadapt.platforms.ort.quantization import feeds_of, quantize
from netadapt.platforms.ort.saturation import this_machine_saturates

CALIBRATION_IMAGES = 32
BATCH = 32
"""Images that are scored at a time: two thirds to a half of the time of one at a time."""

_ROUNDING = 0.05  # of the largest output


def deployable(
    model: nn.Module, input_shape: tuple[int, ...], info: DeviceInfo, images: Any = None
) -> bytes:
    """Serialized ONNX in the precision and with the batch size that a device measures.

    Args:
        model: the model.
        input_shape: ``(channels, height, width)`` of one image.
        info: the device with its settings.
        images: float32 array [N, C, H, W] that gives 8-bit activations their ranges; None for
            noise, which is as good for timing and for nothing else.

    Raises:
        ModelError: the model cannot be written as ONNX.
        UsageError: it cannot be quantized.
    """
    return as_deployed(to_onnx(model, input_shape, batch=info.batch), info, images)


def as_deployed(written: bytes, info: DeviceInfo, images: Any = None) -> bytes:
    """A serialized float32 model in the precision that a device measures.

    Args:
        written: the model, with the device's batch.
        info: the device with its settings.
        images: as for :func:`deployable`.

    Raises:
        UsageError: it cannot be quantized.
    """
    if info.precision != "int8":
        return written
    return quantize(written, feeds_of(written, images), weight_bits=info.weight_bits)


def calibration_images(task: data.Task) -> Any:
    """Training images of all classes, as a float32 array [N, C, H, W]."""
    count = min(CALIBRATION_IMAGES, len(task.train))
    batch = task.batches("train", batch_size=count, shuffle=True, seed=task.seed)
    return np.asarray(next(iter(batch))[0], dtype=np.float32)


def scored_model(
    model: nn.Module, input_shape: tuple[int, ...], info: DeviceInfo, images: Any = None
) -> nn.Module:
    """What is to be scored of a candidate: what it computes on the device.

    Args:
        model: the candidate.
        input_shape: ``(channels, height, width)`` of one image.
        info: the device.
        images: float32 array [N, C, H, W] that gives 8-bit activations their ranges.

    Returns:
        In float32 the model itself, in 8 bits its quantized form.

    Raises:
        ModelError: the model cannot be written as ONNX.
        UsageError: it cannot be quantized.
    """
    if info.precision != "int8":
        return model
    return as_computed(deployable(model, input_shape, replace(info, batch=1), images), info)


def as_computed(onnx_model: bytes, info: DeviceInfo) -> "OnnxModel":
    """A quantized model of one image that gives here what it gives on the device.

    Weights of 7 bits are exact in the integer kernels of any processor. Those of 8 bits are not
    where this machine's integers saturate and the device's do not: there the same steps are taken
    in floating point, whose sums of such integers are exact to a rounding.
    """
    return OnnxModel(onnx_model, integers=info.weight_bits == 7 or not this_machine_saturates())


class OnnxModel(nn.Module):
    """A serialized model for one image, to be scored like any other.

    Args:
        onnx_model: the serialized model.
        integers: whether 8-bit layers are computed by kernels for integers, or as what the model
            says literally: integers taken for real numbers, and rounded after each layer.
    """

    def __init__(self, onnx_model: bytes, *, integers: bool = True) -> None:
        super().__init__()
        self._single = _session(onnx_model, integers)
        self._input = self._single.get_inputs()[0].name
        self._many = self._opened(onnx_model, integers)

    @property
    def many(self) -> bool:
        """Whether images are computed many at a time: the model gives the same then."""
        return self._many is not None

    def forward(self, images: Tensor) -> Any:
        """Outputs for images [N, C, H, W]: a tensor, or a tuple where the model has several."""
        arrays = images.cpu().numpy()
        size = 1 if self._many is None else BATCH
        session = self._single if self._many is None else self._many
        runs = [
            session.run(None, {self._input: arrays[at : at + size]})
            for at in range(0, len(arrays), size)
        ]
        outputs = tuple(
            torch.from_numpy(np.concatenate(parts)).to(images.device)
            for parts in zip(*runs, strict=True)
        )
        return outputs[0] if len(outputs) == 1 else outputs

    def _opened(self, onnx_model: bytes, integers: bool) -> Any:
        """A session for many images at a time; None if it does not compute the same."""
        source = np.random.default_rng(0)
        shape = self._single.get_inputs()[0].shape
        images = source.standard_normal((3, *shape[1:]), dtype=np.float32)
        expected = [self._single.run(None, {self._input: image[None]}) for image in images]
        try:
            session = _session(open_batch(onnx_model), integers)
            found = session.run(None, {self._input: images})
        except Exception:  # ONNX Runtime raises anything
            return None
        pairs = zip(found, zip(*expected, strict=True), strict=True)
        return session if all(_agree(many, np.concatenate(one)) for many, one in pairs) else None


def _agree(found: Any, expected: Any) -> bool:
    """Whether outputs are the same, but for what one rounding in a layer may shift."""
    if found.shape != expected.shape:
        return False
    return bool(abs(found - expected).max() <= _ROUNDING * max(abs(expected).max(), 1e-6))


def _session(onnx_model: bytes, integers: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    if not integers:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(onnx_model, options, providers=["CPUExecutionProvider"])

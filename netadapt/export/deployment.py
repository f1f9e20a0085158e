"""A model as the device is to run it: float32, or in 8 bits."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netadapt import data
from netadapt.export import to_onnx
from netadapt.platforms.measurement import DeviceInfo
from netadapt.platforms.ort.quantization import feeds_of, quantize

CALIBRATION_IMAGES = 32


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
    return quantize(written, feeds_of(written, images))


def calibration_images(task: data.Task) -> Any:
    """Training images of all classes, as a float32 array [N, C, H, W]."""
    count = min(CALIBRATION_IMAGES, len(task.train))
    batch = task.batches("train", batch_size=count, shuffle=True, seed=task.seed)
    return np.asarray(next(iter(batch))[0], dtype=np.float32)


class OnnxModel(nn.Module):
    """A serialized model with a batch of one, to be scored like any other.

    Args:
        onnx_model: the serialized model.
    """

    def __init__(self, onnx_model: bytes) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            onnx_model, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def forward(self, images: Tensor) -> Any:
        """Outputs for images [N, C, H, W]: a tensor, or a tuple where the model has several."""
        runs = [self._session.run(None, {self._input: i[None].cpu().numpy()}) for i in images]
        outputs = tuple(
            torch.from_numpy(np.concatenate(parts)).to(images.device)
            for parts in zip(*runs, strict=True)
        )
        return outputs[0] if len(outputs) == 1 else outputs

"""Whether 8-bit sums saturate: the model that shows it on a device, and what it shows here."""

import base64
from functools import cache

from netadapt.platforms.bench import kernels
from netadapt.platforms.bench.main import DEFAULTS
from netadapt.platforms.ort.graph import integer_model


@cache
def encoded_integer_model() -> str:
    """A quantized convolution of the largest activations and weights, in base64."""
    extremes = kernels.INTEGER_CHANNELS, kernels.INTEGER_ACTIVATION, kernels.INTEGER_WEIGHT
    return base64.b64encode(integer_model(*extremes)).decode()


@cache
def this_machine_saturates() -> bool:
    """What ONNX Runtime does on the processor that this process runs on."""
    settings = {
        **DEFAULTS,
        "provider_name": "CPUExecutionProvider",
        "integer_model": encoded_integer_model(),
    }
    return kernels.find_saturation(settings) is not False

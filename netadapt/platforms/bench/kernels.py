"""How ONNX Runtime computes on a device, as it shows in models of a few numbers."""

from __future__ import annotations

import base64
import os
import struct
import tempfile
from typing import Any

from .sessions import open_session, options_of

LAYOUT_WEIGHT = 7.25  # every weight of the layout model: 8 in a row are padded to a block
INTEGER_CHANNELS, INTEGER_ACTIVATION, INTEGER_WEIGHT = 64, 255, 127  # what the integer model adds


def find_layout(settings: dict[str, Any]) -> tuple[str, int]:
    """Layout and block, as they show in the optimized form of the layout model.

    Its 8 equal weights stand in a row there: filled with zeros up to 16 where blocks are of 16.
    """
    if not settings["layout_model"] or settings["provider"] != "cpu":
        return "NCHW", 1
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "optimized.onnx")
        options = options_of(settings)
        options.optimized_model_filepath = path
        model = base64.b64decode(settings["layout_model"])
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        with open(path, "rb") as file:
            data = file.read()
    if b"ReorderOutput" not in data:
        return "NCHW", 1
    padded = struct.pack("<16f", *([LAYOUT_WEIGHT] * 8 + [0.0] * 8))
    return "NCHWc", 16 if padded in data else 8


def find_saturation(settings: dict[str, Any]) -> bool | None:
    """Whether sums of products of 8-bit integers are cut off on their way; None if it cannot run.

    Instructions such as x86's ``vpmaddubsw`` add two products of unsigned and signed bytes in 16
    bits: 2 * 255 * 127 does not fit and becomes 32767. Those of VNNI and of ARM add in 32 bits.
    In the model, all activations and all weights are the largest that there are, and the exact sum
    is one of the values that its output can have.
    """
    if not settings["integer_model"]:
        return None
    import numpy

    try:
        session = open_session(settings, base64.b64decode(settings["integer_model"]))
        [given] = session.get_inputs()
        images = numpy.full(given.shape, INTEGER_ACTIVATION, numpy.float32)
        [sums] = session.run(None, {given.name: images})
    except Exception:
        return None
    exact = INTEGER_CHANNELS * INTEGER_ACTIVATION * INTEGER_WEIGHT
    return bool(abs(sums / exact - 1).max() > 0.01)

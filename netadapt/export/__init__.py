"""Networks as files: ONNX, ``.pt2``, state dicts with a loader, and back."""

from netadapt.export.onnx import (
    TOLERANCE,
    evaluating,
    export_program,
    first_output,
    onnx_difference,
    program_to_onnx,
    to_onnx,
)
from netadapt.export.proof import prove
from netadapt.export.result import (
    apply_architecture,
    load,
    rehearse,
    state_bytes,
    write_preprocessing,
    write_result,
)

__all__ = [
    "TOLERANCE",
    "apply_architecture",
    "evaluating",
    "export_program",
    "first_output",
    "load",
    "onnx_difference",
    "program_to_onnx",
    "prove",
    "rehearse",
    "state_bytes",
    "to_onnx",
    "write_preprocessing",
    "write_result",
]

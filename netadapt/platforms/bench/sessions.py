"""Sessions of ONNX Runtime under the settings of a plan."""

from __future__ import annotations

from typing import Any


def open_session(settings: dict[str, Any], model: Any) -> Any:
    """A session for a model, which is a path or bytes."""
    import onnxruntime

    providers = [settings["provider_name"]]
    if settings["provider"] != "cpu":
        providers.append("CPUExecutionProvider")
    session = onnxruntime.InferenceSession(model, options_of(settings), providers=providers)
    if providers[0] not in session.get_providers():
        raise RuntimeError(providers[0] + " does not start: its libraries or device are absent")
    return session


def options_of(settings: dict[str, Any]) -> Any:
    """ONNX Runtime's session options for the settings of a plan."""
    import onnxruntime

    levels = {
        "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = levels[settings["level"]]
    options.log_severity_level = 4
    return options

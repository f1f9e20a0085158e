"""Time ONNX models with ONNX Runtime, here and on any device.

It reads a plan of JSON lines on standard input::

    {"threads": 1, "level": "all", "provider": "cpu", "passes": 4, ...}    settings, see DEFAULTS
    {"id": "conv 32>64 ...", "model": "<base64 of an ONNX file>"}          one line for each model
    {"id": "net", "path": "mobilenet.onnx", "passes": 2}                   or a file; fewer passes

until the end of input, and writes JSON lines on standard output, each as soon as it is known::

    {"kind": "info", "device": "...", "runtime": "...", "layout": "NCHWc", "block": 16, ...}
    {"kind": "visit", "id": "conv 32>64 ...", "ns": [41210, 40988, ...]}   one visit of one model
    {"kind": "rounds", "ns": {"a": [...], "b": [...]}}      a run of each model in turn, see .rounds
    {"kind": "canary", "ns": [...], "at_s": 1.5}       the same small model again and again: drift
    {"kind": "energy", "id": "net", "joules": 0.0031, "runs": 840, "updates": 98, ...}   one window
    {"kind": "error", "id": "...", "error": "..."}     this model cannot be run; the others go on
    {"kind": "fatal", "error": "..."}                  nothing can be run
    {"kind": "done", "run_s": 8.1, "wall_s": 9.4, ...}

Every pass visits all models, the first in the order given and the others shuffled: spreading the
runs of a model over time beats repeating them. One thread is timed by the CPU time of the calling
thread, which other processes do not inflate; more threads by the wall clock, with one session
alive at a time, because idle thread pools of others spin.

Where a sensor of energy is named, windows of runs back to back follow, see :mod:`.energy`: in each
round one in which nothing runs, and one of each model.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from typing import Any

from .energy import Windows, open_meter, survey
from .host import conditions, facts
from .kernels import find_layout, find_saturation
from .rounds import measure_in_rounds
from .sensors import Meter, NoSensor
from .timer import Emit, Entry, Timer

DEFAULTS = {
    "threads": 1,  # intra-op threads
    "level": "all",  # graph optimization: basic, extended, layout or all
    "provider": "cpu",  # execution provider by its short name
    "passes": 4,  # visits of each model
    "bursts": 3,
    "runs": 4,  # bursts * runs are counted in each visit
    "warmups": 2,  # runs at the start of each visit, or turn, that are not counted
    "min_seconds": 0.0,  # further passes until each model has run this long
    "precision": 0.0,  # run in rounds until the ratios to the first model are known so well
    "spread_s": 0.0,  # further passes until the models have been visited for this long
    "time_limit_s": None,  # stop after this long; what was measured stays
    "keep_mb": 4096,  # memory for sessions that stay open from pass to pass
    "seed": 0,
    "batch": 1,  # stands for dimensions that a model leaves open
    "canary": None,  # base64 of a small model that shows drift
    "layout_model": None,  # base64 of the model from which layout and block are found
    "energy": None,  # the sensor of energy: rapl, nvml, hwmon, powermetrics, zeus or auto
    "energy_rounds": 0,  # windows of each model
    "energy_window_s": 5.0,
    "energy_pause_s": 1.0,  # before each window
    "integer_model": None,  # base64 of the quantized model that shows saturation
}


def main() -> int:
    """Run the plan on standard input."""
    lines = iter(sys.stdin.buffer.readline, b"")
    first = next(lines, b"{}")
    settings = dict(DEFAULTS, **json.loads(first))
    entries = [json.loads(line) for line in lines if line.strip()]
    return run_plan(settings, entries, emit)


def emit(record: dict[str, Any]) -> None:
    """Write one line at once, so that a broken connection loses nothing."""
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def run_plan(settings: dict[str, Any], entries: list[dict[str, Any]], emit: Emit) -> int:
    """Describe the device, then measure every entry; the exit status."""
    try:
        import numpy  # noqa: F401
        import onnxruntime
    except ImportError as error:
        emit({"kind": "fatal", "error": f"{error}; pip install numpy onnxruntime"})
        return 3
    onnxruntime.set_default_logger_severity(4)
    names = onnxruntime.get_available_providers()
    present = {short_name(name): name for name in names}
    if settings["provider"] not in present:
        emit({"kind": "fatal", "error": "no such execution provider", "providers": sorted(present)})
        return 3
    settings["provider_name"] = present[settings["provider"]]
    try:
        meter = open_meter(settings["energy"], settings["provider"]) if settings["energy"] else None
        told = {
            "sensor": str(meter.sensor) if meter else "",
            "sensors": {} if entries else survey(),
        }
        emit(dict(describe(settings), kind="info", providers=sorted(present), **told))
        if entries:
            measure(settings, entries, meter, emit)
    except NoSensor as error:
        emit({"kind": "fatal", "error": str(error)})
        return 3
    return 0


def measure(
    settings: dict[str, Any], entries: list[dict[str, Any]], meter: Meter | None, emit: Emit
) -> None:
    """Time every entry, then tell the energy of each where that is asked for."""
    began = time.perf_counter()
    timer = Timer(settings, emit)
    run_s = measure_in_rounds(timer, entries) if settings["precision"] else timer.measure(entries)
    if meter is not None and settings["energy_rounds"]:
        windows = Windows(meter, settings["energy_window_s"], settings["energy_pause_s"])
        measure_energy(timer, windows, entries, settings["energy_rounds"])
    wall_s = time.perf_counter() - began
    emit(dict(conditions(), kind="done", run_s=run_s, wall_s=wall_s, lost=timer.lost))


def measure_energy(
    timer: Timer, windows: Windows, lines: list[dict[str, Any]], rounds: int
) -> None:
    """Rounds of windows, the models in turn, so that all meet the same conditions.

    One session is alive at a time: those of others would draw power.

    Raises:
        NoSensor: the sensor tells too little.
    """
    for _ in range(rounds):
        idle_w = windows.idle_w()
        for line in lines:
            entry = Entry(line, 1)
            if timer.open(entry):
                told = windows.inference(partial(entry.session.run, None, entry.feed), idle_w)
                timer.emit(dict(told, kind="energy", id=entry.id))


def short_name(provider: str) -> str:
    """``CPUExecutionProvider`` as ``cpu``."""
    ending = "ExecutionProvider"
    return (provider[: -len(ending)] if provider.endswith(ending) else provider).lower()


def describe(settings: dict[str, Any]) -> dict[str, Any]:
    """What the device is, how ONNX Runtime computes on it, and its present state."""
    import numpy
    import onnxruntime

    layout, block = find_layout(settings)
    runtime = {
        "runtime": "onnxruntime " + onnxruntime.__version__,
        "numpy": numpy.__version__,
        "clock": "cpu" if settings["threads"] == 1 and settings["provider"] == "cpu" else "wall",
        "layout": layout,
        "block": block,
        "saturates": find_saturation(settings),
    }
    return {**facts(), **runtime, **conditions()}


def run() -> None:
    """Run as a program."""
    try:
        sys.exit(main())
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(130)  # nobody listens any more; nothing is left to be written

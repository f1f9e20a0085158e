"""Time ONNX models with ONNX Runtime: one stand-alone file, the same here and on a device.

It needs Python 3.8, numpy and onnxruntime, and reads a plan of JSON lines on standard input::

    {"threads": 1, "level": "all", "provider": "cpu", "passes": 4, ...}    settings, see DEFAULTS
    {"id": "conv 32>64 ...", "model": "<base64 of an ONNX file>"}          one line for each model
    {"id": "net", "path": "mobilenet.onnx", "passes": 2}                   or a file; fewer passes

until the end of input, and writes JSON lines on standard output, each as soon as it is known::

    {"kind": "info", "device": "...", "runtime": "...", "layout": "NCHWc", "block": 16, ...}
    {"kind": "visit", "id": "conv 32>64 ...", "ns": [41210, 40988, ...]}   one visit of one model
    {"kind": "canary", "ns": [...], "at_s": 1.5}       the same small model again and again: drift
    {"kind": "error", "id": "...", "error": "..."}     this model cannot be run; the others go on
    {"kind": "fatal", "error": "..."}                  nothing can be run
    {"kind": "done", "run_s": 8.1, "wall_s": 9.4, ...}

Every pass visits all models, the first in the order given and the others shuffled: spreading the
runs of a model over time beats repeating them. One thread is timed by the CPU time of the calling
thread, which other processes do not inflate; more threads by the wall clock, with one session
alive at a time, because idle thread pools of others spin.
"""

from __future__ import annotations

import base64
import gc
import glob
import json
import os
import platform
import random
import struct
import sys
import tempfile
import time
from typing import Any, Callable, Iterator  # noqa: UP035 - Python 3.8 has no other

DEFAULTS = {
    "threads": 1,  # intra-op threads
    "level": "all",  # graph optimization: basic, extended, layout or all
    "provider": "cpu",  # execution provider by its short name
    "passes": 4,  # visits of each model
    "bursts": 3,
    "runs": 4,  # bursts * runs are counted in each visit
    "warmups": 2,  # runs at the start of each visit that are not counted
    "min_seconds": 0.0,  # further passes until each model has run this long
    "spread_s": 0.0,  # further passes until the models have been visited for this long
    "time_limit_s": None,  # stop after this long; what was measured stays
    "keep_mb": 4096,  # memory for sessions that stay open from pass to pass
    "seed": 0,
    "batch": 1,  # stands for dimensions that a model leaves open
    "canary": None,  # base64 of a small model that shows drift
    "layout_model": None,  # base64 of the model from which layout and block are found
}
CANARY_EVERY = 24  # visits
LAYOUT_WEIGHT = 7.25  # every weight of the layout model: 8 in a row are padded to a block

Emit = Callable[[Any], None]


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
    emit(dict(describe(settings), kind="info", providers=sorted(present)))
    if entries:
        began = time.perf_counter()
        run_s = Bench(settings, emit).measure(entries)
        wall_s = time.perf_counter() - began
        emit(dict(conditions(), kind="done", run_s=run_s, wall_s=wall_s))
    return 0


def short_name(provider: str) -> str:
    """``CPUExecutionProvider`` as ``cpu``."""
    ending = "ExecutionProvider"
    return (provider[: -len(ending)] if provider.endswith(ending) else provider).lower()


class Entry:
    """One model: its session while that is open, and how far it has come."""

    def __init__(self, line: dict[str, Any], passes: int) -> None:
        self.id = line["id"]
        self.line = line
        self.passes = int(line.get("passes", passes))
        self.run_ns = 0
        self.failed = False
        self.session: Any = None
        self.feed: dict[str, Any] = {}

    def model(self) -> Any:
        """Path or bytes."""
        return self.line["path"] if "path" in self.line else base64.b64decode(self.line["model"])


class Bench:
    """Sessions under one set of settings, and the clock that they are timed by."""

    def __init__(self, settings: dict[str, Any], emit: Emit) -> None:
        self.settings = settings
        self.emit = emit
        self.alone = settings["threads"] != 1 or settings["provider"] != "cpu"
        self.clock = time.perf_counter_ns if self.alone else time.thread_time_ns
        self.random = random.Random(settings["seed"])
        self.inputs: dict[tuple[Any, ...], Any] = {}
        self.started_s = time.perf_counter()
        self.run_s = 0.0
        self.visits = 0
        self.canary: Entry | None = None
        if settings["canary"]:
            self.canary = Entry({"id": "canary", "model": settings["canary"]}, 0)

    def measure(self, lines: list[dict[str, Any]]) -> float:
        """Visit every model in every pass; the seconds spent in timed and warm-up runs."""
        waiting = [Entry(line, self.settings["passes"]) for line in lines]
        gc.disable()  # a collection would fall into some model's time
        while waiting and not self.late():
            chunk = self.load(waiting)
            waiting = waiting[len(chunk) :]
            spread_s = 0.0 if waiting else self.settings["spread_s"]
            for order in self.orders([entry for entry in chunk if not entry.failed], spread_s):
                for entry in order:
                    if self.late():
                        break
                    self.visit(entry)
            del chunk
            gc.collect()
        return self.run_s

    def late(self) -> bool:
        """Whether the time limit has passed."""
        return self.left_s() < 0

    def left_s(self) -> float:
        """Seconds until the time limit; infinite without one."""
        limit_s = self.settings["time_limit_s"]
        if limit_s is None:
            return float("inf")
        return float(limit_s) - (time.perf_counter() - self.started_s)

    def orders(self, chunk: list[Entry], spread_s: float = 0.0) -> Iterator[list[Entry]]:
        """The models of each pass in the order of their visits, until all have enough.

        Once all have, passes go on until they have been visited for ``spread_s``.
        """
        done, began_s = 0, time.perf_counter()
        while not self.late():
            floor_ns = self.settings["min_seconds"] * 1e9
            early = time.perf_counter() - began_s < spread_s
            order = [
                e for e in chunk
                if not e.failed and (e.passes > done or e.run_ns < floor_ns or early)
            ]  # fmt: skip
            if not order:
                return
            if done:
                self.random.shuffle(order)
            yield order
            done += 1

    def load(self, waiting: list[Entry]) -> list[Entry]:
        """As many models, from the front, as memory can hold; all, if each is opened alone.

        Opening takes at most half of the time that is left: what is opened is to be measured too.
        """
        if self.alone:
            return list(waiting)
        limit = min(self.settings["keep_mb"] * 1e6, 0.4 * available_bytes())
        before, least_s = resident_bytes(), self.left_s() / 2
        chunk = []
        for entry in waiting:
            chunk.append(entry)
            self.open(entry)
            used = resident_bytes() - before if before else len(chunk) * 1e7
            if used > limit or self.left_s() < least_s:
                break
        return chunk

    def open(self, entry: Entry) -> bool:
        """Make the session; false, and a line that says why, if the model cannot be loaded."""
        try:
            entry.session = self.session(entry.model())
            entry.feed = {
                i.name: self.input(i.name, i.shape, i.type) for i in entry.session.get_inputs()
            }
        except Exception as error:
            self.fail(entry, error)
        return not entry.failed

    def fail(self, entry: Entry, error: Exception) -> None:
        """Give one model up."""
        entry.failed, entry.session = True, None
        self.emit({"kind": "error", "id": entry.id, "error": str(error)[:2000]})

    def session(self, model: Any) -> Any:
        """A session under the settings of the plan."""
        import onnxruntime

        providers = [self.settings["provider_name"]]
        if self.settings["provider"] != "cpu":
            providers.append("CPUExecutionProvider")
        session = onnxruntime.InferenceSession(
            model, options_of(self.settings), providers=providers
        )
        if providers[0] not in session.get_providers():
            raise RuntimeError(providers[0] + " does not start: its libraries or device are absent")
        return session

    def input(self, name: str, shape: list[Any], kind: str) -> Any:
        """Random numbers in 0..1, or zeros for integers; open dimensions are the batch size."""
        import numpy

        dims = tuple(d if isinstance(d, int) and d > 0 else self.settings["batch"] for d in shape)
        key = (dims, kind)
        if key not in self.inputs:
            dtype = {"tensor(float)": "float32", "tensor(double)": "float64"}.get(kind)
            if dtype is None:
                dtype = {"tensor(float16)": "float16"}.get(kind, kind[len("tensor(") : -1])
                self.inputs[key] = numpy.zeros(dims, dtype)
            else:
                values = numpy.random.RandomState(self.settings["seed"]).rand(*dims)
                self.inputs[key] = values.astype(dtype)
        return self.inputs[key]

    def visit(self, entry: Entry) -> None:
        """Warm one model up and time its runs."""
        if self.canary is not None and self.visits % CANARY_EVERY == 0:
            samples = self.timed(self.canary, 4)
            if samples:
                at_s = time.perf_counter() - self.started_s
                self.emit({"kind": "canary", "ns": samples, "at_s": round(at_s, 3)})
        self.visits += 1
        samples = self.timed(entry, self.settings["bursts"] * self.settings["runs"])
        if samples:
            self.emit({"kind": "visit", "id": entry.id, "ns": samples})

    def timed(self, entry: Entry, runs: int) -> list[int]:
        """Nanoseconds of each run; empty if the model fails."""
        if entry.failed or (entry.session is None and not self.open(entry)):
            return []
        run, feed, clock, samples = entry.session.run, entry.feed, self.clock, []
        began_s = time.perf_counter()
        try:
            for _ in range(self.settings["warmups"]):
                run(None, feed)
            for _ in range(runs):
                start = clock()
                run(None, feed)
                samples.append(clock() - start)
        except Exception as error:
            self.fail(entry, error)
            return []
        self.run_s += time.perf_counter() - began_s
        entry.run_ns += sum(samples)
        if self.alone:
            entry.session = None
            del run  # the last reference: the session and its thread pool end here
        return samples


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


def describe(settings: dict[str, Any]) -> dict[str, Any]:
    """What the device is, how ONNX Runtime lays tensors out on it, and its present state."""
    import numpy
    import onnxruntime

    layout, block = find_layout(settings)
    found = {
        "device": processor(),
        "machine": platform.machine() or "unknown",
        "runtime": "onnxruntime " + onnxruntime.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count() or 1,
        "clock": "cpu" if settings["threads"] == 1 and settings["provider"] == "cpu" else "wall",
        "layout": layout,
        "block": block,
        "cache_mb": cache_bytes() / 1e6,
    }
    return dict(found, **conditions())


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


def processor() -> str:
    """Model of the board and processor, as far as the system tells."""
    parts = [read("/proc/device-tree/model").strip("\0 \n")]
    for line in read("/proc/cpuinfo").splitlines():
        if line.lower().startswith(("model name", "hardware")):
            parts.append(line.split(":", 1)[1].strip())
            break
    if not any(parts) and sys.platform == "darwin":
        with os.popen("sysctl -n machdep.cpu.brand_string") as pipe:
            parts.append(pipe.read().strip())
    found = " ".join(part for part in parts if part)
    return found or platform.processor() or platform.machine() or "unknown"


def conditions() -> dict[str, Any]:
    """What may disturb a measurement: load, frequency governor, temperature; None if unknown."""
    temperatures = [
        read(path).strip() for path in glob.glob("/sys/class/thermal/thermal_zone*/temp")
    ]
    celsius = [int(text) / 1000 for text in temperatures if text.lstrip("-").isdigit()]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "load": load,
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "temperature_c": max(celsius) if celsius else None,
    }


def read(path: str) -> str:
    """A small file of the system, or nothing."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def cache_bytes() -> float:
    """Size of the second-level cache of one core; a million where the system does not tell."""
    text = read("/sys/devices/system/cpu/cpu0/cache/index2/size").strip()
    scale = {"K": 1024, "M": 1024**2}.get(text[-1:])
    return float(text[:-1]) * scale if scale else 1e6


def available_bytes() -> float:
    """Memory that may be taken; 2 GB where the system does not tell."""
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return 2e9


def resident_bytes() -> float:
    """Memory of this process; 0 where the system does not tell."""
    fields = read("/proc/self/statm").split()
    return float(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0.0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(130)  # nobody listens any more; nothing is left to be written

"""What travels to a device, run as a device runs it."""

import ast
import base64
import builtins
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netadapt.network import LayerShape
from netadapt.platforms import OVERHEAD, bench
from netadapt.platforms.bench import kernels, timer
from netadapt.platforms.bench.main import DEFAULTS
from netadapt.platforms.bench.program import MODULES, program
from netadapt.platforms.link import BOOTSTRAP
from netadapt.platforms.ort.graph import integer_model, layout_model
from netadapt.platforms.ort.probes import Probe, build

CALL = base64.b64encode(build(Probe("call", OVERHEAD))).decode()
SMALL = {"passes": 3, "bursts": 2, "runs": 2, "warmups": 1}


INTEGERS = (kernels.INTEGER_CHANNELS, kernels.INTEGER_ACTIVATION, kernels.INTEGER_WEIGHT)


def lines(settings, *entries):
    return "".join(json.dumps(line) + "\n" for line in (settings, *entries)).encode()


def plan(settings, *entries):
    """The answer to a plan, and the records in it, of the program as it is sent to a device."""
    sent = program()
    done = subprocess.run(
        [sys.executable, "-c", BOOTSTRAP],
        input=b"%d\n" % len(sent) + sent + lines(settings, *entries),
        capture_output=True,
        check=False,
    )
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(records, kind):
    return [record for record in records if record["kind"] == kind]


def test_it_needs_numpy_and_onnxruntime_alone():
    imported = set()
    for name in MODULES:
        path = Path(bench.__file__).with_name(f"{name}.py")
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 8))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                siblings = [node.module] if node.module else [a.name for a in node.names]
                assert set(siblings) <= set(MODULES[: MODULES.index(name)])
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_all_modules_travel_word_for_word_in_a_file_for_python_3_8():
    text = program().decode()
    ast.parse(text, feature_version=(3, 8))
    folder = Path(bench.__file__).parent
    assert {p.stem for p in folder.glob("*.py")} - {"__init__", "program"} == set(MODULES)
    assert all((folder / f"{name}.py").read_text() in text for name in MODULES)


class Evaluated(ast.NodeVisitor):
    """Collects the built-in types that a module subscripts where it runs: not in annotations."""

    def __init__(self):
        self.subscripted = set()

    def visit_FunctionDef(self, node):
        for part in (*node.decorator_list, node.args.defaults, node.args.kw_defaults, node.body):
            for child in part if isinstance(part, list) else [part]:
                if child is not None:
                    self.visit(child)

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.visit(node.value)

    def visit_Subscript(self, node):
        if isinstance(node.value, ast.Name) and hasattr(builtins, node.value.id):
            self.subscripted.add(node.value.id)
        self.generic_visit(node)


@pytest.mark.parametrize("name", MODULES)
def test_no_built_in_type_is_subscripted_which_python_3_8_cannot(name):
    tree = ast.parse(Path(bench.__file__).with_name(f"{name}.py").read_text())
    evaluated = Evaluated()
    evaluated.visit(tree)
    assert not evaluated.subscripted
    first = next(node for node in tree.body if not isinstance(node, ast.Expr))
    assert isinstance(first, ast.ImportFrom)
    assert first.module == "__future__"


def test_the_file_runs_alone_as_it_does_over_a_connection(tmp_path):
    (tmp_path / "bench.py").write_bytes(program())
    done = subprocess.run(
        [sys.executable, "-I", "bench.py"], cwd=tmp_path, capture_output=True, check=True,
        input=lines(SMALL, {"id": "a", "model": CALL}),
    )  # fmt: skip
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["kind"] for record in records] == ["info", *["visit"] * 3, "done"]


def test_an_error_in_it_names_the_module_and_the_line():
    done, _ = plan({**SMALL, "passes": "many"}, {"id": "a", "model": CALL})
    assert b'File "bench/timer.py", line ' in done.stderr


def test_each_pass_visits_each_model():
    _, records = plan(SMALL, {"id": "a", "model": CALL}, {"id": "b", "model": CALL, "passes": 2})
    visits = of_kind(records, "visit")
    assert sorted(v["id"] for v in visits) == ["a", "a", "a", "b", "b"]
    assert [v["id"] for v in visits[:2]] == ["a", "b"]  # the first pass keeps the order
    assert all(len(v["ns"]) == 4 and min(v["ns"]) > 0 for v in visits)
    assert records[0]["kind"] == "info"
    assert records[0]["clock"] == "cpu"
    assert records[-1]["kind"] == "done"


def test_a_broken_model_does_not_stop_the_others():
    broken = base64.b64encode(b"no model").decode()
    done, records = plan(SMALL, {"id": "bad", "model": broken}, {"id": "a", "model": CALL})
    assert [e["id"] for e in of_kind(records, "error")] == ["bad"]
    assert {v["id"] for v in of_kind(records, "visit")} == {"a"}
    assert done.returncode == 0


def test_more_threads_are_timed_by_the_wall_clock():
    _, records = plan({**SMALL, "threads": 2}, {"id": "a", "model": CALL})
    assert records[0]["clock"] == "wall"
    assert len(of_kind(records, "visit")) == 3


def test_a_provider_that_is_absent_is_refused_with_those_present():
    done, records = plan({"provider": "abacus"})
    assert done.returncode == 3
    assert "cpu" in records[0]["providers"]


def test_models_by_path_and_open_dimensions(tmp_path):
    import onnx

    model = onnx.load_from_string(build(Probe("call", OVERHEAD)))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, tmp_path / "open.onnx")
    _, records = plan({**SMALL, "batch": 3}, {"id": "a", "path": str(tmp_path / "open.onnx")})
    assert len(of_kind(records, "visit")) == 3


def test_the_canary_is_heard():
    _, records = plan({**SMALL, "canary": CALL}, {"id": "a", "model": CALL})
    assert len(of_kind(records, "canary")) == 1


def test_no_time_left_measures_nothing_and_says_so():
    _, records = plan({**SMALL, "time_limit_s": 0}, {"id": "a", "model": CALL})
    assert not of_kind(records, "visit")
    assert of_kind(records, "done")


def test_little_memory_measures_in_portions():
    entries = [{"id": str(n), "model": CALL} for n in range(3)]
    _, records = plan({**SMALL, "keep_mb": 0}, *entries)
    assert [v["id"] for v in of_kind(records, "visit")] == list("000111222")


@pytest.mark.parametrize("block", [8, 16])
def test_the_block_is_read_from_the_padding_of_the_weights(block, monkeypatch):
    """The optimized file of a device is imitated: 8 weights, zeros up to the block."""
    import struct

    def session(model, options, providers):
        row = [kernels.LAYOUT_WEIGHT] * 8 + [0.0] * (block - 8)
        data = b"ReorderOutput" + struct.pack(f"<{block}f", *row) + b"\x01end"
        Path(options.optimized_model_filepath).write_bytes(data)

    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    settings = {**DEFAULTS, "layout_model": CALL}
    assert kernels.find_layout(settings) == ("NCHWc", block)


def test_layout_of_this_machine():
    model = base64.b64encode(layout_model(kernels.LAYOUT_WEIGHT)).decode()
    layout, block = kernels.find_layout({**DEFAULTS, "layout_model": model})
    assert (layout, block) in {("NCHW", 1), ("NCHWc", 8), ("NCHWc", 16)}
    assert kernels.find_layout({**DEFAULTS, "layout_model": model, "level": "basic"}) == (
        "NCHW", 1,
    )  # fmt: skip


def integer_settings():
    model = base64.b64encode(integer_model(*INTEGERS)).decode()
    return {**DEFAULTS, "provider_name": "CPUExecutionProvider", "integer_model": model}


def products_in_pairs(activations, weights, cut):
    """Sums of products, two at a time, in 16 bits where ``cut`` says so: exact arithmetic."""
    pairs = (activations.astype(np.int64) * weights).reshape(-1, 2).sum(1)
    return int((np.clip(pairs, -(2**15), 2**15 - 1) if cut else pairs).sum())


@pytest.mark.parametrize("cut", [False, True])
def test_saturation_shows_in_the_sum_of_the_largest_products(cut, monkeypatch):
    """Both kinds of processors are imitated; their sums are those of integer arithmetic."""
    channels, activation, weight = INTEGERS
    total = products_in_pairs(
        np.full(channels, activation), np.full(channels, weight), cut
    )  # 64 * 255 * 127 = 2072640, or 32 * 32767 = 1048544

    class Session:
        def get_inputs(self):
            return [type("Input", (), {"name": "x", "shape": [1, channels, 4, 4]})]

        def run(self, names, feed):
            assert (feed["x"] == activation).all()
            step = channels * activation  # of the quantized output
            return [np.full((1, 16, 4, 4), round(total / step) * step, np.float32)]

    assert total == (1048544 if cut else 2072640)
    monkeypatch.setattr(kernels, "open_session", lambda settings, model: Session())
    assert kernels.find_saturation(integer_settings()) is cut


def test_saturation_of_this_machine_is_the_same_each_time_and_none_without_integers():
    found = kernels.find_saturation(integer_settings())
    assert found in (True, False)
    assert kernels.find_saturation(integer_settings()) is found
    # the plainest level leaves integers aside: what is computed in floating point is exact
    assert kernels.find_saturation({**integer_settings(), "level": "basic"}) is False


def test_a_device_that_cannot_run_integers_does_not_say_that_they_are_exact():
    assert kernels.find_saturation({**integer_settings(), "integer_model": CALL}) is not False
    assert kernels.find_saturation({**integer_settings(), "integer_model": None}) is None
    broken = base64.b64encode(b"no model").decode()
    assert kernels.find_saturation({**integer_settings(), "integer_model": broken}) is None


def test_inputs_fit_the_model():
    made = timer.Timer(dict(DEFAULTS, batch=2), lambda record: None)
    assert made.input("x", ["N", 3], "tensor(float)").shape == (2, 3)
    assert made.input("x", [4], "tensor(int64)").tolist() == [0, 0, 0, 0]


def test_an_unloadable_shape_is_an_error_line():
    shape = LayerShape("conv", 32, 32, (2, 2), (1, 1), (3, 3))
    model = base64.b64encode(build(Probe("layer", shape))).decode()
    _, records = plan(SMALL, {"id": "a", "model": model})
    assert {record["kind"] for record in records} <= {"info", "visit", "error", "done"}


def test_passes_go_on_until_the_models_were_visited_for_long_enough(monkeypatch):
    made = timer.Timer(dict(DEFAULTS), lambda record: None)
    seconds = iter(range(100))
    monkeypatch.setattr(timer.time, "perf_counter", lambda: next(seconds))
    chunk = [timer.Entry({"id": name}, 2) for name in "ab"]
    # begun at 0; each pass looks at the clock once: at 1 to 5 it is too early to stop
    assert [len(order) for order in made.orders(chunk, 5.5)] == [2] * 5
    assert [len(order) for order in made.orders(chunk)] == [2, 2]


def test_readings_of_no_time_at_all_are_taken_again_and_counted():
    made = timer.Timer({**DEFAULTS, "warmups": 0}, lambda record: None)
    entry = timer.Entry({"id": "a"}, 1)
    entry.session = type("Session", (), {"run": lambda self, names, feed: None})()
    readings = iter([10, 15, 20, 20, 30, 37])  # 5, nothing, 7
    made.clock = lambda: next(readings)
    assert made.timed(entry, 2) == [5, 7]
    assert made.lost == 1
    made.clock = lambda: 42  # stands still for good
    assert made.timed(entry, 3) == []
    assert made.lost == 1 + 6


def test_opening_leaves_time_to_measure(monkeypatch):
    made = timer.Timer({**DEFAULTS, "time_limit_s": 10.0}, lambda record: None)
    clock = iter(range(1000))
    monkeypatch.setattr(timer.time, "perf_counter", lambda: made.started_s + next(clock))
    monkeypatch.setattr(made, "open", lambda entry: True)
    waiting = [timer.Entry({"id": str(n)}, 1) for n in range(99)]
    # 9 s are left after the first look at the clock, half of it for opening; a model is one look
    assert len(made.load(waiting)) == 5

"""NaN, infinity and nonsense are refused where they enter; no parser ends in a traceback."""

import json
import math
import os
import re
import string
from contextlib import suppress
from dataclasses import replace

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netadapt.carbon.breakeven import parse_rate
from netadapt.carbon.circumstances import read_circumstances
from netadapt.carbon.power import parse_watts
from netadapt.cli import main
from netadapt.config import load_toml, read_config
from netadapt.config.rungs import parse_rung
from netadapt.config.workers import parse_workers
from netadapt.errors import (
    DeviceError,
    ModelError,
    NetAdaptError,
    RunError,
    TableError,
    UsageError,
)
from netadapt.models import load_weights
from netadapt.network import LayerShape
from netadapt.platforms import Effort, open_platform
from netadapt.platforms.measurement import DeviceInfo, Measurement
from netadapt.platforms.ort.files import read_onnx
from netadapt.platforms.ort.probes import Probe, build
from netadapt.platforms.replies import parsed, sound
from netadapt.platforms.ssh import open_ssh
from netadapt.runs import Phase, Run, Step, StepCost, read_journal
from netadapt.runs.events import BoundSet, Measured, Started
from netadapt.tables.bundle import read_bundle
from netadapt.tables.lookup import LookupTable
from netadapt.tables.rows import Entry, require_sizes, row_of
from netadapt.units import parse_budget, parse_duration, parse_share

BAD = ("nan", "inf", "-inf", "1e999", "-1")
INFO = DeviceInfo("synthetic:", "none", "none", "netadapt")
SHAPE = LayerShape("conv", 3, 8)


@pytest.mark.parametrize("name", ["noise", "cold"])
@pytest.mark.parametrize("value", BAD)
def test_a_device_without_finite_numbers_is_refused(name, value):
    with pytest.raises(UsageError, match="finite numbers from 0"):
        open_platform(f"synthetic:?{name}={value}")


@pytest.mark.parametrize("uri", ["ort:cpu?threads=99999999", "ort:cpu?batch=-3", "ort:cpu?batch=0"])
def test_a_device_of_absurd_size_is_refused(uri):
    with pytest.raises(UsageError, match="threads are from 1 to 1024"):
        open_platform(uri)


@pytest.mark.parametrize(
    "uri", ["replay:a\0b.csv", "ssh://pi@raspberrypi?config=%00", "own:code\0"]
)
def test_an_address_with_a_character_that_no_path_has_is_refused(uri):
    with pytest.raises(UsageError, match="has a NUL character in it"):
        open_platform(uri)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reading_that_is_no_number_is_no_measurement(value):
    with pytest.raises(DeviceError, match="NaN or infinite"):
        Measurement((1.0, value))


@pytest.mark.parametrize("name", ["min_seconds", "spread_s", "time_limit_s"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_an_effort_that_never_ends_is_refused(name, value):
    with pytest.raises(UsageError, match="are finite"):
        Effort(**{name: value})


@pytest.mark.parametrize(
    "words",
    [
        *[("measure", "m", "--min-seconds", value) for value in BAD],
        *[("table", "build", "m", "-o", "t.csv", "--time-limit", value) for value in BAD],
        ("measure", "m", "--passes", "0"),
        ("inspect", "m", "--classes", "9999999999"),
    ],
)
def test_options_that_are_no_finite_number_are_refused(capsys, words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 2
    assert "Invalid value" in capsys.readouterr().err


def table(path, **changes):
    """A table of one row, with some keys of its head changed."""
    LookupTable(INFO, {SHAPE: Entry(1.0, 2.0, 3.0, 5)}).save(path)
    lines = path.read_text().splitlines(keepends=True)
    for key, value in changes.items():
        lines = [f"# {key}: {value}\n" if line.startswith(f"# {key}:") else line for line in lines]
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("key", ["scale", "exponent", "cache_mb"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_table_with_a_head_that_is_no_number_is_refused(tmp_path, key, value):
    path = table(tmp_path / "t.csv", **{key: value})
    with pytest.raises(TableError, match="value out of place"):
        LookupTable.load(path)
    with pytest.raises(DeviceError, match="Cannot replay"):
        open_platform(f"replay:{path}")


def test_of_two_rows_of_a_layer_the_later_counts_if_it_is_of_as_many_runs(tmp_path):
    path = table(tmp_path / "t.csv")
    with path.open("a") as file:
        file.write(row_of(SHAPE, Entry(1.5, 2.0, 3.0, 10)))
    assert LookupTable.load(path).entries[SHAPE].p10 == 1.5
    with path.open("a") as file:
        file.write(row_of(SHAPE, Entry(9.0, 9.0, 9.0, 1)))
    with pytest.raises(TableError, match="row 3: the same layer as a row above"):
        LookupTable.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(",8,", ",-8,"), (",8,", f",{10**30},"), (",8,", f",{'8' * 200_000},"), (",8,", ",\x00,")],
)
def test_a_table_of_absurd_sizes_is_refused(tmp_path, old, new):
    path = table(tmp_path / "t.csv")
    head, _, rows = path.read_text().rpartition("runs\n")
    path.write_text(f"{head}runs\n{rows.replace(old, new, 1)}")
    with pytest.raises(TableError):
        LookupTable.load(path)


def test_a_table_keeps_its_warnings_while_it_is_measured(tmp_path):
    path = tmp_path / "t.csv"

    class Device:
        def describe(self):
            return INFO

        def measure_layers(self, shapes, effort, progress):
            yield shapes[0], Measurement((1.0,), warnings=("the machine is busy",))
            raise DeviceError("it was cut off")

    with pytest.raises(DeviceError):
        LookupTable(INFO).fill(Device(), [SHAPE], path=path)
    assert LookupTable.load(path).warnings == ("the machine is busy",)


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "visit", "id": "a", "ns": [math.nan]},
        {"kind": "visit", "id": "a", "ns": []},
        {"kind": "visit", "id": "a", "ns": "12"},
        {"kind": "visit", "id": "b", "ns": [1]},
        {"kind": "visit", "ns": [1]},
        {"kind": "canary", "ns": [-1]},
        {"kind": "energy", "id": "a", "joules": math.inf},
        {"kind": "error", "id": "a"},
        {"kind": "fatal"},
        {"kind": "info", "device": 3},
    ],
)
def test_a_reply_that_is_no_measurement_is_not_sound(record):
    assert not sound(record, ("a",))


# What is parsed: whatever it is, it is read or refused in a sentence.

texts = st.text(max_size=60) | st.text(
    string.ascii_letters + string.digits + "=:%?&.,+-e", max_size=40
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@settings(derandomize=True, max_examples=200, deadline=None)
@given(texts)
def test_any_budget_is_read_or_refused(text):
    try:
        budget = parse_budget(text)
    except UsageError:
        return
    assert math.isfinite(budget.value)
    assert budget.value > 0


SCHEMES = ("synthetic:", "eyeriss:", "crossbar:", "optical:", "replay:", "ort:cpu")
OPTIONS = ("block", "noise", "cold", "seed", "batch", "rows", "cell_bits", "adc_bits", "seconds",
           "chips", "kind", "size", "threads", "level", "zeros")  # fmt: skip


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.sampled_from(SCHEMES), st.sampled_from(OPTIONS),
    texts | st.floats().map(str) | st.integers().map(str),
)  # fmt: skip
def test_any_uri_is_opened_or_refused(scheme, option, value):
    try:
        platform = open_platform(f"{scheme}?{option}={value}")
        if not scheme.startswith("ort"):
            platform.describe()
    except NetAdaptError:
        pass


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.binary(max_size=200) | values.map(lambda v: json.dumps(v).encode() + b"\n"))
def test_any_journal_is_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("run")
    (folder / "journal.jsonl").write_bytes(data)
    with suppress(NetAdaptError):
        assert read_journal(folder) == []


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.integers(0, 700), st.binary(max_size=6))
def test_a_table_with_bytes_changed_anywhere_is_read_or_refused(tmp_path_factory, place, data):
    path = table(tmp_path_factory.mktemp("t") / "t.csv")
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + data + whole[place + len(data) :])
    try:
        price = LookupTable.load(path).price([SHAPE])
    except NetAdaptError:
        return
    assert math.isfinite(price)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.text(max_size=60) | values.map(lambda v: f"model = {json.dumps(v)}\ndata = 'digits'\n"))
def test_any_settings_file_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("c") / "run.toml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with suppress(NetAdaptError):
        read_config(load_toml(path), str(path))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(values, st.sampled_from(["visit", "canary", "energy", "error", "info", "done", "x"]))
def test_any_reply_is_judged(value, kind):
    line = json.dumps({"kind": kind, "id": value, "ns": value, "joules": value, "error": value})
    record = parsed(line)
    assert record is not None
    assert sound(record, ("a",)) in (True, False)
    parsed(json.dumps(value))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(values, values)
def test_any_bundle_is_read_or_refused(tmp_path_factory, about, result):
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "plan.jsonl").write_text(json.dumps({"about": about}) + "\n")
    (folder / "results.jsonl").write_text(json.dumps({"kind": "visit", "id": result}) + "\n")
    with pytest.raises(NetAdaptError):
        read_bundle(folder, folder / "t.csv")


# What fuzzing (scripts/fuzz.py) brought to light, each for its kind.


@pytest.mark.parametrize(
    "read",
    [
        parse_budget, parse_duration, parse_rung, parse_workers, parse_watts, parse_rate,
        lambda text: parse_share(text, "it"), lambda text: open_platform(f"eyeriss:?batch={text}"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["9" * 100_000, "." * 100_000, " " * 50_000 + "x", "1." * 50_000,
                                  "1" + " " * 100_000 + "x"])  # fmt: skip
def test_a_text_of_any_length_is_refused_at_once(read, text):
    with pytest.raises(NetAdaptError):
        read(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "seed = " + "9" * 20_000])
def test_settings_without_an_end_are_refused(tmp_path, text):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(UsageError, match="are not TOML"):
        load_toml(tmp_path / "run.toml")


def test_zeros_that_are_no_file_are_refused():
    with pytest.raises(UsageError, match="no regular file"):
        open_platform("eyeriss:?zeros=/dev/zero")


def test_an_interpreter_of_any_bytes_is_passed_on():
    python = os.fsdecode(b"/opt/\xff")
    assert open_ssh("//pi@berry", {"python": python}).link.preamble == b"/opt/\xff\n"


@pytest.mark.parametrize(
    "change", [{"groups": 0}, {"groups": (1, 2)}, {"kernel": 3}, {"op": 1}, {"cout": -1},
               {"inputs": ([1],)}, {"stride": (1, 1, 1)}, {"cin": 2**40}],
)  # fmt: skip
def test_what_is_no_layer_is_refused(change):
    require_sizes(SHAPE)
    with pytest.raises(ValueError, match=r"sizes are from 0|no layer"):
        require_sizes(replace(SHAPE, **change))


def test_a_table_of_many_columns_is_refused_at_once(tmp_path):
    path = table(tmp_path / "t.csv")
    head, mark, rows = path.read_text().rpartition(",runs\n")
    names = "".join(f",a{number}" for number in range(100_000))
    path.write_text(f"{head}{names}{mark}{rows}")
    with pytest.raises(TableError):
        LookupTable.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"p90":1.0', '"p91":1.0'), ('"p10":1.0', '"p10":[]'), ('"clock":"cpu"', '"clock":3'),
        ('"latency":{"measured"', '"latency2":{"measured"'), ('"processor"', '"process"'),
        ('"cores":2', '"cores":null'), ('"threads":1', '"threads":-1'),
    ],
)  # fmt: skip
def test_a_journal_that_lacks_what_is_told_of_it_is_damaged(tmp_path, old, new):
    reading = {"latency": {"value": 1.0, "p10": 1.0, "p90": 1.0, "runs": 9, "clock": "cpu"}}
    step = Step(0, "", {}, {"latency": StepCost(1.0, 1.0, 1.0)}, 0.9)
    machine = {"processor": "x", "cores": 2, "threads": 1}
    with Run(tmp_path, Started(2, {}, {}, {}, machine=machine)) as run:
        run.append(BoundSet("latency", "latency", "s", "", 1.0, 2.0))
        run.append(Measured(0, "d", reading, reading, Phase("measuring", 1.0)))
        run.commit(step)
    path = tmp_path / "journal.jsonl"
    text = re.sub(r',"crc":"\w*"}', "}", path.read_text())
    path.write_text(text)
    assert len(read_journal(tmp_path)) == 4
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RunError, match="damaged at line"):
        read_journal(tmp_path)


@pytest.mark.parametrize("kind", ["pt", "json"])
def test_damaged_weights_are_told(tmp_path, kind):
    path, model = tmp_path / "w.pt", nn.Linear(2, 2)
    torch.save(model.state_dict(), path)
    whole = path.read_bytes()
    broken = whole[:200] + b"\x00" * 60 + whole[260:] if kind == "pt" else b"{" + b"[" * 20_000
    path.write_bytes(broken.replace(b"PK\x01\x02", b"PK\x00\x02"))
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_weights(model, path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("offset", "far"), ("length", "-3"), ("length", str(10**18)), ("offset", "-1"),
     ("location", "a\0b")],
)  # fmt: skip
def test_weights_beside_a_network_that_are_nowhere_are_told(tmp_path, key, value):
    path = tmp_path / "a.onnx"
    model = onnx.load_from_string(build(Probe("layer", LayerShape("conv", 3, 8, (8, 8), (8, 8)))))
    for tensor in model.graph.initializer:
        place = {"location": "a.data", "offset": "0", "length": "1", key: value}
        for name, text in place.items():
            tensor.external_data.add(key=name, value=text)
        tensor.data_location = onnx.TensorProto.EXTERNAL
    (tmp_path / "a.data").write_bytes(b"\x00" * 64)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="cannot be read as ONNX: "):
        read_onnx(path)


@pytest.mark.parametrize(
    "read",
    [
        lambda text: parse_budget(f"{text}=60%"), lambda text: read_circumstances(region=text),
        open_platform, lambda text: read_config({text: 1}),
        lambda text: read_config({"screening": text}),
    ],
)  # fmt: skip
def test_a_name_of_any_length_is_compared_with_no_other(read):
    with pytest.raises(NetAdaptError):
        read("é" * 1_000_000)


@pytest.mark.parametrize("flag", ["--seed", "--limit", "--batch-size", "--short-steps"])
def test_a_number_that_no_float_holds_is_refused(capsys, flag):
    with pytest.raises(SystemExit) as end:
        main(["adapt", "m:f", "--data", "d", "--budget", "60%", flag, "-" + "9" * 400])
    assert end.value.code == 2
    assert "Internal" not in capsys.readouterr().err


def test_whole_numbers_of_any_size_in_a_settings_file_are_refused(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        f'model = "m"\ndata = "d"\nbudgets = ["60%"]\nseed = {10**400}\n'
        f"schedule.initial = {10**400}\nmodel_args.width = {2**63}\n"
    )
    with pytest.raises(UsageError) as refused:
        read_config(load_toml(path))
    for setting in ("seed is a whole", "schedule.initial is a whole", "model_args.width is 9223"):
        assert setting in str(refused.value)


def test_a_model_without_a_name_is_no_model(capsys):
    with pytest.raises(SystemExit) as end:
        main(["measure", ""])
    assert end.value.code == 2
    assert "There is no model" in capsys.readouterr().err

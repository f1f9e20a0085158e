"""A device that hangs, vanishes, answers nonsense or comes back as another ends in one sentence."""

import json
import os
import sys
import time

import pytest

from netadapt.errors import DeviceError, UsageError
from netadapt.network import LayerShape
from netadapt.platforms import Effort, open_platform
from netadapt.platforms.link import Item, Link, converse
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.replies import sound
from tests import sshd

INFO = {
    "kind": "info", "device": "board", "machine": "arm", "runtime": "onnxruntime 1.20",
    "block": 8, "layout": "NCHWc", "cache_mb": 1.0, "processors": 4, "clock": "cpu",
}  # fmt: skip
VISIT = {"kind": "visit", "id": "0", "ns": [1000, 1100]}
DONE = {"kind": "done"}
ITEMS = [Item("0", lambda: {"model": ""}, 2)]
LAYER = LayerShape("conv", 3, 8, (8, 8), (8, 8))


def device(program, **settings):
    """A device that does this instead of measuring; it has read its plan."""
    return Link((sys.executable, "-c", f"import sys, time\n{program}"), "the board", **settings)


READ = "sys.stdin.buffer.read()\n"


def said(*records):
    return "".join(f"print({json.dumps(json.dumps(r))}, flush=True)\n" for r in records)


HANG = "time.sleep(600)\n"


@pytest.mark.parametrize(
    ("program", "arrived"),
    [
        (HANG, []),
        (READ + HANG, []),
        (READ + said(INFO) + HANG, ["info"]),
        (READ + said(INFO, VISIT) + HANG, ["info", "visit"]),
        (READ + "while True: print('booting ...', flush=True); time.sleep(0.01)", []),
    ],
    ids=["before reading", "at once", "after hello", "midway", "chatting"],
)
def test_one_that_hangs_is_given_up_and_what_arrived_is_kept(program, arrived):
    big = [Item("0", lambda: {"model": "A" * 500_000}, 2)]  # more than a pipe holds
    records = converse(device(program, silence_s=0.8, retries=3), {}, big)
    assert [next(records)["kind"] for _ in arrived] == arrived
    with pytest.raises(DeviceError, match=r"board said nothing for 0.8 s and is taken to hang"):
        next(records)


def test_time_that_is_taken_with_an_answer_is_no_silence():
    program = READ + said(INFO, VISIT, VISIT, DONE)
    link = device(program, silence_s=1.0)
    kinds = []
    for record in converse(link, {}, ITEMS):
        if not kinds:
            time.sleep(1.3)
        kinds.append(record["kind"])
    assert kinds == ["info", "visit", "visit", "done"]


def test_a_line_without_an_end_takes_no_memory():
    program = READ + "while True: sys.stdout.write('9' * 1_000_000)"
    with pytest.raises(DeviceError, match="answered what is no measurement"):
        list(converse(device(program), {}, ITEMS))


@pytest.mark.parametrize(
    "record",
    [
        {**VISIT, "id": ["0"]},
        {**VISIT, "id": {}},
        {"kind": "rounds"},
        {"kind": "rounds", "ns": 3},
        {"kind": "rounds", "ns": {}},
        {"kind": "rounds", "ns": {"0": 3}},
        {"kind": "rounds", "ns": {"0": [float("nan")]}},
        {"kind": "rounds", "ns": {"1": [1]}},
        {"kind": "rounds", "ns": {"0": [1, 2], "a": [1]}},
        {"kind": "fatal", "error": "none", "providers": 3},
        *({**INFO, key: value} for key, value in (
            ("runtime", None), ("layout", 3), ("cache_mb", "1"), ("cache_mb", float("inf")),
            ("processors", 0), ("processors", "4"), ("load", "high"), ("temperature_c", "hot"),
            ("temperature_c", float("nan")), ("governor", 3), ("saturates", "yes"),
            ("providers", "cpu"), ("sensors", ["rapl"]), ("clock", 1), ("block", True),
        )),
        *({k: v for k, v in INFO.items() if k != left} for left in (
            "device", "machine", "runtime", "layout", "block", "cache_mb", "processors")),
    ],
    ids=lambda record: json.dumps(record)[:60],
)  # fmt: skip
def test_nonsense_is_told_from_a_measurement(record):
    assert sound(INFO, ())
    assert sound({"kind": "rounds", "ns": {"0": [1, 2], "a": [1, 3]}}, {"0": 1, "a": 1})
    assert not sound(record, {"0": 1, "a": 1})


@pytest.mark.parametrize(
    ("key", "value"), [("runtime", "onnxruntime 1.21"), ("device", "other"), ("block", 16)]
)
def test_one_that_comes_back_as_another_is_refused(key, value):
    """After a lost connection, and between two measurements."""
    answers = [INFO, INFO, {**INFO, key: value}]

    def talk(link, settings, items):
        yield answers.pop(0)
        if len(answers) < 2:
            yield from ({"kind": "visit", "id": item.id, "ns": [1000]} for item in items)
            if answers:
                yield answers.pop(0)
        yield DONE

    platform = OrtPlatform(link=Link((), "the board"), talk=talk)
    platform.describe()
    with pytest.raises(DeviceError, match=rf"the board came back as another device \({key} "):
        list(platform.measure_layers([LAYER], Effort(passes=1)))


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", "1e9"])
def test_a_silence_that_is_no_time_is_refused(value):
    with pytest.raises(UsageError, match="from 1 to 86400"):
        open_platform(f"ssh://pi@berry?silence={value}")


@pytest.mark.skipif(
    sshd.MISSING and not os.environ.get("CI"), reason="OpenSSH's server is not installed"
)
def test_one_that_hangs_at_the_end_of_a_connection_is_given_up(tmp_path):
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    with sshd.serving(tmp_path) as server:
        uri = f"ssh://device?config={server.config}&python={hanging}&silence=2"
        with pytest.raises(DeviceError, match="said nothing for 2 s and is taken to hang"):
            open_platform(uri).describe()

#!/usr/bin/env python3
"""What is parsed, given what nobody wrote: valid inputs with bytes and values changed.

    python scripts/fuzz.py [--minutes 10] [--seed 0] [--out results/fuzz.csv] [PARSER ...]

Each parser gets inputs for so many minutes of the processor, in a process of its own with bounded
memory. Printed is what ends in anything but a NetAdaptError, takes more than ten seconds (of the
processor, or 100 by the clock), or gives a number that is none; such an input is kept in a folder,
and the exit status is 1. An input hangs on the seed and its number alone. Each parser is a row of
the result as soon as its time is up, in place of an earlier one of the same seed.
"""

import argparse
import base64
import csv
import json
import math
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from provenance import write_csv
from torch import nn
from torture import small_net, work

from netadapt.adapt import Result
from netadapt.assembly import Source, assemble
from netadapt.carbon.circumstances import read_circumstances
from netadapt.carbon.run import use_of
from netadapt.carbon.trace import read_trace
from netadapt.cli import OF_THE_DISK
from netadapt.config import load_toml, read_config
from netadapt.config.rungs import parse_rung
from netadapt.config.starter import starter
from netadapt.config.workers import parse_workers
from netadapt.errors import NetAdaptError
from netadapt.measure import Subject
from netadapt.models import load_weights, save_weights
from netadapt.network import LayerShape
from netadapt.platforms import Effort, open_platform
from netadapt.platforms.link import Item, converse
from netadapt.platforms.ort.files import read_onnx
from netadapt.platforms.ort.hygiene import disturbances
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.probes import Probe, build
from netadapt.platforms.ort.times import Times
from netadapt.platforms.replies import parsed, same_device, sound
from netadapt.report.page import report_page
from netadapt.runs import read_journal
from netadapt.runs.summaries import summarize
from netadapt.tables.build import describe_table
from netadapt.tables.bundle import read_bundle, write_bundle
from netadapt.tables.lookup import LookupTable
from netadapt.units import family_of, parse_budget, parse_duration, parse_share

RESULTS = Path(__file__).resolve().parent.parent / "results"
LIMIT_S = 10
ASLEEP = 10
"""How much longer than it computes an input may take by the clock: there may be other work."""
MEMORY = 6 << 30  # of addresses, most of which libraries have reserved
NASTY = (
    "nan", "NaN", "inf", "-Infinity", "1e999", "-1", "0", "1e308", "1e-320", "99999999999999999999",
    '""', "null", "true", "[]", "{}", "[[[[", '"\\ud800"', "\x00", "\ufeff", "=", "%", "&", ":",
    ",", "\n", "\r", '"', "'", "../", "/dev/zero", "~", "0x10", "1_000", "٣", "½", "é" * 50,
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Parser:
    """What is tried: valid inputs, and what reads one of them."""

    seeds: Sequence[bytes]
    read: Callable[[bytes, Path], object]


def mutated(seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """An input near one of those that are valid."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        dice.choice((_flip, _nasty, _number, _cut, _double, _splice, _nest))(data, seeds, dice)
    return bytes(data)


def _span(data: bytearray, dice: random.Random, longest: int = 40) -> tuple[int, int]:
    start = dice.randrange(len(data) + 1)
    return start, min(len(data), start + dice.randrange(longest))


def _flip(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _nasty(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    start, end = _span(data, dice, 6)
    data[start:end] = dice.choice(NASTY).encode(errors="surrogatepass")


def _number(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    """A number, or a word between marks, becomes something else."""
    found = list(NUMBER.finditer(data)) if len(data) < 200_000 else []
    if found:
        start, end = dice.choice(found).span()
        data[start:end] = dice.choice(NASTY).encode(errors="surrogatepass")


def _cut(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    start, end = _span(data, dice, dice.choice((4, 200, 10**9)))
    del data[start:end]


def _double(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    """Lines once more, or a byte very often."""
    if dice.random() < 0.5:
        start, end = _span(data, dice, 300)
        data[end:end] = data[start:end]
    elif data:
        place = dice.randrange(len(data))
        data[place:place] = data[place : place + 1] * dice.choice((9, 300, 100_000))


def _splice(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    other = dice.choice(seeds)
    start, end = _span(data, dice, 100)
    there = dice.randrange(len(other) + 1)
    data[start:end] = other[there : there + dice.randrange(100)]


def _nest(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    """Very many brackets, where a value stood."""
    start, end = _span(data, dice, 10)
    if dice.random() < 0.05:
        data[start:end] = dice.choice((b"[", b"{", b"(", b'{"a":', b"a.")) * 20_000


def text_of(data: bytes) -> str:
    """As a shell would pass it."""
    return os.fsdecode(data.replace(b"\0", b""))


def finite(value: float) -> None:
    """Complain of a result that is no number."""
    assert math.isfinite(value), f"{value} is the result"


def written(data: bytes, folder: Path, name: str) -> Path:
    """A file of the input."""
    path = folder / name
    path.write_bytes(data)
    return path


def journal(data: bytes, folder: Path) -> None:
    """A journal, and all that is told from it."""
    written(data, folder, "journal.jsonl")
    summary = summarize(folder)
    json.dumps(summary.to_json(), allow_nan=False)
    records = read_journal(folder)
    if records:
        json.dumps([r.time for r in records], allow_nan=False)
        Result.of(folder, records)
        use_of("run", records)
        report_page("run", records)


def table(data: bytes, folder: Path) -> None:
    """A table, and the price of what is in it."""
    path = written(data, folder, "table.csv")
    loaded = LookupTable.load(path)
    for shape in list(loaded.entries)[:20]:
        finite(loaded.price([shape]))
    finite(loaded.price([LayerShape("conv", 32, 17, (8, 8), (8, 8))]))
    json.dumps(describe_table(path), allow_nan=False)
    loaded.save(folder / "again.csv")


def settings(data: bytes, folder: Path) -> None:
    """A file of settings."""
    path = written(data, folder, "run.toml")
    config = read_config(load_toml(path), str(path))
    json.dumps(config.to_json(), allow_nan=False)


def uri(data: bytes, folder: Path) -> None:
    """The address of a device; those that answer here are asked."""
    text = text_of(data)
    platform = open_platform(text)
    if text.startswith(("synthetic", "eyeriss", "crossbar", "optical")):
        info = platform.describe()
        json.dumps(info.to_json(), allow_nan=False)


def words(data: bytes, folder: Path) -> None:
    """What is written on a command line."""
    text = text_of(data)
    for read in (
        parse_budget, parse_duration, lambda t: parse_share(t, "it"), parse_rung, parse_workers,
        lambda t: family_of((t,)), lambda t: read_circumstances(region=t),
        lambda t: read_circumstances(watts=t), lambda t: read_circumstances(rate=t),
    ):  # fmt: skip
        try:
            value = read(text)
        except NetAdaptError:
            continue
        number = getattr(value, "value", value)
        if isinstance(number, float):
            finite(number)


def bundle(data: bytes, folder: Path) -> None:
    """A plan and its results, the one or the other changed."""
    plan, _, results = data.partition(b"\n%%%\n")
    written(plan, folder, "plan.jsonl")
    written(results, folder, "results.jsonl")
    told = read_bundle(folder, folder / "out.csv")
    json.dumps(told, allow_nan=False)
    LookupTable.load(folder / "out.csv")


def replies(data: bytes, folder: Path) -> None:
    """What a device answers."""
    times, before = Times({}), dict[str, object]()
    for line in data.split(b"\n"):
        record = parsed(line)
        if record is None or not sound(record, {"0": 1, "1": 2}):
            continue
        times.add(record)
        if record["kind"] == "info":
            before = same_device("it", before, record)
            disturbances(before, 2)
    finite(times.canary_drift)
    for name in ("0", "1"):
        list(map(finite, times.of(name)))


def onnx_file(data: bytes, folder: Path) -> None:
    """A network as a file, with or without shapes."""
    path = written(data, folder, "net.onnx")
    message = read_onnx(path, {"": (3, 8, 8)})
    assert message


def weights(data: bytes, folder: Path) -> None:
    """Weights, of whatever form."""
    model = small_net()
    load_weights(model, written(data, folder, "w.bin"))
    for tensor in model.parameters():
        assert bool(tensor.isfinite().all())


def intensities(data: bytes, folder: Path) -> None:
    """A trace of carbon intensity."""
    for value in read_trace(written(data, folder, "trace.csv")).g_per_kwh:
        finite(value)


def of_texts(*texts: str) -> list[bytes]:
    """Inputs of text."""
    return [text.encode() for text in texts]


SETTINGS = re.sub(r"(?m)^# (\w+ = )", r"\1", starter())
URIS = (
    "synthetic:?block=8&noise=0.05&seed=1&cold=2", "eyeriss:?batch=4&costs=jssc2017&zeros=0.5",
    "crossbar:?rows=128&columns=64&noise=pcm&cell_bits=2&seconds=3600&chips=2",
    "optical:?kind=mesh&size=64&batch=8&thermal=yes", "ort:cpu?threads=2&level=all&precision=int8",
    "ssh://pi@berry:2222?python=/usr/bin/python3&silence=60", "replay:job/table.csv",
)  # fmt: skip
WORDS = (
    "60%", "energy=3.5mJ", "phone:12ms,9ms", "size=2MB", "macs=80%,60%", "10min", "1.5h", "5%",
    "4:0.1", "8:10%", "cuda:0,cuda:1", "ray://head:10001", "DE", "gcp:europe-west1", "230g",
    "45W", "1000/day", "3/s",
)  # fmt: skip
TRACE = "time,g_per_kwh\n" + "".join(
    f"2026-01-31T{hour:02}:00+00:00,{200 + hour}.5\n" for hour in range(24)
)


def parsers(folder: Path) -> dict[str, Parser]:
    """All of them, with inputs of a real job of scripts/torture.py."""
    os.chdir(folder)
    work(Path("job"))
    lines = [
        re.sub(rb',"crc":"[0-9a-f]*"}', b"}", (Path("job") / run / "journal.jsonl").read_bytes())
        for run in ("run", "smaller")
    ]
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    torch.onnx.export(net, (torch.zeros(1, 3, 8, 8),), "net.onnx", verbose=False)
    model = small_net()
    save_weights(model, Path("w.safetensors"))
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, "w.pt")
    torch.save(model.state_dict(), "old.pt", _use_new_zipfile_serialization=False)
    index = {"weight_map": dict.fromkeys(model.state_dict(), "w.safetensors")}
    return {
        "journal": Parser(lines, journal),
        "table": Parser([Path("job/table.csv").read_bytes()], table),
        "settings": Parser(of_texts(SETTINGS), settings),
        "uri": Parser(of_texts(*URIS), uri),
        "words": Parser(of_texts(*WORDS), words),
        "bundle": Parser([_bundle(Path("bundle"))], bundle),
        "replies": Parser([_replies()], replies),
        "onnx": Parser([Path("net.onnx").read_bytes()], onnx_file),
        "weights": Parser(
            [*(Path(n).read_bytes() for n in ("w.safetensors", "w.pt", "old.pt")),
             json.dumps(index).encode()], weights,
        ),
        "intensities": Parser(of_texts(TRACE, TRACE.replace("time,", "time_utc,")), intensities),
    }  # fmt: skip


def _bundle(folder: Path) -> bytes:
    """A plan, of which the first line alone is read, and what came of it here."""
    subject = Subject(assemble(Source("torture:small_net", input_size=8, num_classes=10)))
    write_bundle(subject, folder, platform_uri="ort:cpu", multiple=16)
    plan = (folder / "plan.jsonl").read_bytes()
    done = subprocess.run([sys.executable, folder / "bench.py"], input=plan, capture_output=True,
                          check=True)  # fmt: skip
    return plan.split(b"\n")[0] + b"\n%%%\n" + done.stdout


def _replies() -> bytes:
    """What a device answers to two networks, with a line of each kind."""
    net = build(Probe("layer", LayerShape("conv", 3, 8, (8, 8), (8, 8))))
    items = [Item(n, lambda: {"model": base64.b64encode(net).decode()}, 2) for n in ("0", "1")]
    platform = OrtPlatform()
    records = [
        record
        for effort in (Effort(passes=2), Effort(precision=0.5))
        for record in converse(platform.link, platform.settings(effort), items)
    ]
    records += [
        {"kind": "energy", "id": "0", "joules": 0.003, "runs": 8, "updates": 9},
        {"kind": "error", "id": "1", "error": "no such operator"},
        {"kind": "fatal", "error": "no such execution provider", "providers": ["cpu"]},
    ]
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


class Late(BaseException):
    """It takes too long."""


def late(*_: object) -> None:
    """Called by the alarms."""
    raise Late(f"more than {LIMIT_S} s")


def alarms(seconds: float) -> None:
    """Set what ends an input that takes too long; 0 stops it."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * ASLEEP)


def tried(parser: Parser, data: bytes, folder: Path) -> str:
    """What escapes, in a line that is the same for the same cause; empty if all is well."""
    alarms(LIMIT_S)
    try:
        parser.read(data, folder)
    except NetAdaptError:
        return ""
    except OSError as error:
        return "" if error.errno in OF_THE_DISK else f"OSError: {error}"  # told too
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "netadapt" in f.filename and "site-packages" not in f.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "here"
        return f"{type(error).__name__} at {place}: {str(error)[:160]}"
    finally:
        alarms(0)
    return ""


def fuzz(name: str, parser: Parser, seed: int, minutes: float, kept: Path) -> dict[str, object]:
    """Try one parser: its row of the result."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for alarm in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(alarm, late)
    warnings.simplefilter("error")
    found: set[str] = set()
    number, end_s = 0, time.process_time() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        while time.process_time() < end_s:
            data = mutated(parser.seeds, random.Random(f"{name} {seed} {number}"))
            (kept / name).write_bytes(data)  # what ends the process is there afterwards
            told = tried(parser, data, Path(folder))
            cause = told.split(": ")[0]
            if told and cause not in found:
                found.add(cause)
                (kept / f"{name}-{seed}-{number}").write_bytes(data)
                print(f"{name} {seed} {number}: {told}", flush=True)
            number += 1
    print(f"{name}: {number} inputs in {minutes:g} min, {len(found)} causes", flush=True)
    return {"parser": name, "seed": seed, "minutes": f"{minutes:g}", "inputs": number,
            "causes": len(found)}  # fmt: skip


def record(out: Path, row: Mapping[str, object]) -> None:
    """Keep a row of the result, in place of one of the same parser and seed."""
    rows = list(csv.DictReader(out.read_text().splitlines())) if out.exists() else []
    key = (row["parser"], str(row["seed"]))
    others = [other for other in rows if (other["parser"], other["seed"]) != key]
    write_csv(out, [*others, row], sys.argv)


def main() -> None:
    """Try the parsers that are named, or all."""
    args_parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args_parser.add_argument("parser", nargs="*")
    args_parser.add_argument("--minutes", type=float, default=10, help="of the processor, for each")
    args_parser.add_argument("--seed", type=int, default=0)
    args_parser.add_argument("--out", type=Path, default=RESULTS / "fuzz.csv")
    args = args_parser.parse_args()
    args.out = args.out.absolute()
    torch.set_num_threads(1)
    kept, bad = Path(tempfile.mkdtemp(prefix="fuzz-")), False
    with tempfile.TemporaryDirectory() as folder:
        known = parsers(Path(folder))
        if unknown := set(args.parser) - set(known):
            sys.exit(f"There is no {', '.join(unknown)}; choose of {', '.join(known)}.")
        for name in args.parser or known:
            child = os.fork()
            if not child:
                code = 1
                try:
                    row = fuzz(name, known[name], args.seed, args.minutes, kept)
                    record(args.out, row)
                    code = int(row["causes"] != 0)
                finally:
                    sys.stdout.flush()
                    os._exit(code)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status < 0:
                print(f"{name}: ended by signal {-status}; the input is {kept / name}", flush=True)
                ended = {"minutes": "", "inputs": "", "causes": f"ended by signal {-status}"}
                record(args.out, {"parser": name, "seed": args.seed, **ended})
            bad = bad or bool(status)
    print(f"What was found lies in {kept}.")
    sys.exit(bad)


if __name__ == "__main__":
    main()

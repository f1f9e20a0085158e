#!/usr/bin/env python3
"""A small job killed again and again, at random moments of every phase, and continued each time.

    python scripts/torture.py [--kills 200] [--seed 0] [--out results/torture.csv]

The job is a table, a training, an adaptation and a report on a synthetic device. A round runs it
undisturbed to know what is right, then again and again with SIGKILL, SIGTERM or a disk that is full
at some write, until it is done. Each kill is a row of the result as soon as it happened; repeated,
the script goes on with the next round until there are enough. Forks, so that torch is loaded once.
"""

import argparse
import csv
import errno
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from provenance import write_provenance
from torch import nn

from netadapt.adapt import Result, adapt
from netadapt.assembly import Source
from netadapt.cli.signals import as_interrupts
from netadapt.config import Execution, RunConfig, Tuning
from netadapt.errors import NetAdaptError
from netadapt.report.page import write_report
from netadapt.runs import read_journal
from netadapt.runs.events import Continued, Tried
from netadapt.search.schedule import Schedule
from netadapt.table import build_table
from netadapt.train import train
from netadapt.units import parse_budget
from netadapt.workers import Evaluator

RESULTS = Path(__file__).resolve().parent.parent / "results"
COLUMNS = ("round", "seed", "how", "after_s", "phase", "exit", "repeated_trials", "same")
DEVICE = "synthetic:?block=8&noise=0.05"
PIXELS = 8
MODEL = "torture:small_net"


def small_net(num_classes: int = 10) -> nn.Module:
    """Two convolutions and a classifier, so that a job takes seconds."""
    layers: list[nn.Module] = []
    for cin, cout in ((3, 32), (32, 48)):
        layers += [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, num_classes))


def configuration(weights: Path) -> RunConfig:
    """The settings of the run."""
    return RunConfig(
        MODEL, "digits", (parse_budget("70%"),), {"device": DEVICE}, weights=str(weights),
        input_size=PIXELS, schedule=Schedule(0.12), finalists=2,
        tuning=Tuning(train_epochs=1, short_steps=2, long_epochs=0.5),
        execution=Execution(checkpoint_every_s=0.1),
    )  # fmt: skip


def work(folder: Path) -> None:
    """The whole job, continued from wherever it was cut off."""
    weights, run = folder / "weights.safetensors", folder / "run"
    build_table(
        Source(MODEL, input_size=PIXELS, num_classes=10), folder / "table.csv", platform_uri=DEVICE
    )
    config = configuration(weights)
    if not weights.exists():
        train(replace(config, weights=None), weights)
    adapt(config, run)
    write_report(run, folder / "report.html")


def outcome(folder: Path) -> str:
    """Widths, accuracies and weights of a finished job."""
    result = Result.of(folder / "run", read_journal(folder / "run"))
    assert result is not None, "the run is not finished"
    after = result.finished.after
    weights = (folder / "run" / "weights" / "adapted.safetensors").read_bytes()
    assert (folder / "report.html").stat().st_size > 0
    digest = hashlib.sha256(weights).hexdigest()
    return f"{result.finished.widths} {result.finished.before.accuracy} {after.accuracy} {digest}"


def phase(folder: Path) -> str:
    """What was going on: the last line of the journal, or what comes before there is one."""
    if not (folder / "table.csv").exists():
        return "table"
    if not (folder / "weights.safetensors").exists():
        return "training"
    records = [r for r in read_journal(folder / "run") if not isinstance(r.event, Continued)]
    return type(records[-1].event).__name__ if records else "starting"


def repeated(folder: Path) -> int:
    """Trials that were begun more often than they were finished."""
    begun = (folder / "begun.txt").read_text().split() if (folder / "begun.txt").exists() else []
    run = folder / "run"
    done = sum(isinstance(r.event, Tried) for r in read_journal(run)) if run.exists() else 0
    return len(begun) - done


def counted(folder: Path) -> None:
    """Have every trial that begins noted in a file."""
    call = Evaluator.__call__

    def noted(self: Evaluator, trial: object) -> object:
        with (folder / "begun.txt").open("a") as file:
            file.write("trial\n")
        return call(self, trial)  # type: ignore[arg-type]

    Evaluator.__call__ = noted  # type: ignore[method-assign, assignment]


def full_at(number: int) -> None:
    """Have the disk full at one of the coming writes."""
    real, left = os.fsync, [number]

    def fsync(file: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    os.fsync = fsync


def fork(folder: Path, *, full: int = 0) -> int:
    """The job in a process of its own; its number."""
    child = os.fork()
    if child:
        return child
    code = 0
    try:
        as_interrupts()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        counted(folder)
        full_at(full)
        work(folder)
    except NetAdaptError as error:
        (folder / "said.txt").write_text(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        (folder / "traceback.txt").write_text(traceback.format_exc())
        code = 101
    os._exit(code)


def waited(child: int) -> int:
    """Exit code of a child; negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def one_round(
    number: int, seed: int, folder: Path, truth: str, usual_s: float,
    note: Callable[[dict[str, object]], None],
) -> None:  # fmt: skip
    """Kill and continue until the job is done; each kill, and the end, are noted."""
    dice, lost = random.Random(seed), 0
    while True:
        how = dice.choices(("SIGKILL", "SIGTERM", "full disk"), (8, 1, 1))[0]
        child = fork(folder, full=dice.randint(1, 40) if how == "full disk" else 0)
        began_s, wait_s = time.monotonic(), dice.uniform(0.0, usual_s)
        if how == "full disk":
            code = waited(child)
        else:
            while time.monotonic() - began_s < wait_s and not os.waitid(
                os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
            ):
                time.sleep(0.01)
            os.kill(child, getattr(signal, how))
            code = waited(child)
        if (folder / "traceback.txt").exists():
            sys.exit(f"seed {seed}: {(folder / 'traceback.txt').read_text()}")
        row = {"round": number, "seed": seed, "after_s": f"{time.monotonic() - began_s:.2f}",
               "exit": code, "phase": phase(folder)}  # fmt: skip
        if code == 0:
            same = outcome(folder) == truth
            note({**row, "how": "finished", "repeated_trials": repeated(folder), "same": same})
            return
        before, lost = lost, repeated(folder)
        note({**row, "how": how, "repeated_trials": lost - before, "same": ""})


def main() -> None:
    """Torture until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--out", type=Path, default=RESULTS / "torture.csv")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = list(csv.DictReader(args.out.open())) if args.out.exists() else []
    done = max((int(r["round"]) for r in rows if r["how"] == "finished"), default=-1)
    kills = sum(r["how"] != "finished" for r in rows)
    if not rows:
        args.out.write_text(",".join(COLUMNS) + "\n")

    def note(row: dict[str, object]) -> None:
        nonlocal kills
        kills += row["how"] != "finished"
        with args.out.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        print(f"{kills} of {args.kills}: {row}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)  # a relative path in settings must not hang on where this was started
        undisturbed = Path(name, "undisturbed")
        undisturbed.mkdir()
        began_s = time.monotonic()
        if code := waited(fork(undisturbed)):
            told = next(undisturbed.glob("*.txt"), None)
            sys.exit(f"undisturbed, it ended with {code}: {told and told.read_text()}")
        usual_s, truth = time.monotonic() - began_s, outcome(undisturbed)
        print(f"undisturbed: {usual_s:.1f} s, {truth}", flush=True)
        while kills < args.kills:
            done += 1
            folder = Path(name, f"round-{done}")
            folder.mkdir()
            one_round(done, args.seed + done, folder, truth, usual_s, note)
    rows = list(csv.DictReader(args.out.open()))
    print(Counter(row["how"] for row in rows), Counter(r["same"] for r in rows if r["same"]))
    write_provenance(args.out, sys.argv)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A small job killed again and again, at random moments of every phase, and continued each time.

    python scripts/torture.py [--kills 200] [--jobs 1] [--seed 0] [--out results/torture.csv]

The job is a table, a training, an adaptation, another to a smaller budget that goes on from it, and
a report of each, on a synthetic device. It runs undisturbed once to know what is right. A round is
the same job with SIGKILL or SIGTERM at some moment, with SIGKILL at some write, or with a disk that
is full at some write, again and again until it is done. Each end is a row of the result as soon as
it happened; repeated, the script drops a round that was not done and goes on until there are enough
kills. Forks, so that torch is loaded once.
"""

import argparse
import csv
import errno
import hashlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from provenance import write_provenance
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from netadapt.adapt import Result, adapt
from netadapt.assembly import Source
from netadapt.cli.signals import as_interrupts
from netadapt.config import Execution, RunConfig, Tuning
from netadapt.errors import NetAdaptError
from netadapt.report.page import write_report
from netadapt.runs import read_journal
from netadapt.runs.events import Continued, Trained, Tried
from netadapt.search.schedule import Schedule
from netadapt.table import build_table
from netadapt.train import train
from netadapt.training.checkpoint import Checkpoint
from netadapt.units import parse_budget
from netadapt.workers import Evaluator

RESULTS = Path(__file__).resolve().parent.parent / "results"
COLUMNS = (
    "round", "seed", "how", "after_s", "phase", "exit", "repeated_trials", "repeated_s", "same",
)  # fmt: skip
WAYS = {"SIGKILL": 5, "SIGKILL at a write": 8, "SIGTERM": 2, "full disk": 2}
"""How a process ends, and how often of 17 times."""

ENDS = {"SIGKILL": -9, "SIGKILL at a write": -9, "SIGTERM": 130, "full disk": 5}
"""The exit code of each; a signal's is negative."""
CHECKPOINT_EVERY_S = 0.1
DEVICE = "synthetic:?block=8&noise=0.05"
PIXELS = 8
MODEL = "torture:small_net"


def small_net(num_classes: int = 10) -> nn.Module:
    """Two convolutions and a classifier, so that a job takes seconds."""
    layers: list[nn.Module] = []
    for cin, cout in ((3, 32), (32, 48)):
        layers += [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, num_classes))


def configuration(weights: Path, budget: str, after: Path | None = None) -> RunConfig:
    """The settings of a run."""
    return RunConfig(
        MODEL, "digits", (parse_budget(budget),), {"device": DEVICE}, weights=str(weights),
        input_size=PIXELS, schedule=Schedule(0.12), finalists=2, after=after,
        tuning=Tuning(train_epochs=1, short_steps=2, long_epochs=0.5),
        execution=Execution(checkpoint_every_s=CHECKPOINT_EVERY_S),
    )  # fmt: skip


def work(folder: Path) -> None:
    """The whole job, continued from wherever it was cut off."""
    weights, log = folder / "weights.safetensors", Log(folder)
    build_table(
        Source(MODEL, input_size=PIXELS, num_classes=10), folder / "table.csv", platform_uri=DEVICE
    )
    if not weights.exists():
        train(replace(configuration(weights, "70%"), weights=None), weights)
        log.add("kept")
    for run, budget, after in RUNS:
        config = configuration(weights, budget, folder / after if after else None)
        adapt(config, folder / run, notify=log.hear)
        write_report(folder / run, folder / f"{run}.html")


RUNS = (("run", "70%", None), ("smaller", "62%", "run"))
"""Name, budget, and which of them it goes on from."""


class Log:
    """What processes of a job did, in a file that outlives them.

    A line each: ``trial`` when one begins and ``tried`` when it is on disk, ``step`` with the time
    after each step of a training, ``kept`` when those before need not be done again.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.txt"

    def add(self, line: str) -> None:
        """Note something."""
        with self.path.open("a") as file:
            file.write(f"{line}\n")

    def text(self) -> str:
        """All of it."""
        return self.path.read_text() if self.path.exists() else ""

    def hear(self, event: object) -> None:
        """Note what a run tells once it is on disk."""
        if isinstance(event, Tried):
            self.add("tried")
        elif isinstance(event, Trained):
            self.add("kept")

    def record(self) -> None:
        """Have trials, steps and checkpoints of this process noted."""
        call, write = Evaluator.__call__, Checkpoint.write

        def evaluated(evaluator: Evaluator, trial: object) -> object:
            self.add("trial")
            return call(evaluator, trial)  # type: ignore[arg-type]

        def written(*args: object) -> None:
            write(*args)  # type: ignore[arg-type]
            self.add("kept")

        Evaluator.__call__ = evaluated  # type: ignore[method-assign, assignment]
        Checkpoint.write = written  # type: ignore[method-assign, assignment]
        register_optimizer_step_post_hook(lambda *_: self.add(f"step {time.monotonic()}"))

    def lost(self) -> tuple[int, float]:
        """Trials that were begun and not finished, and seconds of training not kept, at the end."""
        lines = self.text().split("\n")
        since = [line for line in lines[last_of(lines, ("tried", "kept", "ended")) :] if line]
        trials = since.count("trial")
        steps = [float(line.split()[1]) for line in since if line.startswith("step")]
        return trials, steps[-1] - steps[0] if steps and not trials else 0.0


def last_of(lines: Sequence[str], kinds: Collection[str]) -> int:
    """Where what follows the last line of these kinds begins."""
    return max((n for n, line in enumerate(lines, start=1) if line in kinds), default=0)


def outcome(folder: Path) -> str:
    """Widths, accuracies and weights of a finished job."""
    told = []
    for run, *_ in RUNS:
        result = Result.of(folder / run, read_journal(folder / run))
        assert result is not None, f"{run} is not finished"
        assert (folder / f"{run}.html").stat().st_size > 0
        weights = (folder / run / "weights" / "adapted.safetensors").read_bytes()
        before, after = result.finished.before.accuracy, result.finished.after.accuracy
        digest = hashlib.sha256(weights).hexdigest()
        told.append(f"{run}: {result.finished.widths} {before} {after} {digest}")
    return "; ".join(told)


def phase(folder: Path) -> str:
    """What was going on: the last line of the journal, or what comes before there is one."""
    if not (folder / "weights.safetensors").exists():
        return "training" if "step" in Log(folder).text() else "table"
    for run, *_ in reversed(RUNS):
        records = [r for r in read_journal(folder / run) if not isinstance(r.event, Continued)]
        if records:
            doing = type(records[-1].event).__name__
            return f"{run}: {'report' if doing == 'Finished' else doing}"
    return "starting"


def die() -> None:
    """End at once, as at a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def fill() -> None:
    """What a full disk answers."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def at_write(number: int, happens: Callable[[], None]) -> list[int]:
    """Have something happen at one of the coming writes; 0 for never. How many there were so far.

    Half of them are before a file is on disk (fsync), half before it takes its place (replace).
    """
    count = [0]

    def before(real: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*args: object) -> None:
            count[0] += 1
            if count[0] == number:
                happens()
            real(*args)

        return wrapped

    os.fsync, os.replace = before(os.fsync), before(os.replace)
    return count


def fork(folder: Path, write: int = 0, happens: Callable[[], None] = die) -> int:
    """The job in a process of its own, to which something happens at a write; its number."""
    child = os.fork()
    if child:
        return child
    code = 0
    try:
        as_interrupts()
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        Log(folder).record()
        writes = at_write(write, happens)
        work(folder)
        (folder / "writes").write_text(str(writes[0]))
    except NetAdaptError as error:
        (folder / "said").write_text(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        (folder / "traceback").write_text(traceback.format_exc())
        code = 101
    os._exit(code)


def waited(child: int) -> int:
    """Exit code of a child; negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ended(folder: Path, how: str, dice: random.Random, usual: "Usual") -> int:
    """One process of the job and how it ended: its exit code."""
    write = dice.randint(1, usual.writes // 3)
    if how in ("full disk", "SIGKILL at a write"):
        return waited(fork(folder, write, fill if how == "full disk" else die))
    child = fork(folder)
    began_s, wait_s = time.monotonic(), dice.uniform(0.0, usual.seconds / 3)
    while time.monotonic() - began_s < wait_s and not os.waitid(
        os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
    ):
        time.sleep(0.01)
    os.kill(child, getattr(signal, how))
    return waited(child)


def one_round(
    number: int,
    seed: int,
    folder: Path,
    usual: "Usual",
    note: Callable[[Mapping[str, object]], None],
) -> None:
    """Kill and continue until the job is done; each kill, and the end, are noted."""
    dice = random.Random(seed)
    while True:
        how = dice.choices(tuple(WAYS), tuple(WAYS.values()))[0]
        began_s = time.monotonic()
        code = ended(folder, how, dice, usual)
        if (folder / "traceback").exists():
            sys.exit(f"seed {seed}: {(folder / 'traceback').read_text()}")
        if code not in (0, ENDS[how]):
            print(f"seed {seed}: {how} ended with {code}: {(folder / 'output').read_text()}")
        trials, seconds = Log(folder).lost()
        Log(folder).add("ended")
        row = {"round": number, "seed": seed, "after_s": f"{time.monotonic() - began_s:.2f}",
               "exit": code, "phase": phase(folder),
               "repeated_trials": trials, "repeated_s": f"{seconds:.2f}"}  # fmt: skip
        if code == 0:
            note({**row, "how": "finished", "same": outcome(folder) == usual.outcome})
            return
        note({**row, "how": how, "same": ""})


@dataclass(frozen=True)
class Usual:
    """The job undisturbed."""

    seconds: float
    writes: int
    outcome: str


def undisturbed(folder: Path) -> Usual:
    """What is right, and how long it takes."""
    folder.mkdir()
    began_s = time.monotonic()
    if code := waited(fork(folder)):
        told = next((folder / n for n in ("said", "traceback") if (folder / n).exists()), None)
        sys.exit(f"undisturbed, it ended with {code}: {told and told.read_text()}")
    seconds, writes = time.monotonic() - began_s, int((folder / "writes").read_text())
    return Usual(seconds, writes, outcome(folder))


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of rounds that were done; what was begun and cut off is begun anew."""
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    done = {row["round"] for row in rows if row["how"] == "finished"}
    return [row for row in rows if row["round"] in done]


def kills_of(rows: Sequence[Mapping[str, str]]) -> int:
    """How many ends were no finish."""
    return sum(row["how"] != "finished" for row in rows)


def rounds(args: argparse.Namespace, usual: Usual, first: int) -> None:
    """One job's rounds, until those of all have enough kills."""

    def note(row: Mapping[str, object]) -> None:
        with args.out.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        print(f"{kills_of(rows_of(args.out))} of {args.kills}: {row}", flush=True)

    for number in itertools.count(first, args.jobs):
        if kills_of(rows_of(args.out)) >= args.kills:
            return
        folder = Path(f"round-{number}")
        folder.mkdir()
        one_round(number, args.seed + number, folder, usual, note)
        shutil.rmtree(folder)


def in_jobs(args: argparse.Namespace, usual: Usual, first: int) -> None:
    """The rounds, by several processes side by side."""
    jobs = []
    for job in range(args.jobs):
        if child := os.fork():
            jobs.append(child)
            continue
        code = 1
        try:
            rounds(args, usual, first + job)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    if any([waited(job) for job in jobs]):
        sys.exit("A job did not end as it should; see above.")


def main() -> None:
    """Torture until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--jobs", type=int, default=1, help="rounds side by side")
    parser.add_argument("--out", type=Path, default=RESULTS / "torture.csv")
    args = parser.parse_args()
    args.out = args.out.absolute()
    torch.set_num_threads(1)
    torch.onnx.export(small_net().eval(), (torch.zeros(1, 3, PIXELS, PIXELS),), verbose=False)
    rows = rows_of(args.out)
    with args.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)  # a relative path in settings must not hang on where this was started
        usual = undisturbed(Path("undisturbed"))
        print(f"undisturbed: {usual}", flush=True)
        in_jobs(args, usual, max((int(row["round"]) + 1 for row in rows), default=0))
    rows = rows_of(args.out)
    print(Counter(row["how"] for row in rows), Counter(r["same"] for r in rows if r["same"]))
    write_provenance(args.out, sys.argv)


if __name__ == "__main__":
    main()

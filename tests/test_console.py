"""What is seen of a run while it goes on: on a terminal, in a file, by a program, from outside."""

import fcntl
import json
import logging
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace

import pytest

from netadapt.carbon.sofar import energy_so_far
from netadapt.cli import main
from netadapt.cli.console import Console
from netadapt.cli.news import News
from netadapt.runs import Outcome, Phase, Progress, Record, Step, StepCost
from netadapt.runs.events import (
    BoundSet,
    Continued,
    IterationStarted,
    Started,
    StepTaken,
    Stopped,
    Traced,
    Trained,
    Tried,
    from_json,
    to_json,
)
from netadapt.runs.watch import Watch, duration, iterations_left, watched
from tests.test_report import FINISHED

STARTED = Started(2, {"config": {}}, {}, {})
TRACED = Traced((), (), 10, 20, 8, "top-1 accuracy", True, {})
BOUND = BoundSet("latency", "latency", "s", "pi", 0.005, 0.010)


def step(iteration, cost):
    return StepTaken(Step(iteration, "body", {}, {"latency": StepCost(cost, cost, cost)}, 0.9))


def tried(iteration=1, index=0):
    return Tried(iteration, "body", {}, {}, Outcome(index, 1, 0.8, {}, (Phase("tuning", 2.0),)))


HALFWAY = (STARTED, TRACED, BOUND, step(0, 0.010), IterationStarted(1, {}, 3, 3), tried(),
           step(1, 0.008), IterationStarted(2, {}, 4, 4), tried(2))  # fmt: skip


def journal(*events):
    return [Record(100.0 * number, event) for number, event in enumerate(events)]


def test_iterations_left_follow_from_the_mean_fall_so_far():
    assert iterations_left([2.0, 1.6]) == 2  # 0.4 a time: 1.2, 0.8
    assert iterations_left([2.0, 1.5]) == 1
    assert iterations_left([2.0, 1.5, 0.9]) == 0
    assert iterations_left([2.0]) is None
    assert iterations_left([2.0, 2.1]) is None
    assert iterations_left([]) is None


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (720, "12 min"), (12600, "3.5 h")])
def test_durations_are_for_persons(seconds, text):
    assert duration(seconds) == text


def test_a_watch_tells_load_trials_and_what_is_left():
    rows = dict(watched(journal(*HALFWAY)).rows(900.0))
    assert rows["iterations"] == "1"
    assert rows["latency"] == "8 ms, 160% of the budget"
    assert rows["trials"] == "1 of 4"
    # An iteration took 300 s, two are left, and 200 s of the next have gone.
    assert rows["left"] == "about 2 iterations, 7 min, then the long fine-tune"


def test_a_pause_is_no_time_of_an_iteration():
    records = journal(*HALFWAY)
    late = [Record(9000.0, Continued({}, {})), Record(9100.0, tried(2, 1))]
    assert watched([*records, *late]).left_s == pytest.approx(watched(records).left_s - 100)


def test_a_training_tells_loss_speed_and_time_left():
    watch = Watch()
    watch.note(Progress("train", 10, 100, 2.0, 320), 50.0)
    watch.note(Progress("train", 30, 100, 0.5, 960), 60.0)
    # 20 steps and 640 images in 10 s; 70 steps are left.
    assert watch.line(60.0) == "train 30 of 100, loss 0.5, 64 images/s, 35 s left"


def test_each_worker_has_a_row_of_its_own_until_its_trial_is_over():
    watch = watched(journal(*HALFWAY))
    watch.note(Progress("fine-tune of body", 10, 100, 2.0, 320, worker="worker 1"), 50.0)
    watch.note(Progress("fine-tune of head", 0, 100, worker="worker 2"), 50.0)
    watch.note(Progress("fine-tune of body", 30, 100, 0.5, 960, worker="worker 1"), 60.0)
    rows = dict(watch.rows(60.0))
    assert rows["stage"] == "trying"
    assert rows["worker 1"] == "fine-tune of body 30 of 100, loss 0.5, 64 images/s, 35 s left"
    assert rows["worker 2"] == "fine-tune of head 0 of 100"
    assert "trying, 2 workers at it, trial" in watch.line(60.0)
    watch.note(tried(2, 1), 61.0)  # of one of them: the other's work goes on
    watch.note(Progress("body", 1, 1, worker="worker 1"), 61.0)
    rows = dict(watch.rows(61.0))
    assert "worker 1" not in rows
    assert "worker 2" in rows
    watch.note(step(2, 0.007), 62.0)
    assert "worker 2" not in dict(watch.rows(62.0))


def test_a_finished_run_has_nothing_left():
    watch = watched(journal(*HALFWAY, step(2, 0.005), FINISHED))
    assert watch.finished
    assert watch.left() == ""


def test_elsewhere_than_on_a_terminal_no_silence_is_long(capsys):
    with Console(silence_s=0.05) as console:
        console(IterationStarted(1, {}, 3, 3))
        until = time.monotonic() + 20
        said = ""
        while said.count("trial 0 of 3") < 2 and time.monotonic() < until:
            time.sleep(0.05)
            said += capsys.readouterr().err
    assert said.count("iteration 1, trying, trial 0 of 3") >= 2


def test_what_the_library_logs_is_a_line_unless_quiet(capsys):
    log = logging.getLogger("netadapt.data.folder_task")
    for quiet in (False, True):
        with Console(quiet=quiet):
            log.info("photos: %d images", 3)
        log.info("afterwards")
    assert capsys.readouterr().err == "photos: 3 images\n"


def test_quiet_is_silent_and_verbose_has_a_line_for_every_trial(capsys):
    for quiet, verbose, lines in ((True, False, 0), (False, False, 0), (False, True, 1)):
        with Console(quiet=quiet, verbose=verbose) as console:
            console(tried())
        said = capsys.readouterr().err
        assert said.count("trial     body, fine-tuned: holdout 80.00% in 2.0 s") == lines


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_is_null_in_json(capsys, loss):
    with Console(json_lines=True) as console:
        console(Progress("train", 1, 2, loss, 32))

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    line = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert (line["event"], line["loss"], line["images"]) == ("Progress", None, 32)


def test_json_lines_are_the_events_of_the_journal(capsys):
    with Console(json_lines=True) as console:
        console(BOUND)
        console(Progress("train", 1, 2, 0.5, 32))
    said = capsys.readouterr()
    first, second = map(json.loads, said.out.splitlines())
    assert from_json(first).event == BOUND
    assert (second["event"], second["done"], second["images"]) == ("Progress", 1, 32)
    assert said.err == ""


def test_a_continued_run_knows_its_budgets(capsys):
    with Console() as console:
        console.recall(journal(*HALFWAY))
        console(step(2, 0.006))
    assert capsys.readouterr().err.startswith("step 2    body: 6 ms (60.0%")


SHOW = """
import os, sys, time
from tests.test_console import HALFWAY
from netadapt.cli.console import Console
from netadapt.runs import Progress
with Console() as console:
    for event in HALFWAY:
        console(event)
    console(Progress("tune", 1, 9, 0.5, 32))
    time.sleep(0.6)
    os.write(1, b"ready\\n")  # what is printed within goes to stderr
    sys.stdin.readline()
    time.sleep(0.6)
"""


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}], ids=["color", "no_color"])
def test_a_terminal_has_one_table_in_whatever_width_there_is(environment):
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=there,
        text=True, env={**plain, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(there)
    assert process.stdout.readline() == "ready\n"
    wide = os.read(here, 1 << 16).decode()
    fcntl.ioctl(here, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 24, 0, 0))
    process.communicate("\n", timeout=60)
    narrow = os.read(here, 1 << 16).decode()
    os.close(here)
    assert process.returncode == 0
    assert "8 ms, 160% of the budget" in wide
    assert "tune 1 of 9, loss 0.5" in wide
    assert "…" in narrow
    assert ("\x1b[36m" in wide) == (not environment)


def test_status_and_ls_tell_what_is_left(tmp_path, capsys):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(to_json(record)) + "\n" for record in journal(*HALFWAY))
    (folder / "journal.jsonl").write_text(lines + '{"torn')
    for arguments in (["status", str(folder)], ["ls", str(folder.parent)]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0
        assert "about 2 iterations, 7 min" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["status", str(tmp_path)])
    assert left.value.code == 2


MACHINE = {"processor": "a board", "cores": 4, "threads": 2}


def spent(energy_j, seconds=100.0):
    return Trained("original", 0, 1.0, Phase("training", seconds, 0, 0, energy_j, "rapl:package-0"))


def test_energy_so_far_is_measured_estimated_or_not_measured():
    board = replace(STARTED, machine=MACHINE)
    assert energy_so_far(watched(journal(STARTED, TRACED))) == "not measured"
    # 100 s of two threads at 3.5 W (0.74 to 8.58 W each) are 700 J: 194 mWh
    assert energy_so_far(watched(journal(board, TRACED))).startswith("194 mWh (41.1 to 477), est")
    # 3600 J of the only 100 s: measured
    assert energy_so_far(watched(journal(board, spent(3600.0)))) == "1 Wh, measured"
    known_in_part = watched(journal(STARTED, spent(3600.0), TRACED))
    assert energy_so_far(known_in_part) == "at least 1 Wh, measured"


def test_a_run_that_cannot_reach_its_budget_is_told_as_stopped(tmp_path, capsys):
    write(tmp_path / "run", *HALFWAY, Stopped("Nothing more can be removed."))
    with pytest.raises(SystemExit):
        main(["ls", str(tmp_path)])
    assert " stopped " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["status", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert "ended short of its budgets" in out
    assert "about" not in out  # nothing is left to do
    again = watched(journal(*HALFWAY, Stopped("over"), Continued({}, {})))
    assert not again.stopped


def write(folder, *events):
    folder.mkdir()
    lines = (json.dumps(to_json(record)) for record in journal(*events))
    (folder / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_a_search_that_went_too_far_says_what_became_of_it():
    news, far = News(), step(2, 0.004)
    news.recall(BOUND)
    assert "nearer" not in news.text(far)
    back = replace(far.step, iteration=3, origin=1)
    assert news.text(StepTaken(back)).endswith("; from step 1 again, nearer to the budget")
    stays = news.text(StepTaken(replace(back, again=True)))
    assert stays.endswith("; an earlier network again, as none nearer to the budget is better")


def test_a_count_is_named_once():
    bound = BoundSet("macs", "macs", "MACs", "", 5e6, 10e6)
    taken = StepTaken(Step(1, "body", {}, {"macs": StepCost(6e6, 6e6, 6e6)}, 0.9))
    news = News()
    for event in (BOUND, bound):
        news.recall(event)
    assert "6 M MACs (60.0%" in news.text(taken)
    assert "macs" not in news.text(taken)
    assert ("MACs", "6 M, 120% of the budget") in watched(journal(bound, taken)).rows(0.0)

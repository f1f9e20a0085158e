"""What is on disk survives cuts, flipped bits, full disks, second starts, and is never replaced."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from netadapt.carbon.run import use_of
from netadapt.cli import main
from netadapt.cli.signals import continuing
from netadapt.compare import compare
from netadapt.errors import RunError, UsageError
from netadapt.files import check_output, sole_writer, write_atomically
from netadapt.runs import Phase, Run, Step, StepCost, check_weights, read_journal
from netadapt.runs import journal as journal_module
from netadapt.runs.events import Started, Stored, Trained, Warned
from netadapt.runs.summaries import list_runs, summarize
from netadapt.runs.watch import watched
from netadapt.workbench import Workbench
from tests.test_report import FINISHED


def started(**settings):
    return Started(2, settings, {"trainer": "cpu"}, {"netadapt": "1"})


def step(iteration, weights=""):
    costs = {"latency": StepCost(1.5, 1.0, 1.0)}
    return Step(iteration, "", {"g": (0, 2)}, costs, 0.9, weights=weights)


def test_weights_of_candidates_that_no_step_took_are_dropped(tmp_path):
    """Those of an earlier iteration too, after which a run was cut off."""
    with Run(tmp_path / "run", started()) as run:
        run.commit(step(1, "candidate-001-001"))
        taken = run.commit(step(2, "candidate-002-000"))
        weights = run.weights_path("original").parent
        weights.mkdir()
        kept = ["adapted", "candidate-001-001", "candidate-002-000", "original"]
        for name in (*kept, "candidate-001-000", "candidate-002-001", "candidate-002-000.place"):
            run.weights_path(name).write_bytes(b"weights")
        Workbench(None, None, None, run, None).keep(taken)
        assert sorted(path.stem for path in weights.iterdir()) == kept


@pytest.fixture
def run(tmp_path):
    """A run of three steps."""
    with Run(tmp_path / "run", started(seed=1)) as run:
        for iteration in range(3):
            run.commit(step(iteration))
    return tmp_path / "run"


def test_a_journal_cut_at_any_byte_keeps_every_whole_line(run):
    path = run / "journal.jsonl"
    whole, records = path.read_bytes(), read_journal(run)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        assert read_journal(run) == records[: whole[:cut].count(b"\n")]


def test_a_flipped_bit_is_found_or_costs_the_last_line_alone(run):
    path = run / "journal.jsonl"
    whole, records = path.read_bytes(), read_journal(run)
    dice = random.Random(1)
    for place in dice.sample(range(len(whole)), 400):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << dice.randrange(8)
        path.write_bytes(bytes(flipped))
        with suppress(RunError):  # it was found
            assert read_journal(run) == records[:-1]


def test_a_line_of_an_earlier_version_without_a_checksum_is_read(run):
    path = run / "journal.jsonl"
    records = read_journal(run)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "crc": 0}) + "\n" for line in lines))
    with pytest.raises(RunError, match="damaged at line 1"):
        read_journal(run)
    for line in lines:
        del line["crc"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_journal(run) == records


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e999", "-1.0", "1e300", '"noon"', "null"])
def test_a_time_that_cannot_be_is_no_line_of_ours(run, bad):
    path = run / "journal.jsonl"
    lines = [line.rpartition(',"crc"')[0] + "}" for line in path.read_text().splitlines()]
    time_s = json.loads(lines[2])["time"]
    path.write_text("\n".join(lines).replace(f'"time":{time_s}', f'"time":{bad}') + "\n")
    with pytest.raises(RunError, match="damaged at line"):
        read_journal(run)


@pytest.mark.parametrize("jump_s", [-1e9, -3600.0, 3600.0, 1e9])
def test_a_clock_that_is_set_while_a_run_works_makes_no_work_longer(tmp_path, monkeypatch, jump_s):
    began_s = time.time()
    with Run(tmp_path / "run", started()) as run:
        run.commit(step(0))
        monkeypatch.setattr(time, "time", lambda: began_s + jump_s)
        run.commit(step(1))
    times = [record.time for record in read_journal(tmp_path / "run")]
    assert times == sorted(times)
    assert began_s - 1 < times[0]
    assert times[-1] - times[0] < 60


@pytest.mark.parametrize("jump_s", [-1e9, 1e6])
def test_a_clock_that_is_set_between_two_processes_is_a_pause(tmp_path, monkeypatch, jump_s):
    folder, now_s = tmp_path / "run", time.time()
    with Run(folder, started()) as run:
        run.commit(step(0))
    monkeypatch.setattr(time, "time", lambda: now_s + jump_s)
    with Run(folder, started()) as run:
        run.commit(step(1))
        run.append(Trained("adapted", 1, 2.0, Phase("training", 1.0)))
    monkeypatch.undo()
    watch = watched(read_journal(folder))
    assert 0 <= watch.worked_s < 60
    assert watch.left_s is None or watch.left_s >= 0
    phases = use_of("run", read_journal(folder)).phases
    assert all(0 <= phase.seconds < 60 for phase in phases)
    assert summarize(folder).state == "unfinished"
    with pytest.raises(SystemExit) as end:
        main(["status", str(folder)])
    assert end.value.code == 0


def test_weights_that_changed_or_are_gone_are_told_when_a_run_goes_on(tmp_path):
    folder = tmp_path / "run"
    with Run(folder, started()) as run:
        path = run.weights_path("original")
        path.parent.mkdir()
        path.write_bytes(b"\x00" * 100)
        run.commit(step(0, "original"))
        assert run.last(Stored).name == "original"
    with Run(folder, started()):
        pass
    path.write_bytes(b"\x00" * 99 + b"\x01")
    with pytest.raises(RunError, match="is not as it was written, and the run needs it"):
        Run(folder, started())
    path.unlink()
    with pytest.raises(RunError, match="is missing, and the run needs it"):
        check_weights(folder, read_journal(folder), ("original",))


def test_weights_of_the_step_before_the_last_are_needed_until_the_last_is_fine_tuned(tmp_path):
    """A search that went too far goes on from there."""
    folder = tmp_path / "run"
    with Run(folder, started()) as run:
        for iteration, name in enumerate(("original", "first", "second")):
            path = run.weights_path(name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(name.encode())
            run.commit(step(iteration, name))
        run.weights_path("first").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"first.* is not as it was written, and the run needs it"):
        Run(folder, started())
    run.weights_path("first").write_bytes(b"first")
    with Run(folder, started()) as run:
        run.append(Trained("adapted", 2, 2.0, Phase("training", 1.0)))
    run.weights_path("first").unlink()
    with Run(folder, started()) as run:  # fine-tuned at length, so that it goes on from no other
        run.commit(replace(step(2, "second"), origin=0))
    with pytest.raises(RunError, match=r"first.* is missing, and the run needs it"):
        Run(folder, started())  # it may return to the step before, though
    path = folder / "weights" / "first.safetensors"
    path.write_bytes(b"first")
    with Run(folder, started()) as run:
        run.commit(step(3, "second"))
    path.unlink()
    with pytest.raises(RunError, match=r"first.* is missing, and the run needs it"):
        Run(folder, started())  # and from what came after that
    path.write_bytes(b"first")
    with Run(folder, started()) as run:
        run.append(FINISHED)
    path.unlink()
    with Run(folder, started()):
        pass


def test_a_result_written_anew_just_before_a_kill_does_not_stop_the_run(tmp_path):
    folder = tmp_path / "run"
    with Run(folder, started()) as run:
        path = run.weights_path("adapted")
        path.parent.mkdir()
        run.commit(step(1))
        path.write_bytes(b"first")
        run.append(Trained("adapted", 1, 2.0, Phase("training", 1.0)))
        run.commit(step(2))
        path.write_bytes(b"second")  # killed before its line
    with Run(folder, started()):
        pass


def test_a_full_disk_at_any_line_loses_that_line_alone(run, monkeypatch):
    with Run(run, started(seed=1)) as opened:
        before = (run / "journal.jsonl").read_bytes()

        def full(_descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(journal_module.os, "fsync", full)
        with pytest.raises(RunError, match="The disk is full"):
            opened.append(Warned("lost"))
        assert (run / "journal.jsonl").read_bytes() == before
        monkeypatch.undo()
        opened.append(Warned("kept"))
    assert [r.event for r in read_journal(run)][-1] == Warned("kept")


def test_a_run_that_is_moved_while_it_works_ends_there_and_goes_on_elsewhere(run):
    elsewhere = run.with_name("elsewhere")
    with Run(run, started(seed=1)) as opened:
        run.rename(elsewhere)
        with pytest.raises(RunError, match=r"Cannot write .*journal.jsonl \(No such file"):
            opened.append(Warned("lost"))
        run.mkdir()  # as whoever writes weights does
        with pytest.raises(RunError, match=r"Cannot write .*journal.jsonl \(No such file"):
            opened.append(Warned("lost"))
    assert not list(run.iterdir())
    with Run(elsewhere, started(seed=1)) as opened:
        opened.append(Warned("kept"))
    assert [r.event for r in read_journal(elsewhere)][-1] == Warned("kept")


def test_a_second_fresh_start_keeps_what_the_first_set_aside(run):
    first = (run / "journal.jsonl").read_bytes()
    for seed in (2, 3):
        with Run(run, started(seed=seed), fresh=True) as opened:
            opened.commit(step(0))
    assert (run.with_name("run.old") / "journal.jsonl").read_bytes() == first
    old = read_journal(run.with_name("run.old-2"))
    assert old[0].event.settings == {"seed": 2}


@pytest.mark.parametrize("fresh", [True, False])
def test_a_folder_that_was_never_a_run_stays_as_it_is(tmp_path, fresh):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "adapted.pt").write_text("mine")
    with pytest.raises(RunError, match="name another folder"):
        Run(folder, started(), fresh=fresh)
    assert [p.name for p in folder.iterdir()] == ["adapted.pt"]
    assert not (tmp_path / "thesis.old").exists()


def test_a_journal_of_another_program_is_not_replaced(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "journal.jsonl").write_bytes(b"\x89binary without an end of line")
    with pytest.raises(RunError, match="written by another program"):
        Run(folder, started())
    assert (folder / "journal.jsonl").read_bytes().startswith(b"\x89")


def test_one_bad_folder_does_not_hide_the_others(run):
    beside = run.parent
    for name, text in {"a": b"\xff\xfe\n", "b": b'{"event":"Started"}\n', "c": b"[" * 9999 + b"\n",
                       "d": b"\n\n"}.items():  # fmt: skip
        (beside / name).mkdir()
        (beside / name / "journal.jsonl").write_bytes(text)
    (beside / "e" / "journal.jsonl").mkdir(parents=True)
    os.mkfifo(beside / "pipe")
    (beside / "f").mkdir()
    os.mkfifo(beside / "f" / "journal.jsonl")
    states = {summary.run.rpartition("/")[2]: summary.state for summary in list_runs(beside)}
    assert states.pop("run") == "unfinished"
    assert set(states.values()) == {"damaged"}


def test_half_written_files_of_a_killed_process_are_swept_up(run):
    (run / "weights").mkdir()
    left = [run / "weights" / ".x.safetensors.123.tmp", run / ".table.csv.part"]
    for path in left:
        path.write_text("half")
    with Run(run, started(seed=1)):
        assert not any(path.exists() for path in left)


def test_outputs_replace_no_link_device_folder_or_file_of_another_kind(tmp_path):
    link, target, pipe = tmp_path / "link", tmp_path / "target", tmp_path / "pipe"
    target.write_text("theirs")
    link.symlink_to(target)
    os.mkfifo(pipe)
    (tmp_path / "file").write_text("no table")
    for path, words in (
        (link, "is a symbolic link"), (pipe, "no plain file"), (tmp_path, "no plain file"),
        (tmp_path / "file" / "below", "is no folder"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            check_output(path)
    with pytest.raises(UsageError, match="a file of another kind"):
        check_output(tmp_path / "file", begins=(b"netadapt-table",))
    for path in (link, pipe):
        with pytest.raises(UsageError):
            write_atomically(path, b"ours")
    assert link.is_symlink()
    assert target.read_text() == "theirs"
    check_output(tmp_path / "new" / "deeper.csv", begins=(b"x",))


CHILD = """
import sys, time
import click
from netadapt import cli
@cli.cli.command()
def wait():
    print("ready", flush=True)
    time.sleep(60)
cli.main(["wait"])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_a_command_as_ctrl_c_does(number):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup may have it ignored here
    )  # fmt: skip
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.05)
    child.send_signal(number)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert told.lstrip() == "Interrupted. Nothing of it is kept: the same command begins again.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("adapt m --budget 60%", "kept: the same command continues"),
        ("adapt m --fresh", "the same command without --fresh continues"),
        ("adapt m --dry-run", "Nothing of it is kept"),
        ("train m -o w", "from the last checkpoint"),
        ("table build m -o t", "rows that were measured are kept"),
        ("table verify m", "Nothing of it is kept"),
        ("measure m", "Nothing of it is kept"),
    ],
)
def test_what_is_said_of_continuing_is_true_for_each_command(words, said):
    assert said in continuing(words.split())


def test_no_output_replaces_a_file_of_the_user_s(tmp_path, capsys, run):
    """Whatever the command and the ending: a file of another kind stays as it is."""
    mine = {"w.safetensors": "mine", "t.csv": "a,b\n1,2\n", "r.html": "notes", "p.png": "sketch"}
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    model = ["mobilenet_v1", "--data", "digits", "--input-size", "16"]
    for command in (
        ["train", *model, "-o", "w.safetensors"],
        ["table", "build", *model, "--on", "synthetic:", "-o", "t.csv"],
        ["report", str(run), "-o", "r.html"],
        ["inspect", "mobilenet_v1", "--classes", "10", "--on", "eyeriss:", "--plot", "p.png"],
    ):
        with pytest.raises(SystemExit) as end:
            main([*command[:-1], str(tmp_path / command[-1])])
        assert end.value.code == 2
        assert "file of another kind" in capsys.readouterr().err
    assert {name: (tmp_path / name).read_text() for name in mine} == mine


def test_two_writers_of_a_table_or_of_weights_do_not_mix(tmp_path, capsys):
    model = ["mobilenet_v1", "--data", "digits", "--input-size", "16"]
    for command in (
        ["train", *model, "-o", "w.safetensors"],
        ["table", "build", *model, "--on", "synthetic:", "-o", "t.csv"],
    ):
        out = tmp_path / command[-1]
        with sole_writer(out), pytest.raises(SystemExit) as end:
            main([*command[:-1], str(out)])
        assert end.value.code == RunError.exit_code
        assert f"Another process is writing to {out}" in capsys.readouterr().err
        with sole_writer(out):
            pass  # and the next may
    assert not list(tmp_path.iterdir())


def test_links_in_a_circle_are_no_run(tmp_path, capsys):
    circle, other = tmp_path / "circle", tmp_path / "other"
    circle.symlink_to(other)
    other.symlink_to(circle)
    with pytest.raises(RunError, match="Cannot read"):
        compare([circle, tmp_path])
    words = ["adapt", "mobilenet_v1", "-a", "width=0.25", "--data", "digits", "--input-size", "16",
             "--on", "synthetic:", "--budget", "60%", "--run", str(tmp_path / "run")]  # fmt: skip
    with pytest.raises(SystemExit) as end:
        main([*words, "--after", str(circle)])
    assert end.value.code == 5
    assert "Cannot read" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

"""A crew tries every candidate once and whole, whatever becomes of its workers."""

import pickle
import threading
from dataclasses import replace

import pytest
import torch

from netadapt import errors
from netadapt.config import RunConfig, Workers, parse_workers, read_config, starter
from netadapt.config.check import check
from netadapt.config.run import Execution
from netadapt.errors import SettingsError, TrainingError, UnknownName, UsageError, WorkerError
from netadapt.runs import Job, Outcome, Phase, Progress, Stopwatch, Trial
from netadapt.workers import crew as crews
from netadapt.workers import opening
from netadapt.workers.bench import Bench, Failure
from netadapt.workers.crew import TRIES, Crew
from netadapt.workers.desks import LOSSES, Desk, Desks, SeatLost, WorkerLost
from netadapt.workers.patience import FACTOR, LEAST_S, MOST_S, Patience

JOB = Job({}, "digits", None, "l2", False, None, 4, 1, 0, "cpu", {})


def trial(index, rung=1, part=None):
    return Trial(JOB, 1, index, rung, f"group{index}", {}, {}, "weights", part=part)


def done(index, seconds=1.0, rung=1):
    return Outcome(index, rung, index / 100, {}, (Phase("tuning", seconds, 64, 32),))


class Scripted:
    """A worker whose words are given for each trial: a value is said, an error raised."""

    def __init__(self, script):
        self.script, self.ended = script, False

    def begin(self, trial):
        self.words = list(self.script(trial.index))

    def hear(self, timeout_s):
        if not self.words:
            threading.Event().wait(min(timeout_s, 0.01))
            return None
        word = self.words.pop(0)
        if isinstance(word, Exception):
            raise word
        return word

    def end(self):
        self.ended = True


class Office:
    """Desks where scripted workers sit, and a record of who was hired and tried where."""

    def __init__(self, **scripts):
        self.hired, self.tried, self.lock = [], [], threading.Lock()
        self.desks = Desks(Desk(name, self.hiring(name, s)) for name, s in scripts.items())

    def hiring(self, name, script):
        def told(index):
            with self.lock:
                self.tried.append((name, index))
            return script(index)

        def hire():
            worker = Scripted(told)
            self.hired.append((name, worker))
            return worker

        return hire


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(crews, "PULSE_S", 0.01)


def outcomes(office, indices, **given):
    warnings, news = [], []
    with Crew(office.desks, warn=warnings.append, notify=news.append, **given) as crew:
        results = {o.index: o for o in crew([trial(i) for i in indices])}
    assert all(worker.ended for _, worker in office.hired)
    return results, warnings, news


def works(index):
    return [Progress("fine-tune", 1, 4), done(index)]


def test_every_trial_is_tried_once_and_workers_are_kept_from_one_to_the_next():
    office = Office(a=works, b=works)
    results, warnings, news = outcomes(office, range(9))
    assert {i: o.accuracy for i, o in results.items()} == {i: i / 100 for i in range(9)}
    assert len(office.tried) == 9
    assert len(office.hired) <= 2
    assert warnings == []
    assert {n.worker for n in news} <= {"a", "b"}
    assert sum(n.what == "fine-tune" for n in news) == 9


def test_a_lost_worker_costs_its_trial_which_is_run_elsewhere():
    fallen = []

    def falls_once(index):
        if index == 2 and not fallen:
            fallen.append(index)
            return [Progress("fine-tune", 1, 4), WorkerLost("was ended by SIGKILL")]
        return works(index)

    office = Office(a=falls_once, b=falls_once)
    results, warnings, _ = outcomes(office, range(4))
    assert sorted(results) == [0, 1, 2, 3]
    assert not any(o.failed for o in results.values())
    (first, second) = [name for name, index in office.tried if index == 2]
    assert first != second
    assert warnings == [f"{first} was ended by SIGKILL, trying group2 in iteration 1."]


def test_a_worker_that_says_nothing_for_too_long_is_ended_and_its_trial_run_elsewhere():
    silent = []

    def hangs_once(index):
        if index == 1 and not silent:
            silent.append(index)
            return [Progress("fine-tune", 1, 4)]
        return works(index)

    office = Office(a=hangs_once, b=hangs_once)
    results, (warning,), _ = outcomes(office, range(3), patience=Patience(0.1))
    assert sorted(results) == [0, 1, 2]
    assert "gave no sign of life for 0.1 s and was ended, trying group1" in warning
    assert sum(worker.ended for _, worker in office.hired) >= 1


def test_a_trial_that_loses_every_worker_is_out_and_the_others_are_not():
    def poison(index):
        return [WorkerLost("ended by itself with exit code 3")] if index == 0 else works(index)

    office = Office(a=poison, b=poison, c=poison)
    results, warnings, _ = outcomes(office, range(5))
    assert sum(index == 0 for _, index in office.tried) == TRIES
    assert "group0: it was begun 3 times" in results[0].failed
    assert "exit code 3" in results[0].failed
    assert not any(results[i].failed for i in range(1, 5))
    assert len(warnings) == TRIES


def test_where_no_trial_can_be_tried_the_run_ends_and_nothing_is_said_to_have_failed():
    office = Office(a=lambda index: [WorkerLost("was ended by SIGKILL")])
    with pytest.raises(WorkerError, match=r"No candidate could be tried.*SIGKILL"):
        outcomes(office, range(2))


def test_a_desk_that_loses_every_worker_is_given_up_and_costs_no_candidate():
    office = Office(bad=lambda index: [WorkerLost("was ended by SIGKILL")], good=works)
    results, warnings, _ = outcomes(office, range(40))
    assert len(results) == 40
    assert not any(o.failed for o in results.values())
    assert sum(name == "bad" for name, _ in office.tried) <= LOSSES
    if len(warnings) == LOSSES:
        assert "no more is tried there" in warnings[-1]


def test_a_place_that_is_gone_costs_no_try_and_the_last_one_ends_the_run():
    gone = SeatLost("found no room on any node for 120 s")
    office = Office(gone=lambda index: [gone], good=works)
    results, _, _ = outcomes(office, range(6))
    assert not any(o.failed for o in results.values())
    assert sum(name == "gone" for name, _ in office.tried) <= 1
    with pytest.raises(WorkerError, match="last worker is lost: only found no room"):
        outcomes(Office(only=lambda index: [gone]), range(2))


def test_what_ends_a_run_in_its_own_process_ends_it_from_a_worker_too():
    office = Office(
        a=lambda i: [UsageError("The loss 'mine:loss' failed.")] if i == 1 else works(i)
    )
    with pytest.raises(UsageError, match="mine:loss"):
        outcomes(office, range(3))


def test_a_run_that_is_interrupted_ends_its_workers():
    office = Office(a=lambda index: [Progress("fine-tune", 1, 4)], b=works)

    def interrupt(news):
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        Crew(office.desks, notify=interrupt) as crew,
    ):
        list(crew([trial(i) for i in range(4)]))
    assert all(worker.ended for _, worker in office.hired)


def test_time_and_energy_of_candidates_side_by_side_add_up_to_what_passed():
    ticks = iter(range(100))
    office = Office(a=lambda index: [done(index, seconds=50.0)])
    watch = Stopwatch(clock=lambda: float(next(ticks)))
    results, _, _ = outcomes(office, range(3), watch=watch)
    # Each lap reads the clock twice, one tick apart; the worker's own 50 s would count twice what
    # two do at once.
    assert [p.seconds for o in results.values() for p in o.phases] == [1.0] * 3
    assert {(p.images, p.scored) for o in results.values() for p in o.phases} == {(64, 32)}


def test_a_candidate_goes_where_it_was_before_if_that_is_free():
    desks = Desks([Desk("a", None), Desk("b", None)])
    first, second = desks.take(0), desks.take(1)
    desks.give_back(first)
    desks.give_back(second)
    assert desks.take(1) is second
    assert desks.take(1) is first  # the other is taken


def test_patience_is_ten_times_the_longest_of_a_kind_and_generous_before():
    patience = Patience()
    assert patience.limit_s(trial(0)) == MOST_S
    patience.took(trial(0), done(0, seconds=30.0))
    patience.took(trial(1), done(1, seconds=20.0))
    assert patience.limit_s(trial(2)) == FACTOR * 30
    assert patience.limit_s(trial(2, rung=2)) == MOST_S  # of which nothing is known
    patience.took(trial(2, rung=0, part=(0, 500)), done(2, seconds=0.1, rung=0))
    assert patience.limit_s(trial(3, rung=0, part=(500, 1000))) == LEAST_S
    assert patience.limit_s(trial(3, rung=0, part=(1000, 2000))) == MOST_S
    assert Patience(5.0).limit_s(trial(0)) == 5.0


@pytest.mark.parametrize(
    "error",
    [
        UnknownName("model", "mobilnet", ["mobilenet_v1"]), TrainingError("It diverged."),
        SettingsError([errors.Fault("lr", "is nan.")]),
    ],
)  # fmt: skip
def test_an_error_of_ours_travels_with_its_class_and_words(error):
    arrived = pickle.loads(pickle.dumps(Failure.of(error))).error()
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.exit_code) == (str(error), error.exit_code)


def test_a_trial_is_computed_with_as_many_threads_as_the_run_has(monkeypatch):
    """Their number decides the last bits, so that it must not depend on where a trial is tried."""
    told = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    broken = replace(trial(0), job=replace(JOB, threads=3, data="no such data"))
    failure = Bench().tried(broken, lambda news: None)
    assert told == [3]
    assert failure.kind == "UnknownName"


def test_images_that_are_not_those_of_the_run_are_refused():
    job = replace(JOB, data="tests.examples:stripes", images="of another folder")
    failure = Bench().tried(replace(trial(0), job=job), lambda news: None)
    assert failure.kind == "DataError"
    assert "are not those of the run" in failure.text


def test_more_threads_than_cores_are_told(monkeypatch):
    monkeypatch.setattr(opening, "_cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert opening._crowded(Execution(workers="2")) == ""
    assert "4 workers of 2 threads each share 4 cores" in opening._crowded(Execution(workers="4"))
    assert "OMP_NUM_THREADS=1" in opening._crowded(Execution(workers="4"))
    assert opening._crowded(Execution("cuda", workers="4")) == ""


def test_an_error_of_nobody_travels_with_its_trace():
    try:
        raise ZeroDivisionError("division by zero")
    except ZeroDivisionError as error:
        failure = Failure.of(error)
    # This test is no installed package: it counts as the user's code.
    assert failure.kind == "UsageError"
    assert "test_crew.py" in failure.text
    internal = Failure.of(KeyError("x"))
    assert isinstance(internal.error(), RuntimeError)
    assert str(internal.error()).startswith("KeyError in a worker")


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        ("1", Workers(1)), ("2", Workers(2)), ("cuda", Workers(1, ("cuda",))),
        ("cuda:0, cuda:1", Workers(2, ("cuda:0", "cuda:1"))), ("ray", Workers(0, cluster="auto")),
        ("ray://head:10001", Workers(0, cluster="ray://head:10001")),
    ],
)  # fmt: skip
def test_workers_are_a_number_gpus_or_a_cluster(text, workers):
    assert parse_workers(text) == workers


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "1.5", "gpu", "cuda:", "cuda:0,cpu", "ray://head", "ray:", "", "99999", "²", "two"],
)
def test_workers_that_are_none_of_these_are_told_before_anything_runs(text):
    config = RunConfig("m", "d", (), execution=Execution(workers=text))
    (fault,) = [f for f in check(config, budgeted=False) if f.setting == "execution.workers"]
    assert fault.text.startswith(f"is {text!r}; give a number of processes")


def test_workers_are_read_from_toml_as_a_number_or_a_text():
    def read(workers):
        values = {"model": "m", "data": "d", "execution": {"workers": workers}}
        return read_config(values, budgeted=False).execution.workers

    assert (read(2), read("cuda:0,cuda:1")) == ("2", "cuda:0,cuda:1")
    for wrong in (True, 1.5, [2]):
        with pytest.raises(SettingsError, match=r"execution\.workers is .* must be a number of"):
            read(wrong)
    assert 'workers = "1"' in starter()


def test_who_tries_candidates_is_no_part_of_what_a_run_is():
    two = RunConfig("m", "d", (), execution=Execution(workers="2", trial_limit_s=9.0))
    assert two.result_json() == RunConfig("m", "d", ()).result_json()
    on_gpus = Execution(workers="cuda:1,cuda:0")
    assert on_gpus.placed().trainer == "cuda:1"  # long trainings too
    assert Execution("cuda:0", workers="cuda:1").placed().trainer == "cuda:0"

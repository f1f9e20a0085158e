import copy
import errno
import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

from netadapt import files
from netadapt.config import RunConfig
from netadapt.errors import RunError, SettingsChanged
from netadapt.files import write_atomically
from netadapt.models import restore, save_weights
from netadapt.runs import Outcome, Phase, Record, Run, Step, StepCost, read_journal
from netadapt.runs.events import (
    BoundSet,
    Continued,
    Group,
    Started,
    StepTaken,
    TableMeasured,
    Traced,
    Tried,
    Warned,
    from_json,
    to_json,
)
from netadapt.runs.journal import setting_differences
from netadapt.units import parse_budget

STEP = Step(0, "", {"g": (0, 2)}, {"latency": StepCost(1.5, 1.0, 1.0)}, 0.9)


def started(**settings):
    return Started(2, settings, {"trainer": "cpu"}, {"netadapt": "1"})


def test_events_survive_reopening(tmp_path):
    with Run(tmp_path / "run", started(seed=1)) as run:
        run.commit(STEP)
    with Run(tmp_path / "run", started(seed=1)) as run:
        assert run.steps == [STEP]
        assert run.steps[0].sizes == {"g": 2}
        assert run.steps[0].costs["latency"].bias == 1.5


def test_a_torn_last_line_is_dropped(tmp_path):
    with Run(tmp_path / "run", started()) as run:
        run.commit(STEP)
    path = tmp_path / "run" / "journal.jsonl"
    whole = path.read_bytes()
    for cut in range(1, 40, 7):
        path.write_bytes(whole + whole[-50:-cut])
        with Run(tmp_path / "run", started()) as run:
            assert run.steps == [STEP]
            run.append(Warned("after"))
        kinds = [type(r.event) for r in read_journal(tmp_path / "run")]
        assert kinds == [Started, StepTaken, Continued, Warned]
        path.write_bytes(whole)


def test_a_damaged_line_is_named(tmp_path):
    with Run(tmp_path / "run", started()) as run:
        run.commit(STEP)
    path = tmp_path / "run" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"event":"Started"', b'{"event":Started"'))
    with pytest.raises(RunError, match="damaged at line 1"):
        Run(tmp_path / "run", started())


def test_a_run_that_ended_before_any_work_may_be_started_with_other_settings(tmp_path):
    with Run(tmp_path / "run", started(seed=1)) as run:
        run.warn("the machine is busy")
        run.warn("the machine is busy")
        assert len(run.records) == 2  # once is enough
    with Run(tmp_path / "run", started(seed=2)) as run:
        assert [r.event.settings for r in run.records] == [{"seed": 2}]


def test_changed_settings_are_refused_with_the_difference(tmp_path):
    with Run(tmp_path / "run", started(seed=1, recipe={"lr": 0.1})) as run:
        run.commit(STEP)
    with pytest.raises(SettingsChanged, match=r"recipe\.lr: 0\.1 -> 0\.2"):
        Run(tmp_path / "run", started(seed=1, recipe={"lr": 0.2}))
    with Run(tmp_path / "run", started(seed=1, recipe={"lr": 0.1})):
        pass  # the refusal left the run usable


def test_fresh_starts_over_and_keeps_the_old_run_aside(tmp_path):
    with Run(tmp_path / "run", started(seed=1)) as run:
        run.commit(STEP)
    with Run(tmp_path / "run", started(seed=2), fresh=True) as run:
        assert run.steps == []
    assert json.loads((tmp_path / "run.old" / "journal.jsonl").read_text().splitlines()[1])


OPEN = """
import sys
from pathlib import Path
from netadapt.errors import RunError
from netadapt.runs import Run
from netadapt.runs.events import Started
try:
    Run(Path(sys.argv[1]), Started(2, {}, {"trainer": "cpu"}, {"netadapt": "1"}))
except RunError as error:
    sys.exit(str(error))
"""


def test_a_second_writer_is_refused(tmp_path):
    command = [sys.executable, "-c", OPEN, tmp_path / "run"]
    with Run(tmp_path / "run", started()):
        second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 1
    assert "Another process" in second.stderr


def test_weights_round_trip_and_a_damaged_file_is_named(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[2].weight = model[1].weight  # tied
    other = copy.deepcopy(model)
    torch.nn.init.zeros_(other[1].weight)
    with Run(tmp_path / "run", started()) as run:
        save_weights(model, run.weights_path("x"))
        restore(other, run.weights_path("x"))
        assert all(
            torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
        )
        assert other[2].weight is other[1].weight
        run.weights_path("x").write_bytes(b"no")
        with pytest.raises(RunError, match=r"x\.safetensors"):
            restore(other, run.weights_path("x"))


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match="The disk is full: free some space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_program_s_journal_is_refused(tmp_path):
    path = tmp_path / "run" / "journal.jsonl"
    path.parent.mkdir()
    for text in ('{"event": "start"}\n', "[1]\n", '"x"\n', "3\n"):
        path.write_text(text)
        with pytest.raises(RunError, match=r"another program|damaged at line 1"):
            read_journal(path.parent)


EVENTS = [
    started(seed=1),
    Traced(
        (Group("a", 8, 1, ""),), (("fc", "is the output"),), 10, 20, 8, "top-1", True, {"train": 5}
    ),
    BoundSet("phone:latency", "latency", "s", "phone", 0.5, 1.0),
    Tried(
        1, "a", {"a": 4}, {"latency": 0.5},
        Outcome(0, 1, 0.5, {"a": (0, 1)}, (Phase("tuning", 1.5, 9),)),
    ),
    StepTaken(STEP),
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_read_as_they_were_written(event):
    record = Record(12.5, event)
    assert from_json(json.loads(json.dumps(to_json(record)))) == record


@pytest.mark.parametrize(
    "change", [{"surplus": 1}, {"seconds": "long"}, {"event": "Nothing"}, {"time": None}]
)
def test_what_is_no_event_is_refused(change):
    data = {**to_json(Record(1.0, TableMeasured("phone", 3, 1.0))), **change}
    with pytest.raises(ValueError, match="no record of a run"):
        from_json(data)


def test_another_trainer_may_continue_a_run(tmp_path):
    with Run(tmp_path / "run", started(seed=1)) as run:
        run.commit(STEP)
    with Run(tmp_path / "run", replace(started(seed=1), execution={"trainer": "cuda"})) as run:
        assert run.last(Continued).execution == {"trainer": "cuda"}


def test_changed_budgets_are_told_as_one_writes_them():
    old, new = ([asdict(parse_budget(text))] for text in ("60%", "size=2MB"))
    told = setting_differences({"config": {"budgets": old, "seed": 0}},
                               {"config": {"budgets": new, "seed": 1}})  # fmt: skip
    assert told == ["config.budgets: 60% -> 2MB", "config.seed: 0 -> 1"]


def test_settings_that_a_run_did_not_know_yet_are_their_defaults():
    """A run that an earlier version began is continued by a later one, which knows more."""
    old = {"config": {"seed": 0, "tuning": {"recipe": {"lr": None}}, "devices": {"phone": "a:"}}}
    unsaid = {"config": {"seed": 0, "tuning": {"recipe": {"lr": 0.1, "ema": 0.0}}}}

    def changed(**recipe):
        new = {"config": {**old["config"], "tuning": {"recipe": {"lr": None, **recipe}}}}
        return setting_differences(old, new, unsaid)

    assert changed() == changed(ema=0.0) == []
    assert changed(ema=0.9) == ["config.tuning.recipe.ema: 0.0 -> 0.9"]
    assert changed(lr=0.1) == ["config.tuning.recipe.lr: null -> 0.1"]  # which it did know
    unsaid = RunConfig.unsaid()
    assert not {"devices", "budgets", "model"} & unsaid.keys()
    assert unsaid["tuning"]["recipe"]["distill"] is None


def test_a_run_of_the_first_format_is_told_as_such_and_not_as_damaged(tmp_path):
    line = '{"event":"run","format":1,"settings":{"config":{"model":"mobilenet_v1"}}}\n'
    (tmp_path / "journal.jsonl").write_text(line + '{"event":"step"}\n')
    with pytest.raises(RunError, match="was written by another program or version"):
        read_journal(tmp_path)

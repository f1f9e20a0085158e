import copy
import errno
import json
import multiprocessing

import pytest
import torch

from netadapt import files
from netadapt.errors import RunError, SettingsChanged
from netadapt.files import write_atomically
from netadapt.runs import Run, Step, read_journal

STEP = Step(0, "", {"g": (0, 2)}, 1.0, 1.0, 1.5, 0.9)


def test_events_survive_reopening(tmp_path):
    with Run(tmp_path / "run", {"seed": 1}) as run:
        run.commit(STEP)
    with Run(tmp_path / "run", {"seed": 1}) as run:
        assert run.steps() == [STEP]
        assert run.steps()[0].sizes == {"g": 2}
        assert run.steps()[0].bias == 1.5


def test_a_torn_last_line_is_dropped(tmp_path):
    with Run(tmp_path / "run", {}) as run:
        run.commit(STEP)
    path = tmp_path / "run" / "journal.jsonl"
    whole = path.read_bytes()
    for cut in range(1, 40, 7):
        path.write_bytes(whole + whole[-50:-cut])
        with Run(tmp_path / "run", {}) as run:
            assert run.steps() == [STEP]
            run.append("after")
        assert [e["event"] for e in read_journal(tmp_path / "run")] == ["run", "step", "after"]
        path.write_bytes(whole)


def test_a_damaged_line_is_named(tmp_path):
    with Run(tmp_path / "run", {}) as run:
        run.commit(STEP)
    path = tmp_path / "run" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"event":"run"', b'{"event":run"'))
    with pytest.raises(RunError, match="damaged at line 1"):
        Run(tmp_path / "run", {})


def test_changed_settings_are_refused_with_the_difference(tmp_path):
    with Run(tmp_path / "run", {"seed": 1, "recipe": {"lr": 0.1}}):
        pass
    with pytest.raises(SettingsChanged, match=r"recipe\.lr: 0\.1 -> 0\.2"):
        Run(tmp_path / "run", {"seed": 1, "recipe": {"lr": 0.2}})
    with Run(tmp_path / "run", {"seed": 1, "recipe": {"lr": 0.1}}):
        pass  # the refusal left the run usable


def test_fresh_starts_over_and_keeps_the_old_run_aside(tmp_path):
    with Run(tmp_path / "run", {"seed": 1}) as run:
        run.commit(STEP)
    with Run(tmp_path / "run", {"seed": 2}, fresh=True) as run:
        assert run.steps() == []
    assert json.loads((tmp_path / "run.old" / "journal.jsonl").read_text().splitlines()[1])


def _try_to_open(folder, answers):
    try:
        Run(folder, {})
    except RunError as error:
        answers.put(str(error))
    else:
        answers.put("opened")


def test_a_second_writer_is_refused(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    with Run(tmp_path / "run", {}):
        process = context.Process(target=_try_to_open, args=(tmp_path / "run", answers))
        process.start()
        assert "Another process" in answers.get(timeout=60)
        process.join()


def test_weights_round_trip_and_a_damaged_file_is_named(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[2].weight = model[1].weight  # tied
    other = copy.deepcopy(model)
    torch.nn.init.zeros_(other[1].weight)
    with Run(tmp_path / "run", {}) as run:
        run.save_weights("x", model)
        run.restore(other, "x")
        assert all(
            torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
        )
        assert other[2].weight is other[1].weight
        run.weights_path("x").write_bytes(b"no")
        with pytest.raises(RunError, match=r"x\.safetensors"):
            run.restore(other, "x")


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

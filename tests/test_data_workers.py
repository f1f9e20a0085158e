"""Images and examples are the same, and in the same order, whoever reads them."""

import itertools
import math
import multiprocessing
import os
import pickle
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from PIL import Image
from torch import nn

from netadapt import data
from netadapt.config import Recipe
from netadapt.data import DatasetSplit, skipped
from netadapt.data.file_split import FileSplit
from netadapt.data.loading import Pace, read, workers_for
from netadapt.data.splits import ArraySplit, Pixels
from netadapt.data.views import View
from netadapt.errors import DataError
from netadapt.training import Checkpoint, Course, fine_tune
from tests.children import CONTEXT


class Noisy:
    """Examples that are drawn from every global random number generator there is."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        drawn = [random.random(), np.random.random(), torch.rand(()).item()]
        return torch.tensor([index, *drawn]), index


def jitter(inputs: torch.Tensor, targets: torch.Tensor, random: torch.Generator) -> data.Batch:
    return inputs + torch.rand(inputs.shape, generator=random), targets


def noisy(workers: int | None) -> DatasetSplit:
    return DatasetSplit(Noisy(), augment=jitter, workers=workers)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder, drawn = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(40)]
    for path in paths:
        size = drawn.integers(20, 60, 2)
        Image.fromarray(drawn.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return paths


def split_of(kind: str, files: list[Path], workers: int | None) -> data.Split:
    targets = torch.arange(len(files))
    if kind == "examples":
        return noisy(workers)
    if kind == "array":
        images = torch.arange(40 * 3 * 64).to(torch.uint8).view(40, 3, 8, 8)
        return ArraySplit(images, targets, Pixels(pad=2))
    view = View(parts=kind == "parts", resize=None if kind == "files" else 18)
    return FileSplit(files, targets, 16, Pixels(pad=2), view, workers, hold=kind == "held")


KINDS = ["examples", "files", "held", "parts", "array"]


def lists(batches: Iterator[data.Batch]) -> list[tuple[object, object]]:
    return [(inputs.tolist(), targets.tolist()) for inputs, targets in batches]


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_batches_bit_for_bit(kind, files, workers):
    alone, helped = (split_of(kind, files, n) for n in (0, workers))
    arguments = {"batch_size": 19, "seed": 3, "epoch": 2, "augment": True}
    for shuffle in (True, False):
        one = lists(alone.batches(**arguments, shuffle=shuffle))
        assert one == lists(helped.batches(**arguments, shuffle=shuffle))
        assert one == lists(helped.batches(**arguments, shuffle=shuffle))  # now held in memory
        assert len(one) == (len(alone) // 19 if shuffle else -(-len(alone) // 19))
    assert one != lists(alone.batches(19, seed=3, epoch=3, augment=True))
    assert lists(alone.batches(19)) == lists(helped.batches(19))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_that_begins_midway_is_the_rest_of_the_whole_one(kind, files, workers):
    split = split_of(kind, files, workers)
    arguments = {"batch_size": 9, "seed": 1, "shuffle": True, "augment": True}
    whole = lists(split.batches(**arguments))
    for first in (0, 1, 2, len(whole)):
        assert lists(skipped(split.batches(**arguments), first)) == whole[first:]
    begun = split.batches(**arguments)
    next(begun)
    assert lists(skipped(begun, 1)) == whole[2:]


def test_what_was_before_the_place_is_not_read(files):
    broken = [files[0].with_name("none.jpg")] * 20 + files[20:]
    split = FileSplit(broken, torch.arange(40), 16, workers=0)
    inputs, targets = next(skipped(split.batches(10), 2))
    assert targets.tolist() == list(range(20, 30))
    assert torch.equal(inputs, next(iter(FileSplit(files[20:], targets, 16).batches(10)))[0])
    with pytest.raises(DataError, match=r"none\.jpg cannot be read"):
        next(split.batches(10))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["examples", "parts"])
def test_reading_leaves_the_global_random_numbers_as_they_were(kind, files, workers):
    split = split_of(kind, files, workers)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    list(split.batches(9, augment=True))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]


def test_the_holdout_is_decoded_once(files, monkeypatch):
    split = split_of("held", files, 0)
    first = lists(split.batches(7, shuffle=True))
    seen = sum(len(targets) for _, targets in first)
    decoded: list[int] = []
    from netadapt.data import file_split

    real = file_split.decode
    monkeypatch.setattr(file_split, "decode", lambda *a: decoded.append(1) or real(*a))
    assert lists(split.batches(7, shuffle=True)) == first
    assert not decoded
    list(split.batches(7))
    assert len(decoded) == 40 - seen == 5


class Faulty:
    """Fails at one example."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index == 35:
            if self.error is None:
                os._exit(3)
            raise self.error  # the line that is told
        return torch.zeros(2), index


def line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line and "raise" in line)


@pytest.mark.parametrize("error", [ValueError("no mask"), SystemExit(0), KeyError("mask")])
def test_an_error_in_a_worker_is_told_with_the_users_file_and_line(error):
    with pytest.raises(DataError) as told:
        list(DatasetSplit(Faulty(error), workers=2).batches(4))
    assert f"{__file__}, line {line_of('the line that is told')}: {type(error).__name__}" in str(
        told.value
    )


def test_a_worker_that_is_killed_ends_the_pass_in_a_sentence():
    with pytest.raises(DataError, match=r"has ended before its time .* fewer data workers"):
        list(DatasetSplit(Faulty(None), workers=2).batches(4))


class Uneven:
    """Examples of which the later ones are of another size, or none at all."""

    def __init__(self, odd: object) -> None:
        self.odd = odd

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> tuple[object, int]:
        return (torch.zeros(3, 4) if index < 25 else self.odd), index


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (
            torch.zeros(3, 5),
            r"\(\[3, 4\], int\) at 20, and \(\[3, 5\], int\) at 25; make them alike",
        ),
        (None, r"\(\[3, 4\], int\) at 20, and \(NoneType, int\) at 25"),
    ],
)
def test_examples_that_make_no_batch_are_told(workers, odd, said):
    """In a process of its own torch says something else of them."""
    split = DatasetSplit(Uneven(odd), workers=workers)
    with pytest.raises(DataError, match=said):
        list(split.batches(20))


def test_an_image_that_a_worker_cannot_read_is_named(files, tmp_path):
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(files[0].read_bytes()[:-200])
    split = FileSplit([*files[:39], cut], torch.arange(40), 16, workers=2)
    with pytest.raises(DataError, match=r"Image .*cut\.jpg cannot be read: .*truncated"):
        list(split.batches(4))


def test_a_pass_that_is_given_up_ends_its_workers(files):
    batches = split_of("parts", files, 2).batches(4, augment=True)
    assert len(list(itertools.islice(batches, 5))) == 5
    assert multiprocessing.active_children()
    del batches
    assert not multiprocessing.active_children()


class Slow:
    """Its second example takes a minute."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[int, int]:
        time.sleep(60 if index else 0)
        return index, index


def read_locked(path: Path, reading: Path) -> None:
    lock = FileLock(path)
    lock.acquire()
    batches = DatasetSplit(Slow(), workers=2).batches(1)
    next(batches)
    reading.touch()
    next(batches)


def test_workers_end_with_a_process_that_is_killed_and_so_does_its_lock(tmp_path):
    path, reading = tmp_path / "lock", tmp_path / "reading"
    process = CONTEXT.Process(target=read_locked, args=(path, reading))
    process.start()
    while process.is_alive() and not reading.exists():
        time.sleep(0.05)
    with pytest.raises(Timeout):
        FileLock(path).acquire(timeout=1.5)  # by then both are reading
    process.kill()
    process.join()
    FileLock(path).acquire(timeout=20)


def test_as_many_workers_as_it_takes_and_one_core_is_left():
    assert workers_for(0.0001, 64) == 0  # cheaper than to hand it over
    assert workers_for(0.001, 64) == 4  # 4 x 1000 images/s
    assert workers_for(0.01, 8) == 7
    assert workers_for(0.01, 64) == 16
    assert workers_for(0.01, 1) == 0


def test_a_data_set_that_holds_a_file_open_is_read_by_one_process_by_default(files):
    class Opened(Noisy):
        def __init__(self) -> None:
            self.file = files[0].open("rb")

    opened = Opened()
    try:
        assert not DatasetSplit(opened)._portable
    finally:
        opened.file.close()
    assert DatasetSplit(Noisy())._portable


def test_what_the_default_takes_hangs_on_the_time_of_an_example():
    pace = Pace()
    assert list(read(lambda piece: piece * 2, [1, 2, 3], workers=None, pace=pace, size=100)) == [
        2, 4, 6,
    ]  # fmt: skip
    assert pace.seconds is not None
    assert pace.seconds < 0.001
    assert list(read(str, [], workers=4, pace=pace, size=1)) == []


def test_a_split_goes_to_another_process(files):
    for kind in KINDS:
        split = split_of(kind, files, 0)
        again = pickle.loads(pickle.dumps(split))
        assert lists(again.batches(9, augment=True)) == lists(split.batches(9, augment=True))


def test_a_training_cut_off_midway_ends_the_same_whoever_reads(files, tmp_path):
    recipe = Recipe(lr=0.1, batch_size=9)

    def course(checkpoint: Checkpoint | None, until: int | None = None) -> Course:
        return Course(recipe, steps=9, seed=1, until=until, checkpoint=checkpoint)

    def trained(*parts: tuple[int, Course]) -> dict[str, torch.Tensor]:
        for workers, part in parts:
            torch.manual_seed(0)  # each part is a process of its own, that begins alike
            net = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.Dropout(), nn.Flatten(),
                                nn.Linear(64, 2))  # fmt: skip
            split = replace(split_of("parts", files, workers), targets=torch.arange(40) % 2)
            fine_tune(net, data.Task("files", split, split, split, 2, (3, 16, 16)), part)
        return net.state_dict()

    whole = trained((0, course(None)))
    place = Checkpoint(tmp_path / "place", math.inf)
    halves = trained((2, course(place, until=6)), (1, course(place)))  # 4 steps are an epoch
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def own_task() -> data.Task:
    split = noisy(None)
    return data.Task("noisy", split, replace(split, workers=5), split, 1, (4,))  # type: ignore[arg-type]


def test_the_setting_is_handed_to_a_users_own_splits_that_say_nothing():
    task = data.load("tests.test_data_workers:own_task", reading=data.Reading(workers=3))
    assert (task.train.workers, task.holdout.workers, task.test.workers) == (3, 5, 3)
    assert data.load("tests.test_data_workers:own_task").train.workers is None
    with pytest.raises(DataError, match="has no parameter named limit"):
        data.load("tests.test_data_workers:own_task", reading=data.Reading(limit=0.5))

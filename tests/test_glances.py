"""A training is looked at on holdout images: seldom, and without leaving a trace in it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from netadapt.config import Recipe
from netadapt.data import ArraySplit, Pixels, Task
from netadapt.runs.progress import Glance, Progress, TrainingNews
from netadapt.runs.watch import Watch
from netadapt.training import Checkpoint, Course, accuracy, fine_tune
from netadapt.training.averaging import Average
from tests.test_checkpoint import model, values

RECIPE = Recipe(lr=0.05, batch_size=50)


def noise(images, holdout):
    """A task of so many images; small enough that thousands are learned from in a moment."""

    def split(count, seed):
        random = torch.Generator().manual_seed(seed)
        pictures = torch.rand(count, 3, 4, 4, generator=random)
        return ArraySplit(pictures, torch.arange(count) % 2, Pixels((0.5,) * 3, (0.25,) * 3, pad=1))

    return Task("noise", split(images, 0), split(holdout, 1), split(8, 2), 2, (3, 4, 4))


def trained(task, recipe=RECIPE, looked_at=True, **course):
    """A network that was trained, what came of the looks at it, and the result."""
    net, seen = model(), []
    glance = seen.append if looked_at else None
    return net, seen, fine_tune(net, task, Course(recipe, seed=3, **course), glance=glance)


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, ema=0.8)], ids=["plain", "averaged"])
def test_a_training_that_is_looked_at_has_the_same_bits(recipe):
    task = noise(1000, 60)
    net, seen, result = trained(task, recipe, steps=200)
    other, unseen, plain = trained(task, recipe, looked_at=False, steps=200)
    assert (len(seen), result.scored, len(unseen), plain.scored) == (3, 180, 0, 0)
    assert result.losses == plain.losses
    for name, value in values(net).items():
        assert torch.equal(value, values(other)[name]), name


def test_looks_come_as_soon_as_two_images_in_a_hundred_allow():
    _, seen, _ = trained(noise(1000, 60), steps=200)
    assert [(glance.step, glance.images) for glance in seen] == [(60, 60), (120, 60), (180, 60)]
    seconds = [glance.seconds for glance in seen]
    assert seconds == sorted(seconds)


def test_a_short_training_looks_at_a_part_of_the_holdout():
    # 2 % of 20,000 images are 400: two looks at 128, in whole batches of 50 at 100 each time.
    _, seen, _ = trained(noise(1000, 900), steps=400)
    assert [(glance.step, glance.images) for glance in seen] == [
        (100, 100), (200, 100), (300, 100),
    ]  # fmt: skip


def test_what_is_told_is_the_accuracy_of_the_network_at_that_step(tmp_path):
    task = noise(1000, 60)
    _, (glance,), _ = trained(task, steps=61)
    place = Checkpoint(tmp_path / "place")
    there, _, _ = trained(task, looked_at=False, steps=61, until=60, checkpoint=place)
    assert (glance.step, glance.accuracy) == (60, accuracy(there, task))


def test_an_average_is_applied_for_a_while_and_leaves_the_weights_as_they_were():
    net = nn.Linear(1, 1, bias=False)
    average = Average(net, 0.5)
    with torch.no_grad():
        before = net.weight.clone()
        net.weight += 1
    average.update(0)  # decay (1 + 0) / (10 + 0): nine tenths of the way
    present = net.weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(net.weight.detach(), before + 0.9)
    assert torch.equal(net.weight.detach(), present)


def test_a_metric_that_is_no_number_is_passed_over():
    task = replace(noise(1000, 60), metric=lambda pairs: float("nan") * len(list(pairs)))
    _, seen, result = trained(task, steps=61)
    assert seen == []
    assert result.scored == 60


def test_a_line_tells_what_was_scored_last_and_does_not_count_its_time():
    told = []
    news = TrainingNews(told.append, "train", 32)
    news.step(10, 100, 2.0)
    news.glance(Glance(20, 0.9141, 500, seconds=3.0))
    news.step(30, 100, 0.5)
    assert told == [
        Progress("train", 10, 100, 2.0, 320),
        Progress("train", 30, 100, 0.5, 960, glance=Glance(20, 0.9141, 500, seconds=3.0)),
    ]
    watch = Watch()
    watch.note(told[0], 50.0)
    watch.note(told[1], 63.0)
    # 20 steps and 640 images in 13 s, 3 of which went by in scoring.
    line = "train 30 of 100, loss 0.5, holdout 91.41% at 20, 64 images/s, 35 s left"
    assert watch.line(63.0) == line

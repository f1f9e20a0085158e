"""Gradients taken part by part are those of the whole batch."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netadapt.config import Recipe, RunConfig, Tuning
from netadapt.config.check import check
from netadapt.errors import UsageError
from netadapt.training import Course, fine_tune, rehearse
from netadapt.training.accumulation import backward, divided
from tests.examples import stripes


def plain_net():
    """Without batch normalization, which looks at all images of a batch together."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 2))


@pytest.mark.parametrize(("images", "parts"), [(8, 4), (7, 3), (5, 2), (3, 100), (2, 2), (1, 4)])
def test_parts_are_of_two_images_or_more_and_add_up_to_the_gradient_of_all(images, parts):
    model = plain_net()
    batch = torch.rand(images, 3, 16, 16), torch.arange(images) % 2
    sizes = [len(inputs) for _, (inputs, _) in divided(batch, parts)]
    assert sum(sizes) == images
    assert min(sizes) >= min(2, images)
    assert max(sizes) - min(sizes) <= 1

    def loss_of(inputs, targets):
        return F.cross_entropy(model(inputs), targets)

    loss = backward(loss_of, batch, parts)
    added = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    whole = backward(loss_of, batch)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(added, [parameter.grad for parameter in model.parameters()])


def test_a_training_in_parts_ends_where_one_of_whole_batches_does():
    ends = []
    for accumulate in (1, 4):
        model = plain_net()
        recipe = Recipe(lr=0.05, batch_size=32, accumulate=accumulate)
        result = fine_tune(model, stripes(), Course(recipe, steps=6, seed=1))
        assert result.images_seen == 6 * 32
        ends.append((result.losses, list(model.parameters())))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-5)


def test_tuples_and_tables_of_tensors_are_divided_and_anything_else_is_refused():
    inputs = torch.arange(4.0)
    batch = ((inputs, inputs), {"mask": inputs, "class": inputs})
    parts = [part for _, part in divided((inputs, batch), 2)]
    assert parts[1][1][0][0].tolist() == [2, 3]
    assert parts[1][1][1]["class"].tolist() == [2, 3]
    for wrong in ([inputs, inputs], 3, torch.rand(5), torch.tensor(1.0)):
        with pytest.raises(UsageError, match="cannot be divided"):
            list(divided((inputs, wrong), 2))


class Listed:
    """Images whose targets are lists, as those of a detector."""

    def __init__(self, split):
        self.split, self.fingerprint = split, split.fingerprint

    def __len__(self):
        return len(self.split)

    def batches(self, *args, **kwargs):
        return ((images, [targets]) for images, targets in self.split.batches(*args, **kwargs))


def test_a_task_whose_batches_cannot_be_divided_is_refused_before_anything_runs():
    task = stripes()
    listed = replace(task, train=Listed(task.train), loss=lambda o, t: F.cross_entropy(o, t[0]))
    rehearse(plain_net(), listed, Recipe())
    with pytest.raises(UsageError, match="holds a list"):
        rehearse(plain_net(), listed, Recipe(accumulate=2))


def test_a_number_of_parts_is_one_or_more():
    for accumulate in (0, -1):
        tuning = Tuning(recipe=Recipe(accumulate=accumulate))
        (fault,) = check(RunConfig("m", "d", (), tuning=tuning), budgeted=False)
        assert str(fault) == f"tuning.recipe.accumulate is {accumulate}; it must be at least 1."

"""The long fine-tune of a run never ends with less than it began with."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from netadapt.assembly import Source, assemble
from netadapt.config import Recipe, RunConfig, Tuning
from netadapt.data import ArraySplit
from netadapt.long_training import LongTraining
from netadapt.platforms import open_platform
from netadapt.pruning.surgery import shrink
from netadapt.runs import Run, Stopwatch
from netadapt.runs.events import Started, Warned
from netadapt.search.fleet import Device
from netadapt.training import Course, accuracy, fine_tune
from netadapt.units import parse_budget

RECIPE = Recipe(lr=0.05, batch_size=32)


@pytest.fixture
def subject():
    """A network that has learned to tell stripes apart."""
    found = assemble(Source("tests.examples:small_net", data="tests.examples:stripes"))
    fine_tune(found.module, found.data, Course(RECIPE, steps=12))
    assert accuracy(found.module, found.data, "holdout") == 1.0
    return found


def trained(subject, folder, model, epochs=3.0):
    """What a long training of the model came to, and what was said of it."""
    config = RunConfig(
        subject.name, "stripes", (parse_budget("50%"),), tuning=Tuning(recipe=RECIPE)
    )  # fmt: skip
    platform = open_platform("synthetic:")
    fleet = SimpleNamespace(
        devices=(Device("synthetic:", platform, platform.describe()),), watch=Stopwatch()
    )
    with Run(folder, Started(2, {}, {}, {})) as run:
        phase = LongTraining(config, subject, fleet, run)(
            model, epochs, seed=0, what="long fine-tune", name="adapted"
        )
        said = [r.event.text for r in run.records if isinstance(r.event, Warned)]
    return phase, said, load_file(folder / "weights" / "adapted.safetensors")


def misled(subject):
    """The same, with every label for training wrong: whatever is learned does harm."""
    train = subject.data.train
    wrong = ArraySplit(train.images, 1 - train.targets, train.pixels)
    return replace(subject, task=replace(subject.data, train=wrong))


def test_a_fine_tune_that_does_harm_is_undone_and_told(subject, tmp_path):
    model = shrink(subject.module, subject.network, {})
    phase, said, weights = trained(misled(subject), tmp_path / "run", model)
    assert accuracy(model, subject.data, "holdout") == 1.0
    for name, tensor in subject.module.state_dict().items():
        assert torch.equal(weights[name], tensor)
        assert torch.equal(model.state_dict()[name], tensor)
    (text,) = said
    assert "from 100.00% before it" in text
    assert (phase.images, phase.scored) == (
        3 * 128,
        3 * 128 + 2 * 32,
    )  # of the teacher, of the holdout


def test_a_fine_tune_that_does_none_is_kept(subject, tmp_path):
    model = shrink(subject.module, subject.network, {})
    _, said, weights = trained(subject, tmp_path / "run", model)
    assert not said
    assert not torch.equal(weights["head.weight"], subject.module.head.weight)


def test_the_unpruned_network_is_trained_whatever_it_could_before(subject, tmp_path):
    wrong = misled(subject)
    phase, said, _ = trained(wrong, tmp_path / "run", wrong.module)
    assert (said, phase.scored) == ([], 0)
    assert accuracy(wrong.module, subject.data, "holdout") < 0.5

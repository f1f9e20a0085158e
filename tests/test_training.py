import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import googlenet

from netadapt.config import Recipe, Tuning
from netadapt.data import ArraySplit, Task
from netadapt.data.splits import Pixels
from netadapt.errors import DataError, DeviceError, TrainingError, UsageError
from netadapt.training import (
    Course,
    accuracy,
    fine_tune,
    open_trainer,
    recalibrate_bn,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps of a millisecond lose more than they gain by threads on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stripes(count: int, *, seed: int) -> ArraySplit:
    """Noisy 8x8 images: class 0 is bright on the left, class 1 on the right."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.rand(count, 3, 8, 8, generator=random) * 0.5
    images[labels == 0, :, :, :4] += 0.4
    images[labels == 1, :, :, 4:] += 0.4
    return ArraySplit(images, labels, Pixels((0.45,) * 3, (0.25,) * 3, pad=1, flip=False))


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(
        "stripes", stripes(64, seed=0), stripes(32, seed=1), stripes(32, seed=2), 2, (3, 8, 8)
    )


def small(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(128, 2),
        )  # fmt: skip


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


RECIPE = Recipe(lr=0.05, batch_size=16)


def test_training_learns(task):
    model = small()
    assert accuracy(model, task) < 0.9
    result = fine_tune(model, task, Course(RECIPE, epochs=8))
    assert accuracy(model, task, "test") > 0.95
    assert result.losses[-1] < result.losses[0] / 2
    assert len(result.losses) == 8 * 64 / 16
    assert result.images_seen == 8 * 64
    assert result.seconds > 0


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, bf16=True, clip_norm=1.0)])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(task, recipe):
    one, same, other = small(), small(), small()
    state = torch.get_rng_state()
    fine_tune(one, task, Course(recipe, steps=6, seed=1))
    torch.rand(7)  # what the process drew before does not matter
    torch.set_rng_state(state)
    fine_tune(same, task, Course(recipe, steps=6, seed=1))
    fine_tune(other, task, Course(recipe, steps=6, seed=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(one, same)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_a_step_is_nesterov_sgd_with_decay_of_weights_alone(task):
    model, twin = small().eval(), small()
    twin[6].eval()
    model[6].p = 0.0
    recipe = Recipe(lr=0.1, batch_size=64, weight_decay=0.5, warmup=0.0, augment=False)
    fine_tune(model, task, Course(recipe, steps=1, seed=0))
    inputs, targets = next(iter(task.batches("train", batch_size=64, shuffle=True)))
    F.cross_entropy(twin(inputs), targets).backward()
    for (name, after), before in zip(model.named_parameters(), twin.parameters(), strict=True):
        grad = before.grad + (0.5 * before if before.ndim > 1 else 0)
        # The first step's momentum is the gradient itself: Nesterov adds 0.9 of it once more.
        expected = before - 0.1 * 1.9 * grad
        torch.testing.assert_close(after, expected, msg=name)


def test_the_learning_rate_rises_then_falls_to_zero():
    recipe = Recipe(lr=1.0, warmup=0.2)
    rates = [recipe.lr_at(step, 10) for step in range(10)]
    assert rates[:3] == [1 / 3, 2 / 3, 1.0]
    # Cosine over the other 8 steps: halfway through them it is half.
    assert rates[6] == pytest.approx(0.5)
    assert rates[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert Recipe(warmup=0.0).lr_at(0, 1) == 0.045


@pytest.mark.parametrize(("pixels", "lr", "decay"), [(64, 0.1, 5e-4), (65, 0.045, 4e-5)])
def test_what_a_recipe_leaves_open_follows_from_the_size_of_the_images(pixels, lr, decay):
    suited = Tuning().suited(pixels)
    assert (suited.recipe.lr, suited.recipe.weight_decay) == (lr, decay)
    assert (suited.short.lr, suited.short.weight_decay) == (pytest.approx(lr / 10), decay)
    assert (suited.long.lr, suited.long.weight_decay) == (pytest.approx(0.3 * lr), decay)
    assert suited.suited(8) == suited
    assert replace(suited, long_lr=0.7).long == replace(suited.recipe, lr=0.7)
    asked = Recipe(lr=0.3, weight_decay=0.0)
    assert asked.suited(pixels, share=0.1) == asked


def test_training_takes_the_recipe_that_suits_its_images(task):
    one, same = small(), small()
    fine_tune(one, task, Course(replace(RECIPE, lr=None, weight_decay=None), steps=3))
    fine_tune(same, task, Course(replace(RECIPE, lr=0.1, weight_decay=5e-4), steps=3))
    assert_same(one, same)


def test_mode_layout_and_frozen_parameters_stay(task):
    model = small().eval()
    model[4].train()
    model[0].weight.requires_grad_(False)
    model[1].requires_grad_(False)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    weight = model[3].weight
    fine_tune(model, task, Course(replace(RECIPE, weight_decay=0.1), steps=3))
    assert [m.training for m in model] == [i == 4 for i in range(8)]
    assert model[3].weight is weight
    assert weight.is_contiguous()
    for name in ("0.weight", "1.weight", "1.running_mean", "1.num_batches_tracked"):
        assert torch.equal(before[name], model.state_dict()[name]), name
    assert not torch.equal(before["3.weight"], weight)
    model.to(memory_format=torch.channels_last)
    accuracy(model, task)
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert not model[3].weight.is_contiguous()


def test_divergence_is_an_error_that_says_what_to_try(task):
    with pytest.raises(TrainingError, match=r"diverged at step \d+ of 20: the loss is (nan|inf)"):
        fine_tune(small(), task, Course(replace(RECIPE, lr=1e30), steps=20))
    steep = replace(task, loss=lambda outputs, _: outputs.mean() * 1e20)
    with pytest.raises(TrainingError, match="a weight is not a finite number"):
        fine_tune(small(), steep, Course(replace(RECIPE, lr=1e30), steps=1))
    model = small()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"at step 1 of 5: .*learning rate such as 0.005"):
        fine_tune(model, task, Course(RECIPE, steps=5))
    assert model.training


@pytest.mark.parametrize("arguments", [{}, {"steps": 1, "epochs": 1}, {"steps": 0}])
def test_senseless_lengths_are_refused(task, arguments):
    with pytest.raises(UsageError, match=r"steps"):
        fine_tune(small(), task, Course(RECIPE, **arguments))


def test_settings_that_contradict_the_model_or_the_task(task):
    with pytest.raises(UsageError, match="nothing to train"):
        fine_tune(small().requires_grad_(False), task, Course(RECIPE, steps=1))
    own = replace(task, loss=lambda outputs, targets: outputs.mean())
    with pytest.raises(UsageError, match="label smoothing cannot apply"):
        fine_tune(small(), own, Course(replace(RECIPE, label_smoothing=0.1), steps=1))
    result = fine_tune(small(), task, Course(replace(RECIPE, label_smoothing=0.9), steps=1))
    plain = fine_tune(small(), task, Course(RECIPE, steps=1))
    assert result.losses != plain.losses


def test_trainers():
    assert open_trainer("cpu").type == "cpu"
    with pytest.raises(UsageError, match="train on cpu or cuda"):
        open_trainer("gpu")
    with pytest.raises(DeviceError, match=r"sees \d+ CUDA GPUs here"):
        open_trainer("cuda:99")


def test_progress_is_told_of_each_step(task):
    told: list[tuple[int, int, float]] = []
    course = Course(RECIPE, steps=3)
    result = fine_tune(small(), task, course, progress=lambda *step: told.append(step))
    assert told == [(k + 1, 3, loss) for k, loss in enumerate(result.losses)]


def test_recalibration_averages_the_statistics_of_the_batches(task):
    model = small().eval()
    nn.init.constant_(model[1].running_mean, 99.0)
    before = {name: p.clone() for name, p in model.named_parameters()}
    recalibrate_bn(model, task, batches=3, batch_size=16, seed=4)
    outputs: list[Tensor] = []
    for index, (inputs, _) in enumerate(task.batches("train", batch_size=16, seed=4, shuffle=True)):
        if index < 3:
            outputs.append(model[0](inputs).detach())
    mean = torch.stack([x.mean((0, 2, 3)) for x in outputs]).mean(0)
    var = torch.stack([x.var((0, 2, 3)) for x in outputs]).mean(0)
    torch.testing.assert_close(model[1].running_mean, mean)
    torch.testing.assert_close(model[1].running_var, var)
    assert model[1].momentum == 0.1
    assert not any(m.training for m in model.modules())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_recalibration_restores_the_model_when_the_data_fail(task):
    class Broken(ArraySplit):
        def batches(self, *args: object, **kwargs: object) -> Iterator[tuple[Tensor, Tensor]]:
            raise DataError("broken")

    model = small()
    split = Broken(task.train.images, task.train.targets)
    with pytest.raises(DataError, match="broken"):
        recalibrate_bn(model, replace(task, train=split))
    assert model[1].momentum == 0.1
    assert model.training


def test_models_without_batch_norm_are_recalibrated_by_doing_nothing(task):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    before = model[1].weight.clone()
    recalibrate_bn(model, task)
    assert torch.equal(model[1].weight, before)


def test_auxiliary_heads_are_trained_and_restored(task):
    wide = replace(
        task,
        train=ArraySplit(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])),
        holdout=ArraySplit(torch.rand(2, 3, 32, 32), torch.tensor([0, 1])),
    )
    model = googlenet(num_classes=2, init_weights=False, aux_logits=True)
    auxiliary = model.aux1.fc2.weight.clone()
    statistics = model.aux1.conv.bn.running_mean.clone()
    fine_tune(model, wide, Course(replace(RECIPE, batch_size=4), steps=1))
    assert not torch.equal(model.aux1.fc2.weight, auxiliary)
    assert not torch.equal(model.aux1.conv.bn.running_mean, statistics)
    statistics = model.aux1.conv.bn.running_mean.clone()
    recalibrate_bn(model, wide, batch_size=4)
    assert torch.equal(model.aux1.conv.bn.running_mean, statistics)  # it did not run
    assert 0 <= accuracy(model, wide) <= 1


def test_half_precision_models_are_scored_in_their_own_type(task):
    model = small().to(torch.bfloat16)
    assert 0 <= accuracy(model, task) <= 1
    assert model[0].weight.dtype == torch.bfloat16


def test_a_task_of_ones_own_brings_its_loss_and_metric(task):
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs[:, 0] - targets).square().mean()

    def minus_error(pairs: Iterator[tuple[Tensor, Tensor]]) -> float:
        errors = [(outputs[:, 0] - targets).abs() for outputs, targets in pairs]
        return -float(torch.cat(errors).mean())

    own = replace(task, loss=loss, metric=minus_error)
    model = small()
    before = accuracy(model, own)
    fine_tune(model, own, Course(RECIPE, epochs=6))
    assert before < accuracy(model, own) < 0

"""What a few training images tell of a network leaves the network as it was."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from netadapt.adapt import opened
from netadapt.config import RunConfig
from netadapt.tracing import trace
from netadapt.training.samples import Samples, gradients, moments
from netadapt.units import parse_budget
from tests import examples
from tests.examples import small_net, stripes


def test_gradients_are_those_at_inference_and_nothing_is_left_behind():
    task, model = stripes(), small_net(num_classes=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = Samples(task, batches=2, batch_size=16)
    found = list(gradients(model, images))
    assert len(found) == 2
    assert images.images == 32
    assert all(p.grad is None for p in model.parameters())
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    inputs, targets = next(iter(task.batches("train", batch_size=16, shuffle=True)))
    F.cross_entropy(model.eval()(inputs), targets).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[0][name], parameter.grad, rtol=1e-3, atol=1e-5)


def test_frozen_parameters_have_no_gradient():
    task, model = stripes(), small_net(num_classes=2).requires_grad_(False)
    assert list(gradients(model, Samples(task))) == []


def test_moments_are_means_over_images_whatever_the_batches():
    task, model = stripes(), small_net(num_classes=2)
    network = trace(model, task.input_shape)
    whole = len(task.train)
    one = moments(model, network, Samples(task, batches=1, batch_size=whole))
    many = moments(model, network, Samples(task, batches=4, batch_size=whole // 4))
    assert one.keys() == many.keys() != set()
    for layer, moment in one.items():
        torch.testing.assert_close(moment.products, many[layer].products, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("strategy", "loss", "importance"),
    [
        ("one_group", F.cross_entropy, "l2"),
        ("knapsack", F.cross_entropy, "taylor"),
        ("knapsack", lambda outputs, targets: outputs["trained"], "l2"),
        ("knapsack", lambda outputs, targets: outputs.sum().detach(), "l2"),
    ],
)
def test_an_importance_that_nobody_asked_for_suits_strategy_and_loss(
    monkeypatch, strategy, loss, importance
):
    monkeypatch.setattr(examples, "stripes", lambda: replace(stripes(), loss=loss))
    config = RunConfig(
        "tests.examples:small_net", "tests.examples:stripes", (parse_budget("70%"),),
        devices={"paper": "synthetic:"}, strategy=strategy,
    )  # fmt: skip
    chosen = opened(config)[0]
    assert chosen.importance == importance
    assert opened(replace(config, importance="bn_scale"))[0].importance == "bn_scale"
    assert RunConfig.from_json(chosen.result_json()).importance == importance

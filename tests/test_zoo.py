"""Every torchvision CNN: masked equals pruned in both modes, and arithmetic equals surgery."""

import random
import warnings
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
import torchvision
from torch import nn

from netadapt.models import mobilenet_v1
from netadapt.network import Network, shrinkable
from netadapt.pruning.check import verify_groups, verify_together
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace
from tests.thin import thin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore scripts functions as it is imported
    from fvcore.nn import FlopCountAnalysis

torch.set_num_threads(1)

# Groups that may shrink: the counts of Torch-Pruning 1.6.1,
# except where convolutions are grouped, whose groups we remove whole, and heads of training.
GROUPS = {
    "alexnet": 7, "vgg11": 10, "vgg11_bn": 10, "squeezenet1_0": 25, "squeezenet1_1": 25,
    "resnet18": 12, "resnet50": 37, "wide_resnet50_2": 37, "resnext50_32x4d": 24,
    "mobilenet_v2": 25, "mobilenet_v3_small": 27, "mobilenet_v3_large": 30, "mnasnet0_5": 25,
    "mnasnet1_0": 25, "efficientnet_b0": 40, "efficientnet_v2_s": 75, "regnet_x_400mf": 37,
    "regnet_y_400mf": 38, "densenet121": 120, "convnext_tiny": 22, "googlenet": 57 + 4,
    "inception_v3": 94 + 2, "shufflenet_v2_x1_0": 19,
}  # fmt: skip
SIZES = {"alexnet": 64, "googlenet": 64, "inception_v3": 299}
LARGE = {
    "alexnet", "vgg11", "vgg11_bn", "resnet50", "wide_resnet50_2", "mobilenet_v2",
    "mobilenet_v3_large", "efficientnet_v2_s", "densenet121", "googlenet", "inception_v3",
    "deeplabv3_resnet50",
}  # fmt: skip


def build(name: str, **options: object) -> nn.Module:
    """A model with random statistics and scales, so that no channel is neutral.

    Of large ones a quarter of the channels, in the same graph.
    """
    torch.manual_seed(0)
    with warnings.catch_warnings(), thin() if name in LARGE else nullcontext():
        warnings.simplefilter("ignore")  # GoogLeNet and Inception announce a change
        model = torchvision.models.get_model(name, weights=None, **options)
    return lively(model)


def lively(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
        scale = getattr(module, "layer_scale", None)
        if scale is not None:
            nn.init.uniform_(scale, 0.5, 1.5)
    return model


def drawn(network: Network, seed: int) -> dict[str, Sequence[int]]:
    rng = random.Random(seed)
    return {
        group.id: sorted(rng.sample(range(group.size), rng.randint(1, group.size)))
        for group in shrinkable(network)
    }


def agreed(model: nn.Module, network: Network, shape: tuple[int, ...]) -> None:
    for check in verify_together(model, network, shape):
        assert check.status == ("shape-only" if "inexact" in check.group else "equal"), check


@pytest.mark.parametrize("name", GROUPS)
def test_masked_equals_pruned_and_arithmetic_equals_surgery(name: str) -> None:
    size = SIZES.get(name, 32)
    model = build(name)
    network = trace(model, (3, size, size))
    assert len([*shrinkable(network)]) == GROUPS[name]
    agreed(model, network, (3, size, size))
    keep = drawn(network, 1)
    pruned = shrink(model, network, keep)
    sizes = {group: len(units) for group, units in keep.items()}
    assert network.params(sizes) == sum(p.numel() for p in pruned.parameters())
    assert network.params({}) == sum(p.numel() for p in model.parameters())
    unknown = {layer.name for layer in network.costed if layer.op == "other"}
    assert unknown <= {"avgpool"}  # which, on images so small, enlarges
    again = trace(pruned, (3, size, size))
    assert again.at({}) == network.at(sizes) == network.narrow(keep).at({})


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1", "regnet_y_400mf"])
def test_macs_equal_fvcore_before_and_after(name: str) -> None:
    model = build(name).eval()
    network = trace(model, (3, 32, 32))
    keep = drawn(network, 2)
    for module, sizes in [
        (model, {}),
        (shrink(model, network, keep), {group: len(units) for group, units in keep.items()}),
    ]:
        count = FlopCountAnalysis(module, torch.zeros(1, 3, 32, 32))
        operators = count.unsupported_ops_warnings(False).by_operator()
        assert network.macs(sizes) == operators["conv"] + operators.get("linear", 0)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50"])
def test_every_group_alone_in_evaluation(name: str) -> None:
    model = build(name)
    network = trace(model, (3, 32, 32))
    checks = verify_groups(model, network, torch.rand(2, 3, 32, 32), modes=("eval",))
    assert {check.group for check in checks} == {group.id for group in shrinkable(network)}
    assert {check.status for check in checks} == {"equal"}


def test_every_group_of_mobilenet_v1_alone() -> None:
    model = lively(mobilenet_v1(num_classes=10, width=0.25))
    network = trace(model, (3, 32, 32))
    checks = verify_groups(model, network, torch.rand(2, 3, 32, 32))
    assert len(checks) == 2 * 14
    assert {check.status for check in checks} == {"equal"}


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x1_0"])
def test_every_group_alone(name: str) -> None:
    model = build(name)
    network = trace(model, (3, 32, 32))
    checks = verify_groups(model, network, (3, 32, 32))
    assert len(checks) == 2 * GROUPS[name]
    assert {check.status for check in checks} == {"equal"}


def test_inception_that_transforms_its_input_and_has_no_heads() -> None:
    model = build("inception_v3", transform_input=True, aux_logits=False)
    agreed(model, trace(model, (3, 96, 96)), (3, 96, 96))


def test_heads_of_googlenet_are_layers_of_training_only() -> None:
    network = trace(build("googlenet"), (3, 64, 64))
    heads = [layer.name for layer in network.layers if not layer.inference]
    assert heads == [
        f"{aux}.{name}" for aux in ("aux1", "aux2") for name in ("conv.conv", "fc1", "fc2")
    ]


def test_pass_through_channels_of_shufflenet_say_why_they_stay() -> None:
    network = trace(build("shufflenet_v2_x1_0"), (3, 32, 32))
    reasons = {fixed.layer: fixed.reason for fixed in network.fixed}
    assert reasons["stage2.0.branch1.2"] == "has channels that can only be removed all at once"
    assert "stage2.1.branch2.0" in [group.id for group in shrinkable(network)]


SEGMENTATION = {
    "lraspp_mobilenet_v3_large": {}, "deeplabv3_resnet50": {"aux_loss": True},
}  # fmt: skip


@pytest.mark.parametrize("name", SEGMENTATION)
def test_segmentation(name: str) -> None:
    model = build(name, weights_backbone=None, **SEGMENTATION[name])
    network = trace(model, (3, 32, 32))
    assert len([*shrinkable(network)]) >= 30
    agreed(model, network, (3, 32, 32))


def test_the_backbone_of_a_detector() -> None:
    backbone = build("ssdlite320_mobilenet_v3_large", weights_backbone=None).backbone
    network = trace(backbone, (3, 64, 64))
    assert len([*shrinkable(network)]) == 31
    agreed(backbone, network, (3, 64, 64))


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "tf_efficientnet_b0", "repvgg_a0"])
def test_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    model = lively(timm.create_model(name, pretrained=False))
    network = trace(model, (3, 32, 32))
    agreed(model, network, (3, 32, 32))
    absorbed = [layer for layer in network.costed if layer.op == "norm"]
    assert bool(absorbed) == (name == "repvgg_a0")  # whose identity branches are normalizations

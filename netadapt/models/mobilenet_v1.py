"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861)."""

from collections import OrderedDict
from typing import Literal

from torch import nn

from netadapt.errors import ModelError

# Howard et al. 2017, table 1: output channels and stride of the 13 depthwise separable blocks.
_MOBILENET_V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    *[(512, 1)] * 5, (1024, 2), (1024, 1),
)  # fmt: skip


def _conv_bn_relu(cin: int, cout: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [("conv", conv), ("bn", nn.BatchNorm2d(cout)), ("relu", nn.ReLU(inplace=True))]
    return nn.Sequential(OrderedDict[str, nn.Module](layers))


def mobilenet_v1(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: float = 1.0,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    dropout: float = 0.0,
) -> nn.Sequential:
    """MobileNetV1 (Howard et al. 2017, arXiv:1704.04861, table 1) for images of any size.

    Args:
        num_classes: outputs of the classifier.
        in_channels: channels of the images.
        width: width multiplier; every layer has ``max(8, int(width * channels))`` channels.
        stem: ``imagenet`` divides height and width by 32, its first convolution by 2 of them;
            ``cifar`` starts with stride 1 and divides by 16 in all, for images of about 32 pixels.
        dropout: probability before the classifier.

    Returns:
        A plain sequence (``stem, dw1, pw1, ..., dw13, pw13, pool, flatten, dropout, classifier``)
        from [N, in_channels, H, W] to logits [N, num_classes].

    Raises:
        ModelError: the width is not above zero, or the stem is unknown.
    """
    if width <= 0:
        raise ModelError(f"mobilenet_v1 cannot have width {width}; give a number above zero.")
    if stem not in ("imagenet", "cifar"):
        raise ModelError(f"mobilenet_v1 has no stem {stem!r}; give imagenet or cifar.")

    def scaled(channels: int) -> int:
        return max(8, int(width * channels))

    cin = scaled(32)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = _conv_bn_relu(in_channels, cin, 3, 2 if stem == "imagenet" else 1)
    for number, (channels, stride) in enumerate(_MOBILENET_V1, start=1):
        cout = scaled(channels)
        layers[f"dw{number}"] = _conv_bn_relu(cin, cin, 3, stride, groups=cin)
        layers[f"pw{number}"] = _conv_bn_relu(cin, cout, 1, 1)
        cin = cout
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = nn.Dropout(dropout)
    layers["classifier"] = nn.Linear(cin, num_classes)
    model = nn.Sequential(layers)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # This fan-out counts the outputs of all groups, so that depthwise filters start small.
            # Larger by sqrt(groups), as their own fan-out has it, they learned more slowly here.
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model

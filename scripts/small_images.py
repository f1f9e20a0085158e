"""torchvision's networks for images of 32 pixels, narrow enough for two cores, for cifar.py."""

from torch import nn
from torchvision import models
from torchvision.models import MobileNetV2, ResNet
from torchvision.models.resnet import BasicBlock

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of ResNet18's stages (He et al., CVPR 2016, table 1)."""


def resnet18(num_classes: int, width: float = 0.25) -> ResNet:
    """ResNet18 times a width, with a first convolution of 3x3 by two, and no pooling after it."""
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes)
    model.inplanes = round(64 * width)
    model.conv1 = nn.Conv2d(3, model.inplanes, 3, stride=2, padding=1, bias=False)
    model.bn1 = nn.BatchNorm2d(model.inplanes)
    model.maxpool = nn.Identity()
    for number, (channels, stride) in enumerate(STAGES, start=1):
        stage = model._make_layer(BasicBlock, round(channels * width), 2, stride=stride)
        setattr(model, f"layer{number}", stage)
    model.fc = nn.Linear(round(STAGES[-1][0] * width), num_classes)
    return model


def mobilenet_v2(num_classes: int, width: float = 0.5) -> MobileNetV2:
    """MobileNetV2 times a width, that halves images once less: its first stride is one."""
    model = models.mobilenet_v2(num_classes=num_classes, width_mult=width)
    model.features[0][0].stride = (1, 1)
    return model

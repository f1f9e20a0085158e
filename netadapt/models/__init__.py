"""Models by name: our MobileNetV1, torchvision's CNNs, timm's, the user's own; and weights."""

from netadapt.models.build import ZOO, ImageShape, ModelSpec, build, known_models
from netadapt.models.mobilenet_v1 import mobilenet_v1
from netadapt.models.weights import load_state, load_weights, restore, save_weights

__all__ = [
    "ZOO",
    "ImageShape",
    "ModelSpec",
    "build",
    "known_models",
    "load_state",
    "load_weights",
    "mobilenet_v1",
    "restore",
    "save_weights",
]

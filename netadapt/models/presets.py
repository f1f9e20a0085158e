"""How images are to be prepared for published weights, as those who published them did."""

import importlib
import math
from pathlib import Path
from typing import Any

import torchvision

from netadapt.data.views import Preset
from netadapt.models.build import ZOO, known_models
from netadapt.models.published import PRETRAINED, published_as


def preset_of(name: str, weights: str | Path | None) -> Preset | None:
    """What published weights expect; None for others, of which that is not known.

    Names that are not known are left for :func:`netadapt.models.build` to tell.

    Args:
        name: of the model, as there.
        weights: as there.
    """
    known_as = published_as(name, weights)
    if known_as is None:
        return None
    if name.startswith("timm:"):
        return _timm(name.removeprefix("timm:"))
    if name in ZOO or name not in known_models():
        return None
    published = torchvision.models.get_model_weights(name)
    key = "DEFAULT" if known_as in PRETRAINED else known_as
    if key not in published.__members__:
        return None
    made = published[key].transforms()
    return Preset(
        size=made.crop_size[0],
        resize=made.resize_size[0],
        interpolation=made.interpolation.value,
        mean=tuple(made.mean),
        std=tuple(made.std),
    )


def _timm(bare: str) -> Preset | None:
    """What timm's ``create_transform`` does for validation, where it takes the middle."""
    try:
        timm: Any = importlib.import_module("timm")
    except ModuleNotFoundError:
        return None
    told = timm.get_pretrained_cfg(bare) if timm.is_model(bare) else None
    if told is None or told.crop_mode != "center":
        return None
    size = told.input_size[-1]
    return Preset(size, math.floor(size / told.crop_pct), told.interpolation, told.mean, told.std)

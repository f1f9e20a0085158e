"""Which of torchvision's published weights a name or a file means, and what goes with them.

A file is known by its content: torchvision's files have the beginning of their SHA-256 in their
names, by which it checks what it downloads. So the file is known under any name, and weights that
were saved anew are not.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torchvision

PRETRAINED = ("pretrained", "DEFAULT")
"""Names of the published weights that are recommended."""

_TRANSFORMING = ("googlenet", "inception_v3")
"""Models that normalize once more if told to, which their published weights need."""

_HASH = re.compile(r"-([0-9a-f]{8,})\.")


def is_file(weights: str | Path) -> bool:
    """Whether weights are a file, and not the name of published ones."""
    return isinstance(weights, Path) or "." in weights or Path(weights).is_file()


def published_as(name: str, weights: str | Path | None) -> str | None:
    """What published weights are called; None for weights that are not known to be published.

    Args:
        name: of a model, as for :func:`netadapt.models.build`.
        weights: as there.

    Returns:
        A name that may be given in place of ``weights`` to the functions of this module and to
        :func:`netadapt.models.presets.preset_of`.
    """
    if weights is None:
        return None
    if not is_file(weights):
        return str(weights)
    path = Path(weights)
    if name not in torchvision.models.list_models(module=torchvision.models) or not path.is_file():
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for key, member in torchvision.models.get_model_weights(name).__members__.items():
        told = _HASH.search(member.url)
        if told is not None and digest.startswith(told[1]):
            return str(key)
    return None


def trained_with(name: str, weights: str | Path | None) -> dict[str, Any]:
    """Arguments of the model that published weights were trained with, where they are not usual.

    They are part of the architecture: without them the same weights compute something else.

    Args:
        name: of the model, as for :func:`netadapt.models.build`.
        weights: as there.
    """
    if name not in _TRANSFORMING or published_as(name, weights) is None:
        return {}
    return {"transform_input": True}


def doubt(name: str, weights: str | Path | None, args: Mapping[str, Any]) -> str:
    """What weights leave open of what their model computes, as a sentence; empty for nothing.

    Args:
        name: of the model, as for :func:`netadapt.models.build`.
        weights: as there.
        args: of the model, those of :func:`trained_with` included.
    """
    if name not in _TRANSFORMING or weights is None or "transform_input" in args:
        return ""
    return (
        f"{weights} does not tell whether it was trained with transform_input, as "
        f"torchvision's own weights of {name} were; it is taken without. If the accuracy is too "
        "low, give the model the argument transform_input=true; or else false, to hear no more of "
        "it."
    )

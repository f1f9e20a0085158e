"""A result is loaded in every way that a user may, before it is called one."""

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.errors import CheckFailed
from netadapt.export.onnx import evaluating, first_output

AGREEMENT = 1e-4
"""Largest accepted difference of a loaded model, relative to the largest output. The layers are the
same, but a processor may sum them in another order where their memory is laid out otherwise."""

AGREEMENT_HALF = 2e-2
"""The same for 16-bit models: their own class loads them in 32 bits."""

Way = Callable[[], Any]
"""Loads a model in evaluation mode."""


def loader_ways(folder: Path, fresh: Callable[[], nn.Module]) -> dict[str, Way]:
    """What the files of a folder offer beside this package.

    Args:
        folder: holds ``load_adapted.py`` and ``adapted.pt2``.
        fresh: builds the unpruned model.
    """

    def loader() -> dict[str, Any]:
        return runpy.run_path(str(folder / "load_adapted.py"))

    return {
        "load() of load_adapted.py": lambda: loader()["load"](),
        "apply_to() of load_adapted.py": lambda: loader()["apply_to"](fresh()).eval(),
        "torch.export.load('adapted.pt2')": lambda: torch.export.load(
            folder / "adapted.pt2"
        ).module(),
    }


def prove(ways: Mapping[str, Way], model: nn.Module, images: Tensor) -> None:
    """Load a model in each way and compare its outputs with those of the model that was saved.

    Args:
        ways: by what a user would call.
        model: what was saved.
        images: real inputs ``[N, C, H, W]``; each way is tried on them one by one.

    Raises:
        CheckFailed: one of the ways fails, or gives a model that computes something else.
    """
    with evaluating(model):
        expected = _outputs(model, images)
    limit = AGREEMENT if images.dtype == torch.float32 else AGREEMENT_HALF
    for way, load in ways.items():
        try:
            found = _outputs(load(), images)
        except Exception as error:  # of the model's own code, which may raise anything
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise CheckFailed(f"The saved network cannot be loaded by {way}: {reason}") from error
        off = max(map(_difference, found, expected))
        if not off <= limit:  # NaN is not
            raise CheckFailed(
                f"The saved network differs by {off:.2g} of the largest output when it is loaded "
                f"by {way}; something that it computes with is neither a parameter nor a buffer."
            )


def _outputs(model: Callable[[Tensor], Any], images: Tensor) -> list[Tensor]:
    dtype = next((p.dtype for p in model.parameters()), images.dtype) if isinstance(
        model, nn.Module
    ) else images.dtype  # fmt: skip
    with torch.no_grad():  # a model may change its input in place
        return [first_output(model(image[None].to(dtype, copy=True))).clone() for image in images]


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    scale = max(float(expected.abs().max()), 1e-6)
    return float((found.double() - expected.double()).abs().max()) / scale

"""Models by name: our MobileNetV1, torchvision's CNNs, timm's, the user's own.

A name is one of :func:`known_models`, ``timm:NAME``, or ``package.module:callable``.
"""

import importlib
import logging
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from netadapt.errors import ModelError, UnknownName
from netadapt.models.mobilenet_v1 import mobilenet_v1
from netadapt.models.published import PRETRAINED, doubt, is_file, trained_with
from netadapt.models.states import today
from netadapt.models.weights import load_state, load_weights
from netadapt.plugins import accepted, user_callable

_log = logging.getLogger(__name__)

ImageShape = tuple[int, ...]

_NOT_CNN = ("maxvit", "swin", "vit_")
_HINT = "Also accepted: timm:NAME, and package.module:callable for your own model."

ZOO: dict[str, Callable[..., nn.Module]] = {"mobilenet_v1": mobilenet_v1}
"""Our own models by name; each takes ``num_classes``, ``in_channels`` and its own arguments."""


def known_models() -> list[str]:
    """Every name that :func:`build` knows without a prefix: ours, then torchvision's CNNs."""
    theirs = torchvision.models.list_models(module=torchvision.models)
    return [*ZOO, *[name for name in theirs if not name.startswith(_NOT_CNN)]]


@dataclass(frozen=True)
class ModelSpec:
    """What rebuilds an architecture.

    Attributes:
        name: as for :func:`build`.
        num_classes: outputs of the classifier.
        input_shape: ``(channels, height, width)`` of one image, or ``(channels, length)``.
        args: further arguments of the model, all of them plain JSON values.
    """

    name: str
    num_classes: int
    input_shape: ImageShape
    args: Mapping[str, Any] = field(default_factory=dict)

    def build(self, weights: str | Path | None = None, *, seed: int = 0) -> nn.Module:
        """The model, as by :func:`build`."""
        return build(
            self.name,
            num_classes=self.num_classes,
            input_shape=self.input_shape,
            args=self.args,
            weights=weights,
            seed=seed,
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return {
            "name": self.name,
            "num_classes": self.num_classes,
            "input_shape": list(self.input_shape),
            "args": dict(self.args),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelSpec":
        """Read what :meth:`to_json` wrote."""
        shape = tuple(data["input_shape"])
        return cls(data["name"], data["num_classes"], shape, data["args"])


def build(
    name: str,
    *,
    num_classes: int,
    input_shape: ImageShape = (3, 224, 224),
    args: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
) -> nn.Module:
    """Build a model by name, in training mode on the CPU.

    Args:
        name: see the module's description.
        num_classes: outputs of the classifier; a user's callable gets it if it accepts it.
        input_shape: ``(channels, height, width)`` of one image. Our own and timm's models are built
            for its channels; torchvision's take 3. A user's callable gets it if it accepts it.
        args: further keyword arguments of the model.
        weights: a file for :func:`load_weights`; or ``pretrained``, ``DEFAULT`` or the name of a
            torchvision weights enum such as ``IMAGENET1K_V2`` to download published ones. If those
            have another number of classes, the classifier starts from fresh weights.
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        UnknownName: there is no such model.
        ModelError: the model refuses the arguments or the weights.
    """
    published = None if weights is None or is_file(weights) else str(weights)
    factory, arguments = _factory(name, num_classes, input_shape, published)
    arguments |= {**trained_with(name, weights), **(args or {})}
    if open_question := doubt(name, weights, arguments):
        _log.warning("%s", open_question)
    # Only the CPU's generator: torch.manual_seed would also reseed every GPU.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            model = factory(**arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            said = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            raise ModelError(f"Model {name!r} cannot be built with {said}: {error}.") from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"Model {name!r} gave a {type(model).__name__}; it must return a torch.nn.Module."
        )
    if published is not None and not name.startswith("timm:"):
        _load_published(model, name, published)
    elif published is None and weights is not None:
        load_weights(model, Path(weights))
    return model


def _factory(
    name: str, num_classes: int, input_shape: ImageShape, published: str | None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What builds the model, and the arguments that follow from the data set."""
    if name in ZOO:
        return ZOO[name], {"num_classes": num_classes, "in_channels": input_shape[0]}
    if name.startswith("timm:"):
        return _timm_factory(name, num_classes, input_shape, published)
    if ":" in name:
        factory = user_callable(name, what="model")
        return factory, accepted(factory, num_classes=num_classes, input_shape=input_shape)
    if name not in known_models():
        raise UnknownName("model", name, known_models(), _HINT)
    if input_shape[0] != 3:
        raise ModelError(
            f"Model {name!r} takes images of 3 channels, and the data set has {input_shape[0]}; "
            "convert the images, or use mobilenet_v1 or a timm model."
        )
    arguments: dict[str, Any] = {"num_classes": num_classes, "weights": None}
    if name in ("googlenet", "inception_v3"):
        arguments["init_weights"] = published is None  # said aloud, or torchvision warns
    return getattr(torchvision.models, name), arguments


def _timm_factory(
    name: str, num_classes: int, input_shape: ImageShape, published: str | None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    try:
        timm: Any = importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"Model {name!r} needs timm, which is not installed; run pip install netadapt[timm]."
        ) from error
    bare = name.removeprefix("timm:")
    if not timm.is_model(bare):
        raise UnknownName("timm model", bare, timm.list_models())
    if published is not None and published not in PRETRAINED:
        raise ModelError(
            f"Model {name!r} has no weights {published!r}; give 'pretrained' or a file, or name "
            f"the tag in the model as in timm:{bare}.{published}."
        )

    def create(**arguments: Any) -> Any:
        try:
            return timm.create_model(bare, **arguments)
        except (OSError, urllib.error.URLError) as error:
            raise _offline(name, str(published), error) from error

    return create, {
        "num_classes": num_classes,
        "in_chans": input_shape[0],
        "pretrained": published is not None,
    }


def _offline(name: str, weights: str, error: Exception) -> ModelError:
    return ModelError(
        f"Weights {weights!r} of model {name!r} cannot be downloaded ({error}); check the network, "
        "or give a weight file."
    )


def _load_published(model: nn.Module, name: str, weights: str) -> None:
    """Load torchvision's published weights, but for a classifier of another number of classes."""
    if name in ZOO or ":" in name:
        raise ModelError(
            f"Model {name!r} has no published weights {weights!r}; give a weight file."
        )
    published = torchvision.models.get_model_weights(name)
    names = [*published.__members__]
    if not names:
        raise ModelError(f"torchvision publishes no weights of {name!r}; give a weight file.")
    key = "DEFAULT" if weights in PRETRAINED else weights
    if key not in names:
        raise UnknownName(f"weights of {name}", weights, names)
    try:
        state = published[key].get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        raise _offline(name, weights, error) from error
    own = model.state_dict()
    classes = len(published[key].meta["categories"])
    for tensor in [t for t in state if t in own and state[t].shape != own[t].shape]:
        if state[tensor].shape[0] == classes and state[tensor].shape[1:] == own[tensor].shape[1:]:
            state[tensor] = own[tensor]  # the classifier, freshly initialized
    state = {today(tensor): value for tensor, value in state.items()}
    load_state(model, state, source=f"{name} {weights}")

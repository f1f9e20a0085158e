"""From a name to a traced model: the one place where data, architecture and weights come together.

Every job begins here, so that the same words mean the same model in each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from netadapt import data
from netadapt.models import ImageShape, ModelSpec
from netadapt.network import Network
from netadapt.tracing import trace


@dataclass(frozen=True)
class Source:
    """Which model, with which weights, for which images.

    Attributes:
        model: a name, see :func:`netadapt.models.build`; for what is only measured, also the path
            of an ONNX file.
        args: further arguments of the model.
        weights: a weight file, or ``pretrained``.
        input_size: height and width of the images in pixels; None takes the data set's, or what
            models of that name are made for.
        num_classes: outputs of the classifier where no data set says.
        data: a data set by name; it decides the shape of the images and the number of classes.
        seed: of the splits of the data, and of initial weights.
    """

    model: str
    args: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    input_size: int | None = None
    num_classes: int = 1000
    data: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Assembly:
    """A model that was built, with the task that it is for.

    Attributes:
        name: of the model.
        task: the data set; None if none was named.
        spec: what rebuilds the architecture.
        module: the model, in training mode on the CPU.
    """

    name: str
    task: data.Task | None
    spec: ModelSpec
    module: nn.Module

    @cached_property
    def network(self) -> Network:
        """What is traced from the model, once.

        Raises:
            ModelError: it cannot be traced.
        """
        return trace(self.module, self.spec.input_shape)


def assemble(source: Source) -> Assembly:
    """Load the data, build the model, and give it its weights.

    Raises:
        UnknownName: there is no such model or data set.
        DataError: the data cannot be read.
        ModelError: the model cannot be built, or refuses the weights.
    """
    task = None
    shape, classes = default_input_shape(source.model, source.input_size), source.num_classes
    if source.data is not None:
        task = data.load(source.data, input_size=source.input_size, seed=source.seed)
        shape, classes = task.input_shape, task.num_classes
    spec = ModelSpec(source.model, classes, shape, dict(source.args))
    module = spec.build(source.weights, seed=source.seed)
    return Assembly(source.model, task, spec, module)


def default_input_shape(name: str, input_size: int | None) -> ImageShape:
    """The images that a model of that name is made for, where no data set says."""
    size = input_size or (299 if name == "inception_v3" else 224)
    return (3, size, size)

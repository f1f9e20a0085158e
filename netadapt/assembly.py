"""From a name to a traced model: the one place where data, architecture and weights come together.

Every job begins here, so that the same words mean the same model in each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from netadapt import data
from netadapt.errors import ShapeError, UsageError
from netadapt.models import ImageShape, ModelSpec
from netadapt.models.presets import preset_of
from netadapt.models.published import published_as, trained_with
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
        input_shapes: by the name of an input, or without one: what an ONNX file leaves open, and
            the images that a model by name is built for where no data set says.
        limit: part of the images to use, see :class:`netadapt.data.Reading`.
        data_workers: processes that read them, see there.
        seen_by: the weights that the model was made with, whose preset says how images are
            prepared; None for ``weights``.
    """

    model: str
    args: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    input_size: int | None = None
    num_classes: int = 1000
    data: str | None = None
    seed: int = 0
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    limit: float | int | None = None
    data_workers: int | None = None
    seen_by: str | None = None

    def image_shape(self) -> ImageShape:
        """Sizes of one image, without its batch, that a model by name is built for.

        Of a model of several inputs, those of the first.

        Raises:
            ShapeError: the model's kind takes images alone, and other sizes were given.
        """
        shapes = tuple(self.input_shapes.values())
        if not shapes:
            return default_input_shape(self.model, self.input_size)
        own_code = ":" in self.model and not self.model.startswith("timm:")
        if not own_code and (len(shapes) > 1 or len(shapes[0]) != 3):
            raise ShapeError(
                f"{self.model} takes images of channels, height and width, and "
                f"{' and '.join('x'.join(map(str, shape)) for shape in shapes)} was given."
            )
        return shapes[0]


@dataclass(frozen=True)
class Assembly:
    """A model that was built, with the task that it is for.

    Attributes:
        name: of the model.
        task: the data set; None if none was named.
        spec: what rebuilds the architecture.
        module: the model, in training mode on the CPU.
        input_shapes: of each input, of a model of several.
        seen_by: the published weights whose preset says how images are prepared; None for none.
    """

    name: str
    task: data.Task | None
    spec: ModelSpec
    module: nn.Module
    input_shapes: tuple[ImageShape, ...] = ()
    seen_by: str | None = None

    @property
    def data(self) -> data.Task:
        """The task, of jobs that cannot do without.

        Raises:
            UsageError: no data set was named.
        """
        if self.task is None:
            raise UsageError("No data set was named; name one to learn from.")
        return self.task

    @cached_property
    def network(self) -> Network:
        """What is traced from the model, once.

        Raises:
            ModelError: it cannot be traced.
        """
        if len(self.input_shapes) < 2:
            return trace(self.module, self.spec.input_shape)
        return trace(self.module, self.examples(1))

    def examples(self, batch: int) -> tuple[Tensor, ...]:
        """Noise for every input of the model, of ``[batch, ...]``."""
        generator = torch.Generator().manual_seed(0)
        shapes = self.input_shapes or (self.spec.input_shape,)
        return tuple(torch.randn(batch, *shape, generator=generator) for shape in shapes)


def assemble(source: Source) -> Assembly:
    """Load the data, build the model, and give it its weights.

    Raises:
        UnknownName: there is no such model or data set.
        DataError: the data cannot be read.
        ModelError: the model cannot be built, or refuses the weights.
    """
    task = None
    classes = source.num_classes
    seen_by = published_as(source.model, source.seen_by or source.weights)
    if source.data is None:
        shape = source.image_shape()
    else:
        preset = preset_of(source.model, seen_by)
        reading = data.Reading(source.limit, preset, source.data_workers)
        task = data.load(
            source.data, input_size=source.input_size, seed=source.seed, reading=reading
        )
        shape, classes = task.input_shape, task.num_classes
    # Whoever builds it anew, without the weights, builds what they were trained with.
    args = {**trained_with(source.model, seen_by), **source.args}
    spec = ModelSpec(source.model, classes, shape, args)
    module = spec.build(source.weights, seed=source.seed)
    shapes = tuple(source.input_shapes.values()) if task is None else ()
    return Assembly(source.model, task, spec, module, shapes, seen_by)


def default_input_shape(name: str, input_size: int | None) -> ImageShape:
    """The images that a model of that name is made for, where no data set says."""
    size = input_size or (299 if name == "inception_v3" else 224)
    return (3, size, size)

"""Which part of an image a network sees, and at what size: torchvision's transforms.

Small images are seen whole, as they are. Of larger ones, training sees a part drawn at random,
mirrored or not (Szegedy et al. 2014, arXiv:1409.4842, section 6), and scoring the middle. Published
weights come with a preset of their own for it, with which their published accuracy was found.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

# The statistics that most published weights were trained with (RGB, of values in 0..1).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class View:
    """How an image is scaled before it is cut.

    Attributes:
        resize: pixels of its shorter side before the middle is cut out; None cuts out the middle
            square first, and scales that.
        interpolation: as torchvision names it, such as ``bilinear`` or ``bicubic``.
        parts: whether augmentation takes parts at random (RandomResizedCrop), mirroring half.
    """

    resize: int | None = None
    interpolation: str = "bilinear"
    parts: bool = False

    def middle(self, image: Image.Image, size: int) -> Image.Image:
        """The middle of an RGB image, of ``size`` pixels in height and width."""
        how = InterpolationMode(self.interpolation)
        if self.resize is not None:
            scaled = F.resize(image, [self.resize], interpolation=how)
            return F.center_crop(scaled, [size, size])  # type: ignore[no-any-return]
        if image.size == (size, size):
            return image
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
        return image.resize((size, size), _PILLOW[self.interpolation], box=box)

    def part(self, image: Image.Image, size: int) -> Image.Image:
        """A part of an RGB image, drawn with torch's global random numbers."""
        return _random_part(size, self.interpolation)(image)  # type: ignore[no-any-return]


MIDDLE = View()
"""The middle square, scaled."""

_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


@functools.lru_cache
def _random_part(size: int, interpolation: str) -> Callable[[Any], Any]:
    how = InterpolationMode(interpolation)
    return v2.Compose([v2.RandomResizedCrop(size, interpolation=how), v2.RandomHorizontalFlip()])  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Preset:
    """How images are made inputs of published weights, for the accuracy that is published.

    Attributes:
        size: height and width of the inputs, in pixels.
        resize: pixels of the shorter side before the middle is cut out.
        interpolation: see :class:`View`.
        mean, std: per channel, of values in 0..1.
    """

    size: int
    resize: int
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def at(self, size: int | None) -> "Preset":
        """The same for inputs of another size, of which the middle is the same share."""
        if size is None or size == self.size:
            return self
        resize = max(size, round(self.resize * size / self.size))
        return Preset(size, resize, self.interpolation, self.mean, self.std)

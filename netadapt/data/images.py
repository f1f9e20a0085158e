"""Image files as bytes of red, green and blue, whatever they were saved as.

=====================  ==========================================================================
saved as               read as
=====================  ==========================================================================
8 bits, palettes, 1    as they are; transparency is left out, as torchvision's folders do
16 bits                0..65535 becomes 0..255 (also 16 bits of each colour)
32-bit integers        the same: 0..65535; refused if a value is outside, or if none is above 255,
                       since then 8 bits may have been meant
floating point         0..1 becomes 0..255; refused if a value is outside
=====================  ==========================================================================

Pictures are turned upright by their EXIF orientation.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from netadapt.data.views import MIDDLE, View
from netadapt.errors import DataError
from netadapt.signatures import mishap

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_STATES_ITS_RANGE = ("PNG", "PPM")
"""Formats whose integers of more than 8 bits PIL reads as 0..65535, in whichever mode."""

_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"})
"""What PIL opens, but can decode only by other programs or not at all."""


def suffixes() -> frozenset[str]:
    """Endings of the files that can be read, in lower case and with their dot."""
    known = Image.registered_extensions()  # fills Image.OPEN
    return frozenset(s for s, f in known.items() if f in Image.OPEN and f not in _NOT_DECODED)


def decode(path: Path, size: int, view: View = MIDDLE) -> Bytes:
    """Read one image file: its middle, of ``size`` pixels, as [size, size, 3] RGB.

    Args:
        path: the image file.
        size: height and width of what is returned.
        view: how it is scaled.

    Raises:
        DataError: the file is no image, or is damaged, or its values have no known range.
    """
    with _opened(path) as file:
        return np.asarray(view.middle(_rgb(_upright(file)), size))


def decode_part(path: Path, size: int, view: View) -> Bytes:
    """Read a part of one image file, drawn with torch's global random numbers, for training.

    Arguments, result and errors are those of :func:`decode`.
    """
    with _opened(path) as file:
        return np.asarray(view.part(_rgb(_upright(file)), size))


def shorter_side(path: Path) -> int:
    """Pixels of the shorter side of an image.

    Raises:
        DataError: the file is no image.
    """
    with _opened(path) as image:
        return min(image.size)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file; whatever goes wrong within is told as one sentence that names it."""
    if not path.is_file():
        raise unreadable(path, mishap(path))  # opening a pipe would wait for ever
    try:
        with _open(path) as image:
            yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise unreadable(path, mishap(path) or "it is damaged, or no image") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise unreadable(path, f"it unpacks to more than {limit} million pixels") from error
    except Exception as error:  # PIL raises anything for a damaged file
        raise unreadable(path, str(error) or type(error).__name__) from error


def _open(path: Path) -> Image.Image:
    """The image by its content; the format that its name promises is tried before all others."""
    promised = Image.registered_extensions().get(path.suffix.lower())
    if promised in ("JPEG", "PNG"):
        with suppress(UnidentifiedImageError):
            return Image.open(path, formats=[promised])
    return Image.open(path)


def unreadable(path: Path, reason: str) -> DataError:
    """What is said of an image file that cannot be read."""
    return DataError(
        f"Image {path} cannot be read: {reason.rstrip('.')}. Repair it or remove it from the data "
        "set."
    )


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # a damaged EXIF block, which raises anything; the picture itself is whole
        return image
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bits(image).convert("RGB")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # a palette may have transparency
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of more than 8 bits, scaled; PIL's own conversion would clip them."""
    values = np.asarray(image)
    top = 1 if image.mode == "F" else 65535
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):  # NaN is neither
        kind = "floating point" if image.mode == "F" else "integer"
        raise ValueError(
            f"its {kind} values go from {low:g} to {high:g}, and only 0 to {top} has a known "
            "meaning; save it with 8 bits"
        )
    stated = image.mode.startswith("I;16") or image.format in _STATES_ITS_RANGE
    if image.mode == "I" and not stated and 0 < high <= 255:
        raise ValueError(
            f"it has 32 bits, but no value above {high:g}, so that it may be of 8 or of 16 bits; "
            "save it as such"
        )
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))

"""Options that several commands share."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from netadapt.cli.completion import platform_uris
from netadapt.errors import UsageError
from netadapt.units import parse_duration, parse_share

F = TypeVar("F", bound=Callable[..., Any])


class ModelArguments(click.ParamType[tuple[str, Any]]):
    """``name=value`` pairs; a value is JSON if it can be read so, and text otherwise."""

    name = "name=value"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """Split one pair."""
        name, sign, text = str(value).partition("=")
        if not sign or not name:
            self.fail(f"{value!r} is not of the form name=value", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


class Duration(click.ParamType[float]):
    """A time such as ``90s``, ``10min`` or ``2h``, in seconds."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read one time."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Part(click.ParamType[float]):
    """A percentage such as ``10%``, or a number."""

    name = "N|PERCENT"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read one part: a share of 1 at most, or a number above it."""
        if isinstance(value, (int, float)):
            return value
        text = str(value)
        try:
            part = parse_share(text, "A part") if "%" in text else int(text)
        except (UsageError, ValueError):
            self.fail(f"{value!r} is neither a number nor a percentage such as 10%", param, ctx)
        if text.strip() == "1":  # as a share it would be all
            self.fail("one image is too few; give more, or a percentage such as 10%", param, ctx)
        return part


class Seconds(click.FloatRange):
    """A finite time, at most a week."""

    def __init__(self, *, above: bool = False) -> None:
        super().__init__(0, 7 * 86400, min_open=above)

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Refuse NaN too, which lies in every range."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return number


class InputShape(click.ParamType[tuple[str, tuple[int, ...]]]):
    """``3x224x224``, or ``name=3x224x224`` for one of several inputs."""

    name = "[name=]CxHxW"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, tuple[int, ...]]:
        """The name, empty where there is none, and the sizes."""
        name, sizes = re.fullmatch(r"(?:(.*)=)?([^=]*)", str(value), re.DOTALL).groups()  # type: ignore[union-attr]
        if not re.fullmatch(r"[1-9]\d{0,9}(x[1-9]\d{0,9})*", sizes):
            self.fail(f"{value!r} is no shape; write it like 3x224x224 or name=3x224x224", param,
                      ctx)  # fmt: skip
        return name or "", tuple(map(int, sizes.split("x")))


def input_shape_option(function: F) -> F:
    """Shapes that neither the model nor a data set says."""
    return click.option(
        "--input-shape", "input_shapes", type=InputShape(), multiple=True,
        help="Shape of an input without its batch, such as 3x224x224; name=3x224x224 if there are "
        "several. Repeatable.",
    )(function)  # fmt: skip


def model_options(function: F) -> F:
    """The model argument, with what builds it."""
    for option in reversed(
        [
            click.argument("model"),
            click.option(
                "--model-arg", "-a", "model_args", type=ModelArguments(), multiple=True,
                help="Argument of the model, such as width=0.5. Repeatable.",
            ),
            click.option(
                "--weights", metavar="FILE",
                help="Trained weights (.safetensors, .pt), or 'pretrained' to download "
                "torchvision's.",
            ),
            click.option("--input-size", type=click.IntRange(1, 16384), metavar="PIXELS",
                         help="Height and width of the images."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def calibration_data_option(function: F) -> F:
    """Real images for 8 bits, where nothing is trained."""
    return click.option(
        "--data", metavar="NAME|FOLDER",
        help="Images that give 8-bit activations their ranges (?precision=int8); without them, "
        "noise.",
    )(function)  # fmt: skip


def step_option(function: F) -> F:
    """Which widths count."""
    return click.option(
        "--multiple", type=click.IntRange(1, 10**6), metavar="CHANNELS",
        help="Widths are multiples of it.  [default: the device's block, or 8]",
    )(function)  # fmt: skip


def classes_option(function: F) -> F:
    """The size of the classifier, where no data set says."""
    return click.option(
        "--classes", type=click.IntRange(1, 10**6), default=1000, show_default=True,
        help="Outputs of the classifier.",
    )(function)  # fmt: skip


def platform_option(function: F) -> F:
    """What to measure on."""
    return click.option(
        "--on", "platform", default="ort:cpu", show_default=True, metavar="URI",
        shell_complete=platform_uris,
        help="The device to measure on, such as ort:cpu, 'ort:cpu?threads=4', ssh://pi@host, "
        "or replay:table.csv.",
    )(function)  # fmt: skip


def place_options(function: F) -> F:
    """What the record of a run cannot know: where it ran, and where its network is used."""
    for option in reversed(
        [
            click.option("--region", metavar="REGION", help="Where RUN ran."),
            click.option("--deploy-region", metavar="REGION",
                         help="Where the network is used.  [default: where RUN ran]"),
            click.option("--pue", type=float, metavar="X",
                         help="What the building draws over what its computers draw.  [default: "
                         "a cloud region's own, or 1]"),
            click.option("--deploy-pue", type=float, metavar="X",
                         help="The same where the network is used."),
            click.option("--watts", metavar="W",
                         help="Mean draw of the trainer: 65, or 50-80; for what no sensor read."),
            click.option("--rate", metavar="RATE", help="Inferences, such as 20/s or 1M/day."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def json_option(function: F) -> F:
    """Data for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def quiet_option(function: F) -> F:
    """Less to read."""
    return click.option("--quiet", "-q", is_flag=True, help="Show results only.")(function)


def console_options(function: F) -> F:
    """How much of a run to show, and to whom."""
    for option in reversed(
        [
            quiet_option,
            click.option("--verbose", "-v", is_flag=True,
                         help="A line for every trial and measurement too."),
            click.option("--json-lines", is_flag=True,
                         help="Instead, print every event as a line of JSON, as it happens."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def existing_file() -> click.Path:
    """A file that must exist."""
    return click.Path(exists=True, dir_okay=False, path_type=Path)


def run_options(function: F) -> F:
    """The model, the images and how to train: what every run needs."""
    for option in reversed(
        [
            click.argument("model", required=False),
            click.option("--config", type=existing_file(), metavar="FILE",
                         help="Settings in TOML, as 'netadapt init' prints; flags override them."),
            click.option("--model-arg", "-a", type=ModelArguments(), multiple=True,
                         help="Argument of the model, such as width=0.5. Repeatable."),
            click.option("--weights", metavar="FILE",
                         help="Trained weights (.safetensors, .pt), or 'pretrained' to download "
                         "torchvision's."),
            click.option("--input-size", type=int, metavar="PIXELS",
                         help="Height and width of the images."),
            click.option("--data", metavar="NAME|FOLDER",
                         help="digits, cifar10, or a folder with train/ and test/."),
            click.option("--task", metavar="MODULE:CALLABLE",
                         help="Your own images, loss and metric, instead of --data."),
            click.option("--limit", type=Part(),
                         help="Use a part of the images, such as 10%, or 10000 to learn from and "
                         "as many to test on; classes keep their proportions."),
            click.option("--epochs", type=float,
                         help="Epochs of training from scratch.  [default: 30]"),
            click.option(
                "--lr",
                type=float,
                help="Highest learning rate.  [default: 0.1 for images of up to 64 pixels, 0.045 "
                "for larger]",
            ),
            click.option("--batch-size", type=int, help="Images per step.  [default: 128]"),
            click.option("--bf16/--no-bf16", default=None,
                         help="Train in bfloat16 where that is safe.  [default: no]"),
            click.option("--accumulate", type=int, metavar="PARTS",
                         help="Take the images of a step in so many parts, so that more fit into "
                         "memory.  [default: 1]"),
            click.option("--seed", type=int,
                         help="Of splits, weights and image order.  [default: 0]"),
            click.option("--trainer", help="Train on cpu or cuda.  [default: cpu]"),
            click.option("--checkpoint-every", type=Duration(),
                         help="Time of training that a run loses at most if it is cut off.  "
                         "[default: 10min]"),
            click.option("--data-workers", type=int, metavar="N",
                         help="Processes that read images; decides nothing of the result.  "
                         "[default: as suits images and cores]"),
        ]
    ):  # fmt: skip
        function = option(function)
    return function

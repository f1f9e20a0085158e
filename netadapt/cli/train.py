"""``netadapt train``."""

from pathlib import Path
from typing import Any

import click

from netadapt.cli.options import console_options, json_option, run_options
from netadapt.cli.settings import resolve
from netadapt.cli.text import echo_json
from netadapt.ranks import Rank
from netadapt.units import format_metric

_EPILOG = """\b
Examples:
  netadapt train mobilenet_v1 --data digits -o digits.safetensors
  netadapt train mobilenet_v1 -a width=0.5 -a stem=cifar --data cifar10 --epochs 60 -o v1.pt
\b
  # on four GPUs together
  torchrun --standalone --nproc-per-node 4 -m netadapt train resnet50 --data imagenet/ \\
    --trainer cuda -o resnet50.safetensors
"""


@click.command(epilog=_EPILOG)
@run_options
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to write the weights (.safetensors).",
)
@json_option
@console_options
def train(
    config: Path | None, out: Path, as_json: bool, quiet: bool, verbose: bool, json_lines: bool,
    **given: Any,
) -> int:  # fmt: skip
    """Train MODEL on a data set and write its weights; what adapt does if it is given none."""
    settings = resolve(config, given, budgeted=False)
    from netadapt.cli.console import Console
    from netadapt.train import train as run_train

    rank = Rank.from_environment()
    quiet, json_lines = quiet or not rank.first, json_lines and rank.first
    with Console(quiet=quiet, verbose=verbose, json_lines=json_lines) as console:
        report = run_train(settings, out, notify=console, rank=rank)
    if not rank.first:
        return 0
    if as_json:
        echo_json(report)
    elif not json_lines:
        score = format_metric(report["accuracy"], share=report["metric_is_share"])
        click.echo(
            f"{report['metric']} on {report['test_images']} test images: {score} "
            f"after {report['seconds']:.0f} s of training. Weights: {out}"
        )
    return 0

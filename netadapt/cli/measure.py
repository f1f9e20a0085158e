"""``netadapt measure``."""

import sys
from contextlib import redirect_stdout
from typing import Any

import click

from netadapt.cli.options import (
    Seconds,
    calibration_data_option,
    input_shape_option,
    json_option,
    model_options,
    platform_option,
)
from netadapt.cli.text import echo_json, table_text
from netadapt.errors import ShapeError
from netadapt.units import format_quantity

_EPILOG = """\b
Examples:
  netadapt measure mobilenet_v2
  netadapt measure adapted.onnx --compare original.onnx
  netadapt measure any_size.onnx --input-shape 3x224x224
  netadapt measure two.onnx --input-shape image=3x224x224 --input-shape mask=1x224x224
  netadapt measure mobilenet_v1 -a width=0.5 --input-size 32 --on 'ort:cpu?threads=2'
  netadapt measure mobilenet_v2 --data photos/ --on 'ort:cpu?precision=int8'
"""


PRECISION, INVOCATIONS, LIMIT_S = 0.005, 5, 60.0
"""Of a comparison: half of the 95 % interval of the ratio, processes, and for how long to try."""


@click.command(epilog=_EPILOG)
@model_options
@click.option("--compare", metavar="MODEL", help="Measure this model too, the runs interleaved.")
@click.option(
    "--passes",
    type=click.IntRange(1, 10**6),
    default=4,
    show_default=True,
    help="Shuffled passes over the models.",
)
@click.option(
    "--min-seconds",
    type=Seconds(),
    default=0.5,
    show_default=True,
    help="Run each model at least this long in total.",
)
@input_shape_option
@calibration_data_option
@platform_option
@json_option
def measure(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, compare: str | None, passes: int, min_seconds: float,
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...], data: str | None, platform: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure MODEL, an ONNX file or a model by name, on a device.

    Each pass is 2 runs to warm up and 12 that count. One thread is timed by its CPU time, several
    by the wall clock. Two models share that among five processes, one after the other. In one
    thread they take turns, run by run, until each process knows their ratio so well that together
    they know it to half a percent, if they agree; or for a minute.
    """
    from netadapt.assembly import Source
    from netadapt.measure import measure_models
    from netadapt.platforms import Effort

    sources = [
        Source(name, dict(model_args), weights, input_size, data=data,
               input_shapes=dict(input_shapes))
        for name in (model, compare) if name is not None
    ]  # fmt: skip
    try:
        with redirect_stdout(sys.stderr):
            report = measure_models(
                sources,
                platform_uri=platform,
                effort=Effort(
                    passes=passes,
                    min_seconds=min_seconds,
                    precision=PRECISION if compare else 0.0,
                    invocations=INVOCATIONS if compare else 1,
                    time_limit_s=LIMIT_S if compare else None,
                ),
            )
    except ShapeError as error:
        raise ShapeError(
            f"{error} Write it as --input-shape 3x224x224, or as --input-shape NAME=3x224x224 for "
            "each of several inputs."
        ) from error
    if as_json:
        echo_json(report)
        return
    rows = [("model", "resource", "p10", "median", "p90", "spread", "runs")]
    readings = [(row["model"], name, found) for row in report["models"]
                for name, found in row["resources"].items()]  # fmt: skip
    for name, resource, found in readings:
        quantiles = (format_quantity(found[k], found["unit"]) for k in ("p10", "median", "p90"))
        rows.append((name, resource, *quantiles, f"{found['spread']:.1%}", str(found["runs"])))
    click.echo(table_text(rows, right=frozenset(range(2, 7))))
    if compare:
        for resource, ratio in report["ratios"][0].items():
            known = "" if ratio["uncertainty"] is None else f" (± {ratio['uncertainty']:.1%})"
            click.echo(
                f"\n{model} takes {ratio['value']:.3f}{known} of the {resource} of {compare}."
            )
    device = report["device"]
    settings = (
        f", {device['runtime']}, {device['threads']} thread(s), {device['precision']}, "
        f"level {device['level']}, {device['layout']} layout"
        if device["machine"] != "none" else ""
    )  # fmt: skip
    click.echo(f"\n{device['device']}{settings}; {readings[0][2]['clock']} time.")
    for warning in dict.fromkeys(w for _, _, found in readings for w in found["warnings"]):
        click.echo(f"Warning: {warning}", err=True)

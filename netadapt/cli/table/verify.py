"""``netadapt table verify``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from netadapt.cli.options import (
    calibration_data_option,
    classes_option,
    existing_file,
    json_option,
    model_options,
    platform_option,
    quiet_option,
    step_option,
)
from netadapt.cli.text import echo_json, table_text
from netadapt.units import format_quantity, parse_share

_EPILOG = """\b
Examples:
  netadapt table verify mobilenet_v2 --table v2.csv
  netadapt table verify mobilenet_v2 --table pi.csv --on ssh://pi@raspberrypi --tolerance 8%
\b
Exit code 1: the table is further off than the tolerance.
"""


def _share(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A percentage as a share."""
    if value is None:
        return None
    return parse_share(value, "--tolerance")


@click.command(epilog=_EPILOG)
@model_options
@classes_option
@calibration_data_option
@click.option("--table", "path", type=existing_file(), required=True, help="The table.")
@click.option(
    "--networks",
    type=click.IntRange(2),
    default=8,
    show_default=True,
    help="Networks of random widths, none of which the table ever saw.",
)
@click.option(
    "--groups",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="Channel groups to halve alone, for what each is worth.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the widths.")
@click.option(
    "--tolerance",
    callback=_share,
    metavar="PERCENT",
    help="Largest mean error; one network may be off 2.5 times as far.  "
    "[default: 2%, below 1 ms 5%]",
)
@click.option(
    "--resource",
    type=click.Choice(["latency", "energy"]),
    default="latency",
    show_default=True,
    help="What is measured, and priced by the table.",
)
@step_option
@platform_option
@quiet_option
@json_option
def verify(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, classes: int, data: str | None, path: Path, networks: int,
    groups: int, seed: int, tolerance: float | None, resource: str, multiple: int | None,
    platform: str, quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Measure whole networks of MODEL, and tell how far a table is off."""
    from netadapt.assembly import Source
    from netadapt.cli.console import Console
    from netadapt.table import verify_table
    from netadapt.tables.accuracy import Sample, Tolerance

    with Console(quiet=quiet) as console:
        report = verify_table(
            Source(model, dict(model_args), weights, input_size, classes, data), path,
            platform_uri=platform,
            sample=Sample(multiple or 0, networks, groups, seed, resource),
            tolerance=Tolerance(tolerance, 2.5 * tolerance) if tolerance else None,
            counter=console.counter,
        )  # fmt: skip
    if as_json:
        echo_json(report)
    else:
        click.echo(verification_text(report))
    return 0 if report["ok"] else 1


def verification_text(report: Mapping[str, Any]) -> str:
    """What a verification found, for a person."""
    rows = [("predictor", "mean error", "largest", "Kendall's tau", "savings, r")]
    for name, found in report["predictors"].items():
        r = found["savings_correlation"]
        rows.append(
            (name, f"{found['mean_error']:.1%}", f"{found['max_error']:.1%}",
             f"{found['kendall_tau']:.2f}", "" if r is None else f"{r:.3f}")
        )  # fmt: skip
    rows.append(
        ("noise of the networks", f"{report['noise_mean']:.1%}", f"{report['noise_max']:.1%}",
         "", "")
    )  # fmt: skip
    allowed, device = report["tolerance"], report["device"]
    unseen = [n for n in report["networks"] if n["name"].startswith("random ")]
    costs = [n["measured"] for n in unseen]
    limits = (
        f"a mean error of {allowed['mean']:.1%}, {allowed['max']:.1%} for one network, and a "
        f"Kendall's tau of {allowed['tau']:.2f}"
    )
    return "\n".join(
        [
            f"{report['model']} on {device['device']}, {device['threads']} thread(s), "
            f"{device['precision']}: {len(unseen)} networks of random widths, "
            f"{format_quantity(min(costs), report['unit'])} to "
            f"{format_quantity(max(costs), report['unit'])}.",
            "",
            table_text(rows, right=frozenset({1, 2, 3, 4})),
            "",
            "Noise is how far the two halves of measuring the same network differ. All but the "
            "first are calibrated on the same four networks, now.",
            *(
                [f"{extra} layers that the table does not price were measured for this."]
                if (extra := report["measured_for_this"])
                else []
            ),
            *report["remarks"],
            f"The table is {'within' if report['ok'] else 'OUTSIDE'} the tolerance: {limits}.",
        ]
    )

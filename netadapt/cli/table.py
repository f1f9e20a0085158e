"""``netadapt table``: build, verify and show lookup tables."""

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


@click.group()
def table() -> None:
    """Lookup tables: what each layer costs on a device."""


_BUILD_EPILOG = """\b
Examples:
  netadapt table build mobilenet_v2 -o v2.csv
  netadapt table build mobilenet_v1 -a width=0.5 --input-size 32 --on 'ort:cpu?threads=2' -o t.csv
  netadapt table build mobilenet_v2 --data photos/ --on 'ort:cpu?precision=int8' -o int8.csv
\b
Repeating a command that was interrupted, or ran out of time, continues it. Exit code 1: out of time
before the model itself had a price.
"""


@table.command(epilog=_BUILD_EPILOG)
@model_options
@classes_option
@calibration_data_option
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The table (.csv); one that exists gets what it lacks.",
)
@step_option
@click.option(
    "--dense", is_flag=True, help="Measure each layer shape, instead of a grid to interpolate in."
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Stop measuring layers after this long; what lowers the error most comes first.",
)
@platform_option
@quiet_option
@json_option
def build(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, classes: int, data: str | None, out: Path, multiple: int | None,
    dense: bool, time_limit: float | None, platform: str, quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Measure every layer shape that adapting MODEL may ask for, and calibrate the table."""
    from netadapt.assembly import Source
    from netadapt.cli.console import Console
    from netadapt.table import Building, build_table

    with Console(quiet=quiet) as console:
        report = build_table(
            Source(model, dict(model_args), weights, input_size, classes, data), out,
            platform_uri=platform, how=Building(multiple or 0, dense, time_limit),
            counter=console.counter,
        )  # fmt: skip
    if as_json:
        echo_json(report)
        return 1 if report["lacking"] else 0
    click.echo(
        f"{out}: {report['entries']} rows ({report['measured']} measured now), "
        f"{report['device']['precision']}, on {report['device']['device']}."
    )
    if report["lacking"]:
        click.echo(
            f"Out of time: {report['lacking']} layers of the model itself have no price yet. "
            "Repeat the command to go on.", err=True,
        )  # fmt: skip
        return 1
    rows = [("width", "measured", "noise", "by the table", "off")]
    for row in report["calibration"]:
        measured, predicted = row["measured"], row["predicted"]
        rows.append(
            (row["width"], format_quantity(measured, report["unit"]), f"{row['noise']:.1%}",
             format_quantity(predicted, report["unit"]), f"{predicted / measured - 1:+.1%}")
        )  # fmt: skip
    click.echo(
        "Calibrated on whole networks:\n\n" + table_text(rows, right=frozenset({1, 2, 3, 4}))
    )
    if report["residue"]:
        click.echo(f"Layers that no table prices: {', '.join(report['residue'])}.")
    for warning in report["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
    return 0


_VERIFY_EPILOG = """\b
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


@table.command(epilog=_VERIFY_EPILOG)
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
@step_option
@platform_option
@quiet_option
@json_option
def verify(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, classes: int, data: str | None, path: Path, networks: int,
    groups: int, seed: int, tolerance: float | None, multiple: int | None, platform: str,
    quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Measure whole networks of MODEL, and tell how far a table is off."""
    from netadapt.assembly import Source
    from netadapt.cli.console import Console
    from netadapt.table import verify_table
    from netadapt.tables.accuracy import Sample, Tolerance

    with Console(quiet=quiet) as console:
        report = verify_table(
            Source(model, dict(model_args), weights, input_size, classes, data), path,
            platform_uri=platform, sample=Sample(multiple or 0, networks, groups, seed),
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


_BUNDLE_EPILOG = """\b
Examples:
  netadapt table bundle mobilenet_v2 -o to_phone
  netadapt table bundle mobilenet_v1 --on 'ort:xnnpack?threads=4' --multiple 16 -o to_board
\b
Then run run.sh in the folder on the device, bring results.jsonl back, and import it.
"""


@table.command(epilog=_BUNDLE_EPILOG)
@model_options
@classes_option
@calibration_data_option
@click.option(
    "--out",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="A new folder.",
)
@click.option(
    "--multiple",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="CHANNELS",
    help="Widths are multiples of it.",
)
@platform_option
@json_option
def bundle(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, classes: int, data: str | None, out: Path, multiple: int,
    platform: str, as_json: bool,
) -> None:  # fmt: skip
    """Write a folder that measures MODEL's layers on a device without SSH."""
    from netadapt.assembly import Source
    from netadapt.table import bundle_table

    report = bundle_table(
        Source(model, dict(model_args), weights, input_size, classes, data), out,
        platform_uri=platform, multiple=multiple,
    )  # fmt: skip
    if as_json:
        echo_json(report)
        return
    click.echo(
        f"{out}: {report['models']} models for {report['layers']} layers. Copy it to the device "
        f"and run run.sh there; then 'netadapt table import {out} -o table.csv'."
    )


_IMPORT_EPILOG = """\b
Examples:
  netadapt table import to_phone -o phone.csv
  netadapt table import to_phone -o phone.csv && netadapt table show phone.csv
"""


@table.command("import", epilog=_IMPORT_EPILOG)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The table (.csv).",
)
@json_option
def import_(folder: Path, out: Path, as_json: bool) -> None:  # fmt: skip
    """Make a lookup table of the results in a bundle's FOLDER."""
    from netadapt.tables.bundle import read_bundle

    report = read_bundle(folder, out)
    if as_json:
        echo_json(report)
        return
    coverage = report["coverage"]
    click.echo(
        f"{out}: {report['entries']} of {report['wanted']} layers on "
        f"{report['device']['device']}; it prices {coverage['networks'] - coverage['refused']} of "
        f"{coverage['networks']} networks of random widths."
    )
    for sentence in report["remarks"]:
        click.echo(f"Warning: {sentence}", err=True)


_SHOW_EPILOG = """\b
Examples:
  netadapt table show lookup_tables/mobilenet_v1.csv
  netadapt table show table.csv --json | jq .device
"""


@table.command(epilog=_SHOW_EPILOG)
@click.argument("path", metavar="TABLE", type=existing_file())
@click.option(
    "--most",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Show so many of the costliest layers.",
)
@json_option
def show(path: Path, most: int, as_json: bool) -> None:
    """Show what a lookup table holds: its device, and its costliest layers."""
    from netadapt.tables.build import describe_table

    report = describe_table(path)
    if as_json:
        echo_json(report)
        return
    for name, value in heading(report).items():
        click.echo(f"{name + ':':<16} {value}")
    rows = [("layer", "p10", "median", "p90", "runs")]
    for row in report["layers"][:most]:
        quantiles = (format_quantity(row[k], report["unit"]) for k in ("p10", "median", "p90"))
        rows.append((row["layer"], *quantiles, str(row["runs"])))
    click.echo("\n" + table_text(rows, right=frozenset({1, 2, 3, 4})))
    left = len(report["layers"]) - most
    if left > 0:
        click.echo(f"... and {left} more; --most shows them.")


def heading(report: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a table as a whole, for a person."""
    unit, cold, fit = report["unit"], report["cold_weights_per_mb"], report["calibration"]
    return {
        **{name: str(value) for name, value in report["device"].items()},
        "measured on": report["measured_on"],
        "resource": report["resource"],
        "layers": str(len(report["layers"])),
        "call overhead": format_quantity(report["overhead"], unit),
        "cold weights": "not measured" if cold is None else f"{format_quantity(cold, unit)} per MB",
        "canary spread": f"{report['canary_spread']:.1%}",
        "calibration": f"x {fit['scale']:.4f} at {format_quantity(1e-3, unit)}, exponent "
        f"{fit['exponent']:+.4f}, on {fit['networks']}"
        if fit
        else "none",
    }

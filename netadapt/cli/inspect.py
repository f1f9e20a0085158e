"""``netadapt inspect``."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netadapt.cli.options import (
    classes_option,
    existing_file,
    input_shape_option,
    json_option,
    model_options,
)
from netadapt.cli.text import echo_json, table_text
from netadapt.units import format_count, format_joules, format_quantity, format_seconds

if TYPE_CHECKING:
    from netadapt.platforms.accelerators.report import EnergyReport

_EPILOG = """\b
Examples:
  netadapt inspect mobilenet_v2
  netadapt inspect resnet50 --table lookup_tables/resnet50.csv
  netadapt inspect shufflenet_v2_x1_0 --verify
  netadapt inspect waves:net --input-shape 3x64
  netadapt inspect alexnet --on 'eyeriss:?batch=4' --plot energy.png
  netadapt inspect vgg16 --weights vgg.pt --data photos/ --on eyeriss:
"""


@click.command(epilog=_EPILOG)
@model_options
@input_shape_option
@classes_option
@click.option(
    "--table",
    "table_path",
    type=existing_file(),
    help="Show each group's share of the latency, or of what else this lookup table prices.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Prune half of each group and compare with the masked model, in evaluation and "
    "in training mode.",
)
@click.option(
    "--on",
    "platform",
    metavar="URI",
    help="Show the energy by layer, level and kind of data on modelled hardware instead: "
    "eyeriss:, crossbar: or optical:.",
)
@click.option(
    "--data",
    metavar="NAME|FOLDER",
    help="With --on: count the zeros that enter each layer in these images, for hardware that "
    "gains by them and was told none.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --on: draw the energy as stacked bars into this PNG file.",
)
@json_option
def inspect(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, input_shapes: tuple[tuple[str, tuple[int, ...]], ...], classes: int,
    table_path: Any, verify: bool, platform: str | None,
    data: str | None, plot: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Show the channel groups of MODEL, their share of the cost, and why a layer is fixed."""
    from netadapt.assembly import Source

    source = Source(model, dict(model_args), weights, input_size, classes, data,
                    input_shapes=dict(input_shapes))  # fmt: skip
    if platform is not None:
        if table_path or verify:
            raise click.UsageError("--on shows energy alone; leave out --table and --verify.")
        from netadapt.inspect import inspect_energy

        with redirect_stdout(sys.stderr):
            energy = inspect_energy(source, platform)
        return _show_energy(energy, plot, as_json)
    if data or plot:
        raise click.UsageError("--data and --plot are about energy; give --on with them.")
    from netadapt.inspect import inspect_model

    with redirect_stdout(sys.stderr):
        report = inspect_model(source, table_path=table_path, verify=verify)
    if as_json:
        echo_json(report)
    else:
        click.echo(_text(report))
    return 0 if all(check["status"] != "failed" for check in report.get("checks", ())) else 1


def _text(report: dict[str, Any]) -> str:
    cost = report["cost"]
    priced = [cost["resource"]] if cost else []
    rows = [("group", "channels", "layers", "MACs", "params", *priced)]
    for group in report["groups"]:
        if group["fixed"]:
            continue
        share = [f"{group['cost_share'] or 0:.1%}"] if cost else []
        rows.append(
            (group["id"], str(group["channels"]), str(len(group["layers"])),
             f"{group['macs_share']:.1%}", f"{group['params_share']:.1%}", *share)
        )  # fmt: skip
    shapes = " and ".join("x".join(map(str, shape)) for shape in report["input_shapes"])
    parts = [
        f"{report['model']}, input {shapes}: "
        f"{format_count(report['params'])} parameters, {format_count(report['macs'])} MACs"
        + (f", {format_quantity(cost['value'], cost['unit'])} by the table" if cost else ""),
        "",
        "Shares are of the layers that a group's channels enter or leave; a layer counts for both.",
        "",
        table_text(rows, right=frozenset(range(1, 6))),
    ]
    inexact = [g["id"] for g in report["groups"] if not (g["fixed"] or g["exact"])]
    if inexact:
        parts += [
            "",
            "A channel of these groups takes part in what the others compute, as in a "
            f"normalization over channels: {', '.join(inexact)}.",
        ]
    if report["fixed"]:
        fixed = [("fixed layer", "why"), *((f["layer"], f["reason"]) for f in report["fixed"])]
        parts += ["", table_text(fixed)]
    if report["untrained"]:
        parts += [
            "",
            "The training mode does not run on such inputs, so that parts for training alone are "
            f"left as they are: {report['untrained'].rstrip('.')}.",
        ]
    if report["unpriced"]:
        parts += ["", f"Layers that no table prices: {', '.join(report['unpriced'])}."]
    if cost and cost["estimated"]:
        parts += ["", f"{len(cost['estimated'])} layers have no row and are estimated from others."]
    if "checks" in report:
        checks = [("verified group", "mode", "largest difference", "result")] + [
            (c["group"], c["mode"], _compared(c), c["status"]) for c in report["checks"]
        ]
        parts += ["", table_text(checks)]
        telling = [c for c in report["checks"] if c["status"] in ("failed", "not run")]
        parts += [f"{c['group']}, {c['mode']}: {c['detail']}." for c in telling]
    return "\n".join(parts)


def _compared(check: dict[str, Any]) -> str:
    """The difference of values, if any were compared."""
    values = check["status"] == "equal" or (check["status"] == "failed" and check["difference"])
    return f"{check['difference']:.1e}" if values else "-"


def _show_energy(report: "EnergyReport", plot: Path | None, as_json: bool) -> int:
    if plot is not None:
        from netadapt.files import PNG_BEGINS, check_output, write_atomically
        from netadapt.report.energy_bars import energy_bars

        check_output(plot, begins=PNG_BEGINS)
        write_atomically(plot, energy_bars(report))
    if as_json:
        echo_json(report.to_json())
    else:
        click.echo(_energy_text(report))
    return 0


def _energy_text(report: "EnergyReport") -> str:
    from netadapt.platforms.accelerators.layer_energy import DATA, OTHER

    whole = report.total
    levels = list(dict.fromkeys(part.level for part in whole.parts))
    kinds = [kind for kind in DATA if any(part.data == kind for part in whole.parts)]
    sparse = ["zeros"] if report.zeros else []
    rows = [("layer", *sparse, "energy", "share", *levels, *kinds)]
    named = [*zip(report.names, report.layers, strict=True), ("all", whole)]
    for name, layer in named:
        shares = [
            sum(p.energy_j for p in layer.parts if kind in (p.level, p.data)) / layer.energy_j
            for kind in (*levels, *kinds)
        ]
        rows.append(
            (name, *([_percent(report.zeros.get(name))] if sparse else []),
             format_joules(layer.energy_j), f"{layer.energy_j / whole.energy_j:.1%}",
             *(f"{share:.1%}" for share in shares))
        )  # fmt: skip
    time = "" if whole.latency_s is None else f", {format_seconds(whole.latency_s)}"
    chip = whole.without("dram")
    alone = "" if chip == whole.energy_j else f" ({format_joules(chip)} without DRAM)"
    parts = [
        f"{report.model} on {report.hardware}:",
        f"{format_joules(whole.energy_j)}{alone}{time} for one image of a batch of {report.batch}",
        "",
        ("Zeros are those in a layer's input. " if sparse else "")
        + "Shares of a layer's energy by level of the hardware, then by kind of data"
        + (
            f"; {OTHER} serves none alone, as arithmetic, clock and light."
            if OTHER in kinds
            else "."
        ),
        "",
        table_text(rows, right=frozenset(range(1, len(rows[0])))),
    ]
    if report.residue:
        parts += ["", f"Not modelled, and in no figure: {', '.join(report.residue)}."]
    return "\n".join(parts)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"

"""``netadapt inspect``."""

from typing import Any

import click

from netadapt.cli.options import classes_option, existing_file, json_option, model_options
from netadapt.cli.text import echo_json, table_text
from netadapt.units import format_count, format_quantity

_EPILOG = """\b
Examples:
  netadapt inspect mobilenet_v2
  netadapt inspect resnet50 --table lookup_tables/resnet50.csv
  netadapt inspect shufflenet_v2_x1_0 --verify
"""


@click.command(epilog=_EPILOG)
@model_options
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
@json_option
def inspect(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, classes: int, table_path: Any, verify: bool, as_json: bool,
) -> int:  # fmt: skip
    """Show the channel groups of MODEL, their share of the cost, and why a layer is fixed."""
    from netadapt.assembly import Source
    from netadapt.inspect import inspect_model

    source = Source(model, dict(model_args), weights, input_size, classes)
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
    parts = [
        f"{report['model']}, input {'x'.join(map(str, report['input_shape']))}: "
        f"{format_count(report['params'])} parameters, {format_count(report['macs'])} MACs"
        + (f", {format_quantity(cost['value'], cost['unit'])} by the table" if cost else ""),
        "",
        "Shares are of the layers that a group's channels enter or leave; a layer counts for both.",
        "",
        table_text(rows, right=frozenset(range(1, 6))),
    ]
    if report["fixed"]:
        fixed = [("fixed layer", "why"), *((f["layer"], f["reason"]) for f in report["fixed"])]
        parts += ["", table_text(fixed)]
    if report["unpriced"]:
        parts += ["", f"Layers that no table prices: {', '.join(report['unpriced'])}."]
    if cost and cost["estimated"]:
        parts += ["", f"{len(cost['estimated'])} layers have no row and are estimated from others."]
    if "checks" in report:
        checks = [("verified group", "mode", "largest difference", "result")] + [
            (c["group"], c["mode"], f"{c['difference']:.1e}", c["status"]) for c in report["checks"]
        ]
        parts += ["", table_text(checks)]
    return "\n".join(parts)

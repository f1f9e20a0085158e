"""``netadapt statement``."""

from pathlib import Path

import click

from netadapt.cli.completion import RunFolder
from netadapt.cli.options import json_option, place_options
from netadapt.cli.text import echo_json

_EPILOG = """\b
Examples:
  netadapt statement runs/mobilenet_v1-digits-60pct --region SWE
  netadapt statement RUN --region DEU --format latex > energy.tex
  netadapt statement RUN --region DEU --format markdown >> MODEL_CARD.md
"""


@click.command(epilog=_EPILOG)
@click.argument("run", type=RunFolder())
@place_options
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "latex"]), default="text",
    show_default=True, help="How it is written.",
)  # fmt: skip
@json_option
def statement(
    run: Path, region: str | None, deploy_region: str | None, pue: float | None,
    deploy_pue: float | None, watts: str | None, rate: str | None, form: str, as_json: bool,
) -> None:  # fmt: skip
    """Write the paragraph and table on the energy and carbon of RUN for a paper or model card."""
    from netadapt.carbon.account import account
    from netadapt.carbon.circumstances import read_circumstances
    from netadapt.carbon.run import read_use
    from netadapt.carbon.statement import render, state

    said = read_circumstances(region, deploy_region, pue, deploy_pue, watts, rate)
    stated = state(account(read_use(run), said))
    if as_json:
        echo_json(stated.as_dict())
        return
    click.echo(render(stated, form), nl=False)

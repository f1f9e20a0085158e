"""``netadapt carbon``."""

from pathlib import Path

import click

from netadapt.cli.completion import RunFolder
from netadapt.cli.options import json_option, place_options
from netadapt.cli.text import echo_json

_EPILOG = """\b
Examples:
  netadapt carbon runs/mobilenet_v1-digits-60pct --region SWE
  netadapt carbon RUN --region gcp:us-central1 --deploy-region DEU --rate 20/s
  netadapt carbon RUN --region 250g/kWh --pue 1.58 --watts 50-80
  netadapt carbon RUN --region SWE --json | jq .carbon_g.value
\b
A region is a country (SWE), a cloud's region (gcp:europe-north1, aws:us-east-1, azure:westus2)
or a value (250g/kWh). Without sensors the energy of the run is an estimate with its range; the
energy of one inference never is.
"""


@click.command(epilog=_EPILOG)
@click.argument("run", type=RunFolder())
@place_options
@json_option
def carbon(
    run: Path, region: str | None, deploy_region: str | None, pue: float | None,
    deploy_pue: float | None, watts: str | None, rate: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Tell the energy and carbon of RUN, and after how many inferences it has paid for itself."""
    from netadapt.carbon.account import account
    from netadapt.carbon.circumstances import read_circumstances
    from netadapt.carbon.markup import render_rows
    from netadapt.carbon.rows import cost_rows, gain_rows
    from netadapt.carbon.run import read_use

    said = read_circumstances(region, deploy_region, pue, deploy_pue, watts, rate)
    reckoned = account(read_use(run), said)
    if as_json:
        echo_json(reckoned.as_dict())
        return
    click.echo(render_rows([*cost_rows(reckoned), *gain_rows(reckoned)]), nl=False)
    if region is None:
        click.echo("\nName where it ran with --region, such as SWE, for its carbon.", err=True)

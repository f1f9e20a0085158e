"""``netadapt init``."""

import click

_EPILOG = """\b
Examples:
  netadapt init > run.toml
  netadapt adapt --config run.toml --budget 12ms
"""


@click.command(epilog=_EPILOG)
def init() -> None:
    """Print a commented TOML file of every setting, to start from."""
    from netadapt.config import starter

    click.echo(starter(), nl=False)

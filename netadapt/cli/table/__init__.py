"""``netadapt table``: build, verify and show lookup tables."""

import click

from netadapt.cli.table.build import build
from netadapt.cli.table.bundle import bundle
from netadapt.cli.table.importing import import_
from netadapt.cli.table.show import show
from netadapt.cli.table.verify import verify


@click.group()
def table() -> None:
    """Lookup tables: what each layer costs on a device."""


for _command in (build, verify, bundle, import_, show):
    table.add_command(_command)

"""The command line: parsing and printing only. Heavy imports happen inside the commands."""

import sys
from collections.abc import Sequence

import click

from netadapt import __version__
from netadapt.cli.adapt import adapt
from netadapt.cli.carbon import carbon
from netadapt.cli.compare import compare
from netadapt.cli.doctor import doctor
from netadapt.cli.export import export
from netadapt.cli.init import init
from netadapt.cli.inspect import inspect
from netadapt.cli.ls import ls
from netadapt.cli.measure import measure
from netadapt.cli.report import report
from netadapt.cli.statement import statement
from netadapt.cli.status import status
from netadapt.cli.table import table
from netadapt.cli.train import train
from netadapt.cli.when import when
from netadapt.cli.where import where
from netadapt.errors import NetAdaptError

_EPILOG = """\b
Examples:
  netadapt adapt mobilenet_v1 --data digits --budget 60%
  netadapt inspect mobilenet_v2
  netadapt table build mobilenet_v2 -o table.csv
  netadapt measure adapted.onnx --compare original.onnx

\b
Exit codes:
  0    the budget or check was met
  1    it was not met
  2    an argument, setting or file is wrong
  3    the device cannot be reached or cannot measure
  4    training diverged
  5    the run folder is locked, damaged, or the disk is full
  101  an error inside netadapt
  130  interrupted; the same command continues
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="netadapt")
@click.option("--debug", is_flag=True, help="Show the traceback of any error.")
def cli(debug: bool) -> None:
    """Shrink a CNN until it meets budgets measured on your device."""


for _command in (
    *(adapt, init, train, inspect, measure, table, doctor, export, ls),
    *(status, report, compare, carbon, where, when, statement),
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with a documented exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(given, prog_name="netadapt", standalone_mode=False, obj=given)
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. What was finished is kept: the same command continues.", err=True)
        code = 130
    except Exception as error:
        if "--debug" in given:
            raise
        if isinstance(error, NetAdaptError):
            click.echo(f"Error: {error}", err=True)
            code = error.exit_code
        else:
            reason = str(error).strip().split("\n")[0]
            click.echo(
                f"Internal error ({type(error).__name__}: {reason}). Nothing that was finished is "
                "lost. Please report it with the output of the same command after "
                "'netadapt --debug'.",
                err=True,
            )
            code = 101
    sys.exit(code if isinstance(code, int) else 0)

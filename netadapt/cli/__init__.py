"""The command line: parsing and printing only. Heavy imports happen inside the commands."""

import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr

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
from netadapt.cli.signals import as_interrupts, as_one_interrupt, continuing, deaf
from netadapt.cli.statement import statement
from netadapt.cli.status import status
from netadapt.cli.table import table
from netadapt.cli.train import train
from netadapt.cli.voice import speaks, spoken_once
from netadapt.cli.when import when
from netadapt.cli.where import where
from netadapt.errors import NetAdaptError, RunError, UsageError
from netadapt.ranks import Rank, among_others

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
  3    the device cannot be reached or cannot measure, or all workers were lost
  4    training diverged
  5    the run folder is locked, damaged, or the disk is full
  101  an error inside netadapt
  130  interrupted (Ctrl-C, SIGTERM, SIGHUP); it says what is kept
  141  whoever read the output has gone
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="netadapt")
@click.option("--debug", is_flag=True, help="Show the traceback of any error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Shrink a CNN until it meets budgets measured on your device."""
    rank, command = Rank.from_environment(), context.invoked_subcommand
    if rank.several and command != "train":
        raise UsageError(
            f"netadapt {command} works in one process, and {rank.size} were started for it "
            "(WORLD_SIZE); start it without torchrun. netadapt train can be shared by several."
        )


for _command in (
    *(adapt, init, train, inspect, measure, table, doctor, export, ls),
    *(status, report, compare, carbon, where, when, statement),
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with a documented exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    several = among_others()
    if several:
        as_one_interrupt()
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch warns of all that it can do
    else:
        as_interrupts()
    try:
        with spoken_once() if several else nullcontext():
            code = cli.main(given, prog_name="netadapt", standalone_mode=False, obj=given)
        sys.stdout.flush()
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if several:
            deaf()
        if "--debug" in given and not isinstance(error, _PLAIN):
            raise
        with nullcontext() if not several or speaks(error) else redirect_stderr(io.StringIO()):
            code = _told(error, given)
    sys.exit(code if isinstance(code, int) else 0)


_PLAIN = (click.ClickException, click.Abort, KeyboardInterrupt)
"""What has no traceback that helps."""


def _told(error: BaseException, given: Sequence[str]) -> int:
    """Say what ended the command, in a sentence; the exit code."""
    from netadapt.plugins import blamed

    if isinstance(error, click.ClickException):
        error.show()
        return 2
    if isinstance(error, click.Abort | KeyboardInterrupt):
        click.echo(f"Interrupted. {continuing(given)}", err=True)
        return 130
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush
        return 141
    if isinstance(error, NetAdaptError):
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    reason = str(error).strip().split("\n")[0]
    if theirs := blamed(error):
        click.echo(f"Error: Your own code failed: {theirs}.", err=True)
        return UsageError.exit_code
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        where = f" {error.filename}" if error.filename else ""
        click.echo(f"Error: Cannot read or write{where}: {error.strerror}.", err=True)
        return RunError.exit_code
    if isinstance(error, MemoryError) or "not enough memory" in reason:
        click.echo("Error: There is not enough memory; ask for smaller images, batches or models.",
                   err=True)  # fmt: skip
        return UsageError.exit_code
    click.echo(
        f"Internal error ({type(error).__name__}: {reason}). Nothing that was finished is lost. "
        "Please report it with the output of the same command after 'netadapt --debug'.",
        err=True,
    )
    return 101


OF_THE_DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG,
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip
"""What the operating system says of files and not of us."""

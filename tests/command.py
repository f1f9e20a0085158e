"""The command line as tests call it, on a task so small that a whole run takes seconds."""

import pytest

from netadapt.cli import main

TINY = [
    "--task", "tests.examples:stripes", "--on", "synthetic:", "--epochs", "2", "--batch-size", "32",
    "--short-steps", "2", "--long-epochs", "1", "--finalists", "2", "--initial-reduction", "15%",
    "-q",
]  # fmt: skip
MODEL = "tests.examples:small_net"


def run(capsys, *arguments):
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def adapt(capsys, folder, *more, budget="70%", model=MODEL):
    tiny = [*TINY[:2], *TINY[4:]] if "--on" in more else TINY  # a second --on adds a device
    return run(capsys, "adapt", model, *tiny, "--budget", budget, "--run", folder, *more)

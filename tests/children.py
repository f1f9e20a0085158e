"""Commands in processes of their own, forked from one that has imported torch once for all."""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["netadapt.adapt", "netadapt.train"])


class Child:
    """``python -m WORDS``, with what it says kept in two files in a folder.

    Args:
        folder: where; each child needs one of its own.
        words: a module and its arguments.
        environment: all of it.
    """

    def __init__(self, folder: Path, words: list[str], environment: dict[str, str]) -> None:
        self._said = [folder / "stdout", folder / "stderr"]
        self.process = CONTEXT.Process(target=_become, args=(words, environment, self._said))
        self.process.start()

    def ended(self, within_s: float = 600) -> tuple[int, str, str]:
        """Its exit code, or minus the signal that ended it, and what it said on both streams."""
        self.process.join(within_s)
        code = self.process.exitcode
        self.process.kill()  # where it goes on
        out, err = (path.read_text() if path.exists() else "" for path in self._said)
        assert code is not None, (out, err)
        return code, out, err


def _become(words: list[str], environment: dict[str, str], said: list[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in zip((1, 2), said, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)

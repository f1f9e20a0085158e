"""From the journal of a run to what it used."""

from pathlib import Path

from netadapt.carbon.use import RunUse


def read_use(folder: Path) -> RunUse:
    """What a run used."""
    raise NotImplementedError

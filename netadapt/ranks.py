"""Which of the processes that work on one training this is, as ``torchrun`` and its like tell."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from netadapt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of those that were started for the same command.

    Attributes:
        number: from 0, over all machines; the first writes and speaks for all.
        size: how many there are.
        local: number on its machine.
    """

    number: int = 0
    size: int = 1
    local: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Rank":
        """What ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK`` say; without them it is alone.

        Raises:
            UsageError: they contradict each other.
        """
        told = {name: environment.get(name, "") for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
        if not among_others(environment):
            return cls()
        try:
            size, number = int(told["WORLD_SIZE"]), int(told["RANK"])
            rank = cls(number, size, int(told["LOCAL_RANK"] or number))
        except ValueError:
            rank = cls(-1)
        if not (0 <= rank.number < rank.size and 0 <= rank.local < rank.size):
            words = ", ".join(f"{name}={value!r}" for name, value in told.items())
            raise UsageError(
                f"The environment names no process of several: {words}; start them with torchrun, "
                "or take these variables out of it."
            )
        return rank

    @property
    def first(self) -> bool:
        """Whether it writes and speaks for all."""
        return self.number == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.size > 1


def among_others(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is to be one of several processes, whatever else the environment says of it."""
    return environment.get("WORLD_SIZE", "") not in ("", "1") and bool(environment.get("RANK"))


ALONE = Rank()

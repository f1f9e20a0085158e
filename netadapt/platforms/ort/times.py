"""Timings, and joules, as they arrive from a device."""

from collections.abc import Mapping
from typing import Any

from netadapt.platforms.measurement import Measurement
from netadapt.platforms.ort.probes import Probe


class Times:
    """Samples in seconds by the id of what was timed, with visits, errors and the canary.

    Args:
        ids: the id of each probe; none where whole networks are timed.
    """

    def __init__(self, ids: Mapping[Probe, str]) -> None:
        self.ids = ids
        self.visits: dict[str, int] = {}
        self.rounds: dict[str, int] = {}
        self.canary: list[float] = []
        self.errors: dict[str, str] = {}
        self._joules: dict[str, list[float]] = {}
        self._samples: dict[str, list[float]] = {}
        self._canary_best: list[float] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in one record of ``bench.py``."""
        if record["kind"] == "visit":
            self.visits[record["id"]] = self.visits.get(record["id"], 0) + 1
            self._samples.setdefault(record["id"], []).extend(ns * 1e-9 for ns in record["ns"])
        elif record["kind"] == "rounds":
            for name, taken in record["ns"].items():
                self.rounds[name] = self.rounds.get(name, 0) + len(taken)
                self._samples.setdefault(name, []).extend(ns * 1e-9 for ns in taken)
        elif record["kind"] == "canary":
            self.canary += [ns * 1e-9 for ns in record["ns"]]
            self._canary_best.append(min(record["ns"]) * 1e-9)
        elif record["kind"] == "energy":
            self._joules.setdefault(record["id"], []).append(record["joules"])
        elif record["kind"] == "error":
            self.errors[record["id"]] = record["error"]

    def of(self, name: str) -> list[float]:
        """Samples so far."""
        return self._samples.get(name, [])

    def joules_of(self, name: str) -> list[float]:
        """Joules of one run, from each window so far."""
        return self._joules.get(name, [])

    def samples(self, probe: Probe) -> list[float]:
        """Samples of a probe so far."""
        return self.of(self.ids[probe])

    @property
    def canary_drift(self) -> float:
        """Interquartile range over the median of the canary's visits, each by its best run."""
        return Measurement(tuple(self._canary_best)).spread if self._canary_best else 0.0

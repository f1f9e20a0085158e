"""Whole networks in turn, by one process on the device or by several, one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any

from netadapt.errors import DeviceError
from netadapt.platforms import Effort, Progress, Workload
from netadapt.platforms.bench.rounds import LEAST
from netadapt.platforms.link import Item, encoded
from netadapt.platforms.ort.files import refusal
from netadapt.platforms.ort.times import Times
from netadapt.platforms.replies import Record

ENERGY_ROUNDS = 3
ENERGY_WINDOW_S = 5.0

Ask = Callable[[Effort, Mapping[str, Any], Sequence[Item]], Iterator[Record]]
"""Runs a plan on the device, with further settings beside those of an effort."""


@dataclass
class Turns:
    """Networks that are measured together.

    Attributes:
        models: the networks; in what is measured, the place of each is its name.
        effort: how long to measure.
        device: its name, for errors.
        ask: runs a plan there.
        energy: whether they are run in windows too, for what they draw.
        progress: told of what is done.
    """

    models: Sequence[Workload]
    effort: Effort
    device: str
    ask: Ask
    energy: bool = False
    progress: Progress | None = None
    _done: int = field(default=0, init=False)

    def taken(self) -> list[Times]:
        """What each process took; all of them have samples of every network.

        Where the first one's share of the time tells too little, since the networks are slow, a
        single other one has all that is left, and is what counts.

        Raises:
            DeviceError: the device cannot be reached or run a network, or not in the time.
        """
        number, share = self.effort.invocations, self._share
        written = [cache(partial(_line, model)) for model in self.models]
        windows = [ENERGY_ROUNDS // number + (n < ENERGY_ROUNDS % number) for n in range(number)]
        found = [self._invocation(0, written, share, windows[0])]
        if number > 1 and self._is_little(found[0]):
            found = [self._invocation(1, written, self._rest, ENERGY_ROUNDS)]
        else:
            found += [self._invocation(n, written, share, windows[n]) for n in range(1, number)]
        self._tell(self._total)  # rounds end when enough is known
        whole = [times for times in found if all(map(times.of, self._names))]
        if not whole:
            lacking = next(n for n in self._names if not all(times.of(n) for times in found))
            raise DeviceError(
                f"{self.device} ran out of time before {self.models[int(lacking)].name} had run "
                "once; measure again, for longer."
            )
        return whole

    @cached_property
    def _share(self) -> Effort:
        return self.effort.shared

    @cached_property
    def _names(self) -> list[str]:
        return [str(place) for place in range(len(self.models))]

    @property
    def _total(self) -> int:
        return len(self.models) * self._share.passes * self.effort.invocations

    @property
    def _rest(self) -> Effort:
        """All but the first one's share, for one alone."""
        left_s = self.effort.time_limit_s
        if left_s is not None:
            left_s *= 1 - 1 / self.effort.invocations
        return replace(self.effort, invocations=1, time_limit_s=left_s)

    def _invocation(
        self, number: int, written: Sequence[Callable[[], Mapping[str, str]]], part: Effort,
        windows: int,
    ) -> Times:  # fmt: skip
        """What one process takes, with so many windows of energy if any."""
        items = [Item(n, w, part.passes) for n, w in zip(self._names, written, strict=True)]
        if number % 2:
            items.reverse()  # what comes first may have an advantage
        more: dict[str, Any] = {"seed": number}
        if self.energy:
            window_s = max(ENERGY_WINDOW_S, part.min_seconds)
            more |= {"energy_rounds": windows, "energy_window_s": window_s}
        times = Times({})
        for record in self.ask(part, more, items):
            times.add(record)
            self._done += len(items) if record["kind"] == "rounds" else record["kind"] == "visit"
            self._tell(self._done)
        self._check(times)
        return times

    def _is_little(self, times: Times) -> bool:
        """Whether a process was out of time before it had told what it was to tell at least."""
        return any(
            times.rounds.get(name, 0) < LEAST and times.visits.get(name, 0) < self._share.passes
            for name in self._names
        )

    def _check(self, times: Times) -> None:
        """Refuse a network that the device cannot run."""
        for name, error in times.errors.items():
            model = self.models[int(name)].name
            reason = refusal(error)
            if reason:
                raise DeviceError(f"{self.device} cannot run {model}: {reason}.")
            raise DeviceError(
                f"{self.device} cannot run {model}: {error.strip().rstrip('.')}. Export it with "
                "operators that this onnxruntime knows, or choose another platform."
            )

    def _tell(self, done: int) -> None:
        if self.progress is not None and self._total:
            self.progress(min(done, self._total), self._total)


def _line(model: Workload) -> dict[str, str]:
    """The network in a plan."""
    return encoded(model.serialized())

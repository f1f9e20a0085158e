"""A worker that is an actor of a Ray cluster, on whichever of its nodes has room.

Ray places it, tells of its death, and carries weights between nodes in its object store, so that
nodes need not see the run's folder. Images and a user's own code are read there by name, as here.
"""

import importlib
import os
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from netadapt.errors import UsageError, WorkerError
from netadapt.files import write_atomically
from netadapt.provenance import versions
from netadapt.runs import Outcome, Progress, Trial
from netadapt.workers.bench import Bench, Failure
from netadapt.workers.desks import SeatLost, WorkerLost

PLACED_WITHIN_S = 300.0
"""How long it may take until a node has room for a worker and has started it."""

_SAME = ("netadapt", "torch")
"""Packages whose versions must be those of the run."""

Files = Mapping[str, bytes]
"""Contents, by the field of a trial that says where they belong."""


class Actor:
    """What lives on a node; Ray makes it, and calls it from two threads: for work, and for news.

    Args:
        folder: working directory of the run, in which a user's own code may be found.
    """

    def __init__(self, folder: str) -> None:
        if os.path.isdir(folder):
            os.chdir(folder)
        self._bench = Bench()
        self._files = tempfile.TemporaryDirectory()
        self._news: Progress | None = None

    def versions(self) -> dict[str, str]:
        """Of what computes on the node."""
        return versions()

    def news(self) -> Progress | None:
        """How far the present trial is; what was told is not told again."""
        news, self._news = self._news, None
        return news

    def tried(
        self, trial: Trial, weights: bytes, teacher: bytes, place: bytes
    ) -> tuple[Outcome | Failure, Files]:
        """Try a candidate, with files here in place of those of the run.

        Args:
            trial: with the paths of the run.
            weights: what its file of weights holds.
            teacher: what the file of its teacher's weights holds; empty for none.
            place: what the file that keeps its place holds; empty for none.

        Returns:
            What came of it, and what it wrote.
        """
        here = replace(
            trial,
            weights=self._here(trial.weights),
            out=self._here(trial.out),
            place=self._here(trial.place),
            job=replace(trial.job, teacher=self._here(trial.job.teacher)),
        )
        self._lay_out({here.weights: weights, here.job.teacher: teacher})
        if place:
            Path(here.place).write_bytes(place)
        tried, files = self._bench.tried(here, self._tell), {}
        for name in ("out", "place"):
            path = Path(getattr(here, name))
            if path.is_file():
                files[name] = path.read_bytes()
                path.unlink()
        return tried, files

    def _lay_out(self, contents: Mapping[str, bytes]) -> None:
        """Have these files, which never change, in place of those of other trials."""
        if all(Path(path).exists() for path in contents if path):
            return
        for old in Path(self._files.name).iterdir():
            old.unlink()
        for path, content in contents.items():
            if path:
                Path(path).write_bytes(content)

    def _here(self, path: str) -> str:
        """Where a file of the run is on this node; empty for none."""
        return path and str(Path(self._files.name) / Path(path).name)

    def _tell(self, news: Progress) -> None:
        self._news = news


@dataclass
class Cluster:
    """A Ray cluster that is connected to.

    Attributes:
        ray: the module.
        needs: what each worker takes of a node, as Ray counts it.
    """

    ray: Any
    needs: Mapping[str, Any]
    _stored: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _storing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def size(self) -> int:
        """How many workers have room in it now.

        Raises:
            WorkerError: not one.
        """
        name, each = ("GPU", 1) if self.needs["num_gpus"] else ("CPU", self.needs["num_cpus"])
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        size = sum(int(node.get(name, 0) // each) for node in nodes)
        if size < 1:
            raise WorkerError(
                f"No node of the Ray cluster has the {each} {name} that a worker takes; add one."
            )
        return size

    def hire(self) -> "RayWorker":
        """A worker; where it is placed is for Ray to say.

        Raises:
            SeatLost: the cluster does not answer.
        """
        try:
            return RayWorker(self)
        except (self.ray.exceptions.RayError, ConnectionError) as error:
            raise SeatLost(f"found no cluster any more ({said(error)})") from error

    def stored(self, path: str) -> Any:
        """A file that all trials of an iteration read, once in the object store.

        The two that were asked for last stay there: the weights, and the teacher's.
        """
        with self._storing:
            content = self._stored.pop(path, None)
            self._stored[path] = content or self.ray.put(Path(path).read_bytes())
            for old in list(self._stored)[:-2]:
                del self._stored[old]
            return self._stored[path]


class RayWorker:
    """An actor, and what is waited for of it.

    Args:
        cluster: where to place it.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._ray = cluster, cluster.ray
        remote = self._ray.remote(max_concurrency=2, **cluster.needs)(Actor)
        self._actor = remote.remote(os.getcwd())
        self._placed: Any = self._actor.versions.remote()
        self._since_s = monotonic()
        self._work: Any = None
        self._asked: Any = None
        self._trial: Trial | None = None

    def begin(self, trial: Trial) -> None:
        """See :class:`netadapt.workers.desks.Worker`."""
        if self._cluster.needs["num_gpus"]:  # the one that Ray gives it is all that it sees
            trial = replace(trial, job=replace(trial.job, trainer="cuda"))
        self._trial, self._work, self._asked = trial, None, None

    def hear(self, timeout_s: float) -> Progress | Outcome | None:
        """See :class:`netadapt.workers.desks.Worker`."""
        try:
            if self._placed is not None and not self._is_placed(timeout_s):
                return None
            return self._heard(timeout_s)
        except self._ray.exceptions.RayTaskError:
            raise  # of the work, not of who does it
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise WorkerLost(f"was lost ({said(error)})") from error

    def _is_placed(self, timeout_s: float) -> bool:
        """Whether it is there, and computes with what the run computes with."""
        if not self._ready(self._placed, timeout_s):
            if monotonic() - self._since_s > PLACED_WITHIN_S:
                raise SeatLost(f"found no room on any node for {PLACED_WITHIN_S:.0f} s")
            return False
        theirs, ours = self._ray.get(self._placed), versions()
        self._placed = None
        for name in _SAME:
            if theirs.get(name) != ours.get(name):
                raise UsageError(
                    f"A node of the Ray cluster has {name} {theirs.get(name)}, and the run "
                    f"{ours.get(name)}; install the same on all."
                )
        return True

    def _heard(self, timeout_s: float) -> Progress | Outcome | None:
        trial = self._trial
        assert trial is not None
        if self._work is None:
            place = Path(trial.place) if trial.place else None
            kept = place.read_bytes() if place and place.exists() else b""
            weights, teacher = (
                self._cluster.stored(path) if path else b""
                for path in (trial.weights, trial.job.teacher)
            )
            self._work = self._actor.tried.remote(trial, weights, teacher, kept)
        if not self._ready(self._work, timeout_s):
            return self._latest()
        tried, files = self._ray.get(self._work)
        if isinstance(tried, Failure):
            raise tried.error()
        for name, content in files.items():
            write_atomically(Path(getattr(trial, name)), content)
        return tried  # type: ignore[no-any-return]

    def _latest(self) -> Progress | None:
        """How far it was when it was last asked; it may be too busy to answer at once."""
        self._asked = self._asked or self._actor.news.remote()
        if not self._ready(self._asked, 0.1):
            return None
        news, self._asked = self._ray.get(self._asked), None
        return news  # type: ignore[no-any-return]

    def _ready(self, reference: Any, timeout_s: float) -> bool:
        return bool(self._ray.wait([reference], timeout=timeout_s)[0])

    def end(self) -> None:
        """See :class:`netadapt.workers.desks.Worker`."""
        with suppress(self._ray.exceptions.RayError, ConnectionError):
            self._ray.kill(self._actor)


def said(error: Exception) -> str:
    """What Ray or the system says of an error, without the rest of its page."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first.rstrip('.')}"


@contextmanager
def connected(address: str, trainer: str, threads: int) -> Iterator[Cluster]:
    """Connect to a cluster, and leave it at the end; its actors end with that.

    Args:
        address: ``auto`` for the one that runs here, or such as ``ray://head:10001``.
        trainer: what each worker trains on.
        threads: that each computes with on a CPU.

    Raises:
        UsageError: Ray is not installed.
        WorkerError: the cluster cannot be reached.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise UsageError(
            "Workers of a Ray cluster need Ray, which is not installed; run pip install "
            "netadapt[ray]."
        ) from error
    needs = {"num_cpus": threads, "num_gpus": 0}
    if trainer != "cpu":
        needs = {"num_cpus": 1, "num_gpus": 1}
    ending = signal.getsignal(signal.SIGTERM)
    try:
        _check_answers(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is told as an error
            ray.init(address, logging_level="ERROR", log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        where = "here" if address == "auto" else f"at {address}"
        raise WorkerError(
            f"There is no Ray cluster {where} ({said(error)}); start one with 'ray start --head'."
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ending)  # Ray has put its own there
    try:
        yield Cluster(ray, needs)
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Find out at once whether somebody listens; Ray itself waits for many minutes.

    Raises:
        OSError: nobody does.
    """
    at = _address_here() if address == "auto" else address
    host, _, port = at.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _address_here() -> str:
    """The address that Ray would take for the cluster that runs here; empty if it does not tell.

    It may be that of a cluster which has died since. No public function of Ray's tells it.

    Raises:
        ConnectionError: there is none.
    """
    try:
        services = importlib.import_module("ray._private.services")
        return str(services.get_ray_address_from_environment("auto", None))
    except (ImportError, AttributeError, TypeError):
        return ""

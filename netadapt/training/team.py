"""Several processes that train one network together, by torch's DistributedDataParallel.

Each takes its share of the images of every step, and gradients are averaged, so that steps, batches
and learning rates are those of one process. On GPUs batch normalization looks at the images of all
(SyncBatchNorm), as it does in one process; on CPUs, for which torch has none of that kind, at each
process's own, and the running statistics are those of the first.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from netadapt.data.batches import Batches, Share, derived
from netadapt.data.task import Batch
from netadapt.errors import DeviceError, UsageError, WorkerError
from netadapt.ranks import ALONE, Rank
from netadapt.training.accumulation import part_of

T = TypeVar("T")

FEWEST = 2
"""Images of a step that a process takes at least: batch normalization cannot learn from one."""


@dataclass(frozen=True, slots=True)
class Team:
    """This process, among those that train together; see :func:`joined`.

    Attributes:
        rank: which one it is.
    """

    rank: Rank = ALONE

    def check(self, images: int) -> None:
        """Refuse steps of too few images to share.

        Raises:
            UsageError: a process would have too few.
        """
        if self.rank.several and images < FEWEST * self.rank.size:
            raise UsageError(
                f"A step of {images} images cannot be shared by {self.rank.size} processes, which "
                f"need {FEWEST} each; take larger batches, or fewer processes."
            )

    def shares(self, batches: Iterator[Batch], images: int) -> Iterator[tuple[int, Batch]]:
        """This process's share of each batch, and how many images the whole batch has.

        Of a user's own split the whole batch is read.

        Args:
            batches: of a pass that has not begun.
            images: in each of its batches.
        """
        share = Share(self.rank.number, self.rank.size)
        if not self.rank.several:
            yield from ((len(batch[0]), batch) for batch in batches)
        elif isinstance(batches, Batches):
            yield from ((images, batch) for batch in batches.shared(share))
        else:
            for batch in batches:
                self.check(len(batch[0]))
                yield len(batch[0]), part_of(batch, share.rows(len(batch[0])))

    def scale(self, own: int, images: int) -> float:
        """What the mean loss of the own images counts, so that the mean over all is the team's."""
        return self.rank.size * own / images

    def parts(self, wanted: int, images: int) -> int:
        """Parts that a share of so many images is taken in: as many by every process."""
        return max(1, min(wanted, images // self.rank.size // FEWEST))

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.rank.several:
            dist.all_reduce(values)
            values /= self.rank.size
        return values

    def told(self, what: Callable[[], T]) -> T:
        """What the first process finds, in all of them."""
        if not self.rank.several:
            return what()
        found = [what() if self.rank.first else None]
        dist.broadcast_object_list(found, device=torch.device("cpu"))
        return found[0]  # type: ignore[return-value]

    def agree(self, told: str) -> None:
        """Refuse processes that were started for different trainings.

        Args:
            told: what decides the course of the training, as this process has it.

        Raises:
            UsageError: others have it otherwise.
        """
        if not self.rank.several:
            return
        found: list[Any] = [None] * self.rank.size
        dist.all_gather_object(found, told)
        odd = next((number for number, other in enumerate(found) if other != found[0]), None)
        if odd is not None:
            raise UsageError(
                f"Process {odd} of {self.rank.size} has other settings or another number of images "
                "than the first; give all of them the same command and the same data."
            )

    def in_turn(self, what: Callable[[], T]) -> T:
        """Something that keeps files for the next time, by one process of a machine at first."""
        early = self.rank.local == 0
        result = what() if early else None
        self.mean(torch.zeros(1))  # all have come so far
        return result if early else what()  # type: ignore[return-value]

    def reseed(self, seed: int, step: int, device: torch.device) -> None:
        """Seed what dropout draws from; by the step, so that any number of processes may go on.

        One process alone draws on, from step to step.
        """
        if self.rank.several:
            value = derived(seed, step, self.rank.number)
            torch.default_generator.manual_seed(value)
            if device.type == "cuda":
                torch.cuda.manual_seed(value)


SOLO = Team()
"""One process alone."""


@contextmanager
def joined(rank: Rank, trainer: str) -> Iterator[tuple[Team, str]]:
    """Meet the other processes, if there are any; give the team, and where this one trains.

    They speak by gloo, and of tensors on GPUs by NCCL.

    Args:
        rank: which process this is.
        trainer: ``cpu``, or ``cuda`` for a GPU each.

    Raises:
        UsageError: one GPU is named for several processes.
        DeviceError: there are fewer GPUs than processes here, or no meeting the others.
        WorkerError: another process has ended before its time.
    """
    if not rank.several:
        yield SOLO, trainer
        return
    own = _own_trainer(rank, trainer)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if own.startswith("cuda") else "gloo")
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise DeviceError(
            f"Process {rank.number} of {rank.size} cannot meet the others ({reason}); start them "
            "with torchrun."
        ) from error
    try:
        yield Team(rank), own
    except RuntimeError as error:
        if not _is_of_others(error):
            raise
        raise WorkerError(
            "Another process of this training has ended before its time, and so do all; the same "
            "command goes on from the last checkpoint, if there was one yet."
        ) from error
    finally:
        dist.destroy_process_group()


def _own_trainer(rank: Rank, trainer: str) -> str:
    """Where this process trains."""
    kind, _, number = trainer.partition(":")
    if kind != "cuda":
        return trainer
    if number:
        raise UsageError(
            f"The trainer {trainer} is one GPU, for {rank.size} processes; say cuda, and each "
            "takes its own."
        )
    if rank.local >= torch.cuda.device_count():
        raise DeviceError(
            f"Process {rank.local} on this machine finds no GPU of its own: PyTorch sees "
            f"{torch.cuda.device_count()}; start as many processes as there are GPUs."
        )
    torch.cuda.set_device(rank.local)
    return f"cuda:{rank.local}"


def _is_of_others(error: RuntimeError) -> bool:
    """Whether it says that another process does not answer."""
    text = str(error)
    return isinstance(error, dist.DistError) or "gloo" in text or "closed by peer" in text


Net = Callable[[Any], Any]
"""What gives outputs for inputs, whose gradients become those of all processes."""

Apart = Callable[[], AbstractContextManager[None]]
"""Within it gradients stay this process's own, to be averaged with those of the next."""


@contextmanager
def connected(model: nn.Module, team: Team, device: torch.device) -> Iterator[tuple[Net, Apart]]:
    """The model as the team trains it; every process begins with the weights of the first.

    Args:
        model: on the device; the same object afterwards, with the modules that it had.
        team: who trains it.
        device: where this process computes.
    """
    if not team.rank.several:
        yield model, nullcontext
        return
    synchronized = _synchronized(model) if device.type == "cuda" else nullcontext()
    with synchronized:
        # Some networks leave parameters out of a step; to look for these costs little.
        parallel = DistributedDataParallel(model, find_unused_parameters=True)
        yield parallel, parallel.no_sync


def _of_all(norm: nn.Module) -> nn.Module:
    """A batch normalization over all processes, with the same tensors."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-any-return, no-untyped-call]


@contextmanager
def _synchronized(model: nn.Module) -> Iterator[None]:
    """Within it batch normalizations look at the images of all processes."""
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    ]
    for parent, name, child in places:
        setattr(parent, name, _of_all(child))
    try:
        yield
    finally:
        for parent, name, child in places:
            child.training = getattr(parent, name).training
            setattr(parent, name, child)

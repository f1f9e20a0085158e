"""Where a training keeps its place, so that one cut off goes on bit for bit where it was."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from netadapt.errors import RunError
from netadapt.files import write_atomically


@dataclass(frozen=True, slots=True)
class Place:
    """How far a training has come.

    Attributes:
        step: optimizer steps done.
        epoch: the pass over the training split that goes on, from 0.
        batch: batches of it that were trained on.
        seen: images in all steps together.
        seconds: elapsed so far, over all the times that it ran.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seen: int = 0
    seconds: float = 0.0


@dataclass
class Checkpoint:
    """A file that holds all the state of a training, written anew every so often.

    Weights, buffers, what the optimizer remembers, random states, losses, and the place in the
    epoch. What decides the course of the training is in it too: another training does not go on
    from it.

    Attributes:
        path: the file; nothing is there before the first time that it is due.
        every_s: seconds between one writing and the next.
        yields: whether another training begins anew in its place, rather than be refused; for one
            so short that little is lost.
    """

    path: Path
    every_s: float = 600.0
    yields: bool = False
    _last: float = field(default_factory=time.monotonic, init=False, repr=False)
    _folder_was_there: bool = field(default=False, init=False, repr=False)

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._last >= self.every_s

    def write(
        self, course: str, place: Place, losses: list[float], tensors: dict[str, Tensor]
    ) -> None:
        """Replace the file by the present state.

        Args:
            course: all that decides the course of the training, as text.
            place: how far it is.
            losses: of each step.
            tensors: what :func:`state_of` gives.

        Raises:
            RunError: the file cannot be written, and the one before is as it was; or its folder
                has gone, and is not made anew.
        """
        if self._folder_was_there and not self.path.parent.is_dir():
            raise RunError(
                f"The folder {self.path.parent} was moved or removed while a training kept its "
                "place there; put it back, then repeat the command."
            )
        values = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        values["losses"] = torch.tensor(losses, dtype=torch.float64)
        told = {name: getattr(place, name) for name in place.__slots__}
        write_atomically(
            self.path, save(values, metadata={"course": course, "place": json.dumps(told)})
        )
        self._last = time.monotonic()
        self._folder_was_there = True

    def read(self, course: str) -> tuple[Place, list[float], dict[str, Tensor]] | None:
        """What was written last, if anything was.

        Raises:
            RunError: the file is damaged, or of a training that takes another course and does not
                yield.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                told = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            place = Place(**json.loads(told["place"]))
            losses = tensors.pop("losses").tolist()
            other = told["course"] != course
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.path} should say where a training was cut off, and is damaged ({error}); "
                "delete it to train from the start."
            ) from error
        if other and self.yields:
            return None
        if other:
            raise RunError(
                f"{self.path} says where another training was cut off, with other settings, data "
                "or widths; repeat its command, or delete the file to train from the start."
            )
        return place, losses, tensors

    def discard(self) -> None:
        """Remove the file, once what was trained is safe elsewhere."""
        self.path.unlink(missing_ok=True)


def state_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> dict[str, Tensor]:
    """Everything that the next step depends on, by name; tensors that live on."""
    state = dict(_kept(model))
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state[parameter].items():
            if isinstance(value, Tensor):
                state[f"optimizer/{number}/{name}"] = value
    state["random/cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        state["random/cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_state(
    state: dict[str, Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> None:
    """Put back, in place, what :func:`state_of` gave."""
    with torch.no_grad():
        for name, tensor in _kept(model):
            tensor.copy_(state[name])
    parameters = list(_parameters(optimizer))
    for name, value in state.items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            number, _, key = rest.partition("/")
            parameter = parameters[int(number)]
            like = torch.empty_like(parameter) if value.shape == parameter.shape else value
            optimizer.state[parameter][key] = like.copy_(value).detach()
    torch.set_rng_state(state["random/cpu"])
    if device.type == "cuda" and "random/cuda" in state:  # it may have begun on a CPU
        torch.cuda.set_rng_state(state["random/cuda"], device)


def fingerprint(model: nn.Module) -> str:
    """Changes with any name, shape or value of a parameter or buffer."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in _kept(model):
        digest.update(f"{name}{list(tensor.shape)}{tensor.dtype}".encode())
        plain = tensor.detach().cpu().contiguous().flatten()
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _kept(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, those too that no state dict holds; each once."""
    for kind, named in (("weights", model.named_parameters()), ("buffers", model.named_buffers())):
        for name, tensor in named:
            yield f"{kind}/{name}", tensor


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Any]:
    for group in optimizer.param_groups:
        yield from group["params"]

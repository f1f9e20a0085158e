"""Check that groups are what the trace says: pruned models compute what masked ones do."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from netadapt.network import ChannelGroup, Network, shrinkable
from netadapt.pruning.surgery import Keep, mask, shrink
from netadapt.tracing import duplicate, unwrap

Mode = Literal["eval", "train"]
Status = Literal["equal", "shape-only", "failed", "not run"]

TOLERANCE = 1e-4
"""Greatest relative error that counts as equal."""

COARSE = 1e-3
"""Greatest relative error in single precision, where a model does not run in double."""


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """The outcome for one group, or for several removed together, in one mode.

    Attributes:
        group: id of the group, or ``all``.
        mode: whether the models were in evaluation or in training mode.
        status: ``shape-only`` where a group is not exact, so that values differ by nature;
            ``not run`` where the model itself, as it was given, does not run.
        max_error: greatest difference of any output element.
        relative: that, over the greatest output.
        detail: what went wrong, or what was not compared, as a phrase.
    """

    group: str
    mode: Mode
    status: Status
    max_error: float = 0.0
    relative: float = 0.0
    detail: str = ""


Inputs = Sequence[int] | torch.Tensor | Sequence[torch.Tensor]
"""Images with a batch of two or more, or the shape of one."""


def verify_groups(
    model: nn.Module,
    network: Network,
    inputs: Inputs | None = None,
    *,
    groups: Iterable[str] | None = None,
    modes: Sequence[Mode] = ("eval", "train"),
    seed: int = 0,
) -> list[GroupCheck]:
    """Remove a random half of each group's units; compare with zeroing what reads them.

    All is computed in double precision, so that an error is the trace's fault and not rounding; in
    single precision where the model's code cannot. In training mode, batch normalization uses
    statistics of the batch, and dropout is off. The values of groups that are not exact are not
    compared, but their shapes are.

    Args:
        model: the model, which stays as it is.
        network: its trace.
        inputs: what to compare on; default: the shape that the network was traced with.
        groups: ids of the groups to check; default: all that may shrink.
        modes: the modes to check.
        seed: of the choice of units, and of inputs that only a shape is given for.

    Returns:
        One check for each group and mode.
    """
    chosen = [network.groups[g] for g in groups] if groups is not None else [*shrinkable(network)]
    keep = halves(chosen, seed)
    parts = [(group.id, {group.id: keep[group.id]}) for group in chosen]
    subjects = subjects_of(model, network, inputs, modes, seed)
    return [check(s, network, part, name) for name, part in parts for s in subjects]


def verify_together(
    model: nn.Module,
    network: Network,
    inputs: Inputs | None = None,
    *,
    modes: Sequence[Mode] = ("eval", "train"),
    seed: int = 0,
) -> list[GroupCheck]:
    """Remove a random half of all groups at once; arguments as of :func:`verify_groups`.

    Returns:
        One check for each mode; one more where there are groups that are not exact.
    """
    chosen = [*shrinkable(network)]
    keep = halves(chosen, seed)
    parts = [
        (name, {group.id: keep[group.id] for group in chosen if group.exact is exact})
        for name, exact in (("all", True), ("all inexact", False))
    ]
    subjects = subjects_of(model, network, inputs, modes, seed)
    return [check(s, network, part, name) for name, part in parts if part for s in subjects]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that runs in one mode, with inputs, or why it does not.

    Attributes:
        mode: evaluation or training.
        model: a copy, in the precision that is computed in.
        images: its inputs.
        tolerance: greatest relative error that counts as equal.
        failure: what the model itself says where it does not run; empty if it does.
    """

    mode: Mode
    model: nn.Module
    images: tuple[torch.Tensor, ...]
    tolerance: float
    failure: str = ""


def subjects_of(
    model: nn.Module, network: Network, inputs: Inputs | None, modes: Sequence[Mode], seed: int
) -> list[Subject]:
    """The model in each mode."""
    return [subject(model, network, inputs, mode, seed) for mode in sorted(modes)]


def subject(
    model: nn.Module, network: Network, inputs: Inputs | None, mode: Mode, seed: int
) -> Subject:
    """The model in the best precision that it runs in."""
    model, failure = unwrap(model), ""
    for dtype, tolerance in ((torch.float64, TOLERANCE), (torch.float32, COARSE)):
        exact = duplicate(model).to(dtype)
        images = as_images(exact, network, inputs, seed)
        try:
            run(duplicate(exact), images, mode)
        except Exception as error:  # whatever the model's code may raise
            failure = first_line(error)
        else:
            return Subject(mode, exact, images, tolerance)
    return Subject(mode, model, (), TOLERANCE, failure)


def first_line(error: Exception) -> str:
    """What an error says first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def halves(groups: Sequence[ChannelGroup], seed: int) -> dict[str, tuple[int, ...]]:
    """Half of each group's units."""
    rng = random.Random(seed)
    return {group.id: half(group, rng) for group in groups}


def half(group: ChannelGroup, rng: random.Random) -> tuple[int, ...]:
    """A random half of a group's units, at least one."""
    return tuple(sorted(rng.sample(range(group.size), max(group.least, group.size // 2))))


def check(given: Subject, network: Network, keep: Keep, name: str) -> GroupCheck:
    """Compare the pruned with the masked model."""
    found = GroupCheck(name, given.mode, "equal")
    if given.failure:
        detail = f"the model as it was given does not run in this mode: {given.failure}"
        return replace(found, status="not run", detail=detail)
    comparable = all(network.groups[group].exact for group in keep)
    try:
        outputs = run(shrink(given.model, network, keep), given.images, given.mode)
        expected = run(mask(given.model, network, keep), given.images, given.mode)
    except Exception as error:  # a wrong group shows as any error the model may raise
        return replace(found, status="failed", detail=first_line(error))
    return compare(found, outputs, expected, comparable, given.tolerance)


def compare(
    found: GroupCheck,
    outputs: list[torch.Tensor],
    expected: list[torch.Tensor],
    comparable: bool,
    tolerance: float,
) -> GroupCheck:
    """The outcome for the outputs of both models."""
    shapes = [[tuple(x.shape) for x in some] for some in (outputs, expected)]
    if shapes[0] != shapes[1]:
        detail = f"outputs have shapes {shapes[0]}, expected {shapes[1]}"
        return replace(found, status="failed", detail=detail)
    if not comparable:
        detail = "removing a channel changes what others compute; only shapes are compared"
        return replace(found, status="shape-only", detail=detail)
    filled = [(x, y) for x, y in zip(outputs, expected, strict=True) if y.numel()]
    # A NaN must not pass, and max() would drop it: torch's maximum hands it on.
    worst = float(torch.stack([(x - y).abs().max() for x, y in filled]).max()) if filled else 0.0
    scale = max((float(y.abs().max()) for _, y in filled), default=0.0)
    relative = worst / scale if scale else worst
    if relative <= tolerance:
        return replace(found, max_error=worst, relative=relative)
    detail = f"relative error {relative:.3g} exceeds {tolerance:g}"
    return GroupCheck(found.group, found.mode, "failed", worst, relative, detail)


def run(model: nn.Module, images: tuple[torch.Tensor, ...], mode: Mode) -> list[torch.Tensor]:
    """All output tensors of one forward pass, with the same noise each time."""
    model.train(mode == "train")
    with torch.no_grad(), torch.random.fork_rng(devices=[]), NoDropout():
        torch.manual_seed(0)
        given = [image.clone() for image in images]  # code may change its input in place
        return [x if x.is_complex() else x.double() for x in tensors_in(model(*given))]


class NoDropout(TorchFunctionMode):
    """Turns every dropout off, called as a module or as a function."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Hand on the input of a dropout; let all else be."""
        if func in DROPOUTS:
            return args[0] if args else kwargs["input"]
        return func(*args, **(kwargs or {}))


DROPOUTS = frozenset({
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
    torch.dropout, torch.dropout_, torch.feature_dropout, torch.feature_dropout_,
    torch.alpha_dropout, torch.alpha_dropout_,
    torch.feature_alpha_dropout, torch.feature_alpha_dropout_,
})  # fmt: skip


def tensors_in(output: Any) -> Iterator[torch.Tensor]:
    """All tensors in what a model returns: tuples, mappings, data classes, in order."""
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Mapping):
        for key in output:
            yield from tensors_in(output[key])
    elif isinstance(output, list | tuple):
        for part in output:
            yield from tensors_in(part)
    elif hasattr(output, "__dict__"):
        yield from tensors_in(vars(output))


def as_images(
    model: nn.Module,
    network: Network,
    inputs: Sequence[int] | torch.Tensor | Sequence[torch.Tensor] | None,
    seed: int,
) -> tuple[torch.Tensor, ...]:
    """Inputs in the model's precision; random ones where only a shape is known."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    given = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs or network.input_shape)
    tensors = tuple(
        x.to(like.dtype) if x.is_floating_point() else x
        for x in given
        if isinstance(x, torch.Tensor)
    )
    if tensors:
        return tensors
    sizes = [size for size in given if isinstance(size, int)]
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, *sizes, dtype=torch.float64, generator=generator)
    return (image.to(like),)

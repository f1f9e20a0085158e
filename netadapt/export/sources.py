"""Where the constants of an exported graph come from: which weights, folded how, or none.

An exporter renames, transposes and folds. What it did is found by exporting a copy of the model
whose every weight has random values of its own: an initializer of the graph is then the one tensor,
or the one folding of tensors, that has its values.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from netadapt.errors import ModelError
from netadapt.export.widths import Form, Widths, value_of
from netadapt.pruning.surgery import named_tensors

Array = npt.NDArray[Any]
State = Mapping[str, Array]
"""Every parameter and buffer of a module as an array; of tied ones, by the first name."""

_MOST_INTEGERS = 64  # more than any shape or permutation has


class Source(Protocol):
    """What gives an initializer its values."""

    def values(self, state: State, shape: Sequence[int], widths: Sequence[int]) -> Array:
        """The values for weights and widths, in the order of ``shape`` if not in that shape."""
        ...


@dataclass(frozen=True, slots=True)
class Tensor:
    """A parameter or buffer, as it is or transposed."""

    name: str
    transposed: bool = False

    def values(self, state: State, shape: Sequence[int], widths: Sequence[int]) -> Array:
        """The tensor."""
        return state[self.name].T if self.transposed else state[self.name]


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch normalization that follows a convolution or linear layer.

    Attributes:
        scale, shift: names of its parameters; empty if it has none.
        mean, var: names of its statistics.
        eps: added to the variance.
    """

    scale: str
    shift: str
    mean: str
    var: str
    eps: float

    def factor(self, state: State) -> Array:
        """What it multiplies each channel by."""
        inverse: Array = 1 / np.sqrt(state[self.var] + np.asarray(self.eps, state[self.var].dtype))
        return state[self.scale] * inverse if self.scale else inverse


@dataclass(frozen=True, slots=True)
class FoldedWeight:
    """The weight of a layer, times what the normalization after it multiplies by.

    Attributes:
        name: of the weight, ``[C_out, ...]``, or ``[C_in, C_out / groups, ...]`` if ``swapped``.
        norm: the normalization.
        swapped: whether the layer is a transposed convolution.
    """

    name: str
    norm: Norm
    swapped: bool

    def values(self, state: State, shape: Sequence[int], widths: Sequence[int]) -> Array:
        """The product."""
        weight, factor = state[self.name], self.norm.factor(state)
        ones = (1,) * (weight.ndim - 2)
        if not self.swapped:
            return weight * factor.reshape(-1, 1, *ones)
        groups = len(factor) // weight.shape[1]
        parts = weight.reshape(groups, -1, *weight.shape[1:])
        return parts * factor.reshape(groups, 1, -1, *ones)


@dataclass(frozen=True, slots=True)
class FoldedBias:
    """The bias of a layer and the normalization after it; ``name`` is empty if it had no bias."""

    name: str
    norm: Norm

    def values(self, state: State, shape: Sequence[int], widths: Sequence[int]) -> Array:
        """``(bias - mean) * factor + shift``."""
        bias = -state[self.norm.mean]
        if self.name:
            bias = bias + state[self.name]
        scaled: Array = bias * self.norm.factor(state)
        return scaled + state[self.norm.shift] if self.norm.shift else scaled


@dataclass(frozen=True, slots=True)
class Constant:
    """Values that hang on nothing."""

    array: Array

    def values(self, state: State, shape: Sequence[int], widths: Sequence[int]) -> Array:
        """The values."""
        return self.array


@dataclass(frozen=True, slots=True)
class Fill:
    """One value, as often as there are channels."""

    value: Any
    dtype: npt.DTypeLike

    def values(self, state: State, shape: Sequence[int], widths: Sequence[int]) -> Array:
        """The value in each place."""
        return np.full(shape, self.value, self.dtype)


@dataclass(frozen=True, slots=True)
class Range:
    """0, 1, 2, ... up to the number of channels."""

    dtype: npt.DTypeLike

    def values(self, state: State, shape: Sequence[int], widths: Sequence[int]) -> Array:
        """The numbers."""
        return np.arange(math.prod(shape), dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class Integers:
    """Integers of which some follow widths, such as the target of a reshape."""

    forms: tuple[Form, ...]
    dtype: npt.DTypeLike

    def values(self, state: State, shape: Sequence[int], widths: Sequence[int]) -> Array:
        """The integers at those widths."""
        return np.array([value_of(form, widths) for form in self.forms], self.dtype)


def state_of(module: nn.Module) -> dict[str, Array]:
    """A module's parameters and buffers as arrays; of tied ones, by the first name."""
    return as_arrays(named_tensors(module))


def as_arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """Tensors as arrays."""
    return {name: t.detach().cpu().contiguous().numpy() for name, t in tensors.items()}


def scatter_values(module: nn.Module, seed: int) -> None:
    """Give every floating-point tensor of a module random values in 0.5 to 1.5, in place."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in named_tensors(module).values():
        if tensor.is_floating_point():
            values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.data.copy_(values + 0.5)


@dataclass
class Sources:
    """The sources that a module's weights are for the initializers of its graph.

    Args:
        module: the exported module, with scattered values.
        program: what was captured of it.
    """

    module: nn.Module
    program: torch.export.ExportedProgram
    _copies: dict[bytes, Tensor] = field(default_factory=dict, init=False)
    _folded: dict[int, list[tuple[Array, Source]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        state = state_of(self.module)
        for name, array in state.items():
            if array.ndim == 2:
                self._copies.setdefault(_digest(array.T), Tensor(name, transposed=True))
        for name, array in state.items():  # these after those, so that a vector is not transposed
            self._copies[_digest(array)] = Tensor(name)
        for source in foldings(self.module, self.program):
            array = source.values(state, (), ())
            self._folded.setdefault(array.size, []).append((array.reshape(-1), source))

    def of(self, array: Array) -> Source | None:
        """The source of a floating-point initializer, if it is weights."""
        if (copy := self._copies.get(_digest(array))) is not None:
            return copy
        tolerance = 1e-4 if array.dtype != np.float16 else 1e-2
        flat = array.reshape(-1)
        for values, source in self._folded.get(array.size, []):
            if np.allclose(flat, values, rtol=tolerance, atol=tolerance):
                return source
        return None


def _digest(array: Array) -> bytes:
    head = f"{array.dtype} {array.size}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(array).tobytes(), digest_size=16).digest()


def foldings(module: nn.Module, program: torch.export.ExportedProgram) -> Iterator[Source]:
    """What an exporter may fold: each normalization into the layer before it."""
    first: dict[int, str] = {id(tensor): name for name, tensor in named_tensors(module).items()}
    every: dict[str, torch.Tensor] = {}
    every |= dict(module.named_parameters(remove_duplicate=False))
    every |= dict(module.named_buffers(remove_duplicate=False))
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}

    def named(argument: Any) -> str:
        target = held.get(getattr(argument, "name", ""), "")
        return first[id(every[target])] if target in every else ""

    for node in program.graph.nodes:
        if node.op != "call_function" or "batch_norm" not in str(node.target):
            continue
        layer, scale, shift, mean, var, *_ = node.args
        weight, bias = (*layer.args[1:3], None, None)[:2]
        if not (named(weight) and named(mean) and named(var)):
            continue
        eps = next((a for a in reversed(node.args) if isinstance(a, float)), 1e-5)
        norm = Norm(named(scale), named(shift), named(mean), named(var), eps)
        yield FoldedWeight(named(weight), norm, "transpose" in str(layer.target))
        yield FoldedBias(named(bias), norm)


def constant_source(arrays: Sequence[Array], widths: Widths, where: str) -> Source:
    """The source of an initializer that is no weights, by its values at the references.

    Args:
        arrays: its values at each of the references of ``widths``.
        widths: explains integers.
        where: what it is called, for the error.

    Raises:
        ModelError: it hangs on the weights or widths in a way that is not known.
    """
    first, *others = arrays
    if all(np.array_equal(first, array) for array in others):
        return Constant(first)
    if first.size and all(np.all(array == first.flat[0]) for array in arrays):
        return Fill(first.flat[0], first.dtype)
    if all(np.array_equal(a.reshape(-1), np.arange(a.size)) for a in arrays):
        return Range(first.dtype)
    same = all(array.shape == first.shape for array in arrays)
    if not same or first.dtype.kind != "i" or first.size > _MOST_INTEGERS:
        raise ModelError(
            f"The constant {where} of its graph follows from weights or widths in no known way."
        )
    columns = zip(*(array.reshape(-1).tolist() for array in arrays), strict=True)
    return Integers(tuple(widths.form(column, where) for column in columns), first.dtype)

"""A network at other widths without exporting it anew: initializers are cut, and constants follow.

torch's exporter takes seconds for each network, whatever its widths; a search, or the check of a
table, asks for dozens that differ in nothing else. So a model is exported twice, at its own widths
and at others, each time with random weights, which tell which initializer is which tensor. What
differs besides follows from widths that the network knows. The second export is also what the
first, cut, has to equal; and at a third choice of widths, the real weights, cut, must compute what
torch does.

Random weights also keep an exporter from seeing that some are zero or equal for now, as those of a
fresh model are, and from leaving out what a trained model needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from netadapt.errors import ModelError
from netadapt.export.cuts import Cuts
from netadapt.export.graphs import Patch, paired_names, patches
from netadapt.export.onnx import (
    TOLERANCE,
    export_program,
    onnx_difference,
    program_to_onnx,
    to_onnx,
)
from netadapt.export.sources import (
    Array,
    Source,
    Sources,
    State,
    as_arrays,
    constant_source,
    scatter_values,
    state_of,
)
from netadapt.export.widths import (
    Ambiguous,
    Form,
    Widths,
    sizes_of,
    uneven_keep,
    value_of,
    widths_of,
)
from netadapt.network import Network, Sizes
from netadapt.pruning.surgery import Keep, named_tensors, shrink
from netadapt.tracing import unwrap

_SEED = 0  # of scattered weights; those of each export differ
_MOST_REFERENCES = 3  # exports at other widths, where one does not tell equal widths apart
_CLOSE = 1e-3  # of folded weights, relative to the largest: exporters fold in their own order


@dataclass(frozen=True, slots=True)
class Initializer:
    """A constant of the graph: its name, its shape, and what gives it values."""

    name: str
    shape: tuple[Form, ...]
    source: Source

    def at(self, state: State, widths: Sequence[int]) -> Array:
        """Its value for weights and widths."""
        shape = [value_of(form, widths) for form in self.shape]
        values = self.source.values(state, shape, widths)
        return np.ascontiguousarray(values).reshape(shape)


@dataclass(frozen=True)
class Template:
    """A graph whose widths and weights are open.

    Attributes:
        network: the unpruned network.
        skeleton: the serialized model without initializers.
        initializers: its initializers.
        patches: what else follows from widths.
        cuts: where the units of each group lie.
        padding_bytes: what an exporter's file holds beyond one that is filled here: its remarks.
    """

    network: Network
    skeleton: bytes
    initializers: tuple[Initializer, ...]
    patches: tuple[Patch, ...]
    cuts: Cuts
    padding_bytes: int = 0

    @classmethod
    def of(cls, module: nn.Module, network: Network, *, batch: int = 1) -> "Template":
        """Learn the template of a model from exports of it, and check it against them.

        Args:
            module: the unpruned model.
            network: what was traced from it.
            batch: images at a time.

        Raises:
            ModelError: the model cannot be exported, or its graph follows from its weights or
                widths in a way that is not known, so that it has to be exported anew each time.
        """
        import onnx

        scattered = shrink(module, network, {}).cpu()
        scatter_values(scattered, _SEED)
        program = export_program(scattered, network.input_shape, batch=batch)
        exported = program_to_onnx(program, type(scattered).__name__)
        graphs = [onnx.load_from_string(exported)]
        sources = Sources(scattered, program)
        keeps: list[Keep] = [{}]
        while True:
            keeps.append(uneven_keep(network, len(keeps)))
            smaller = shrink(scattered, network, keeps[-1])
            scatter_values(smaller, _SEED + len(keeps))
            graphs.append(onnx.load_from_string(to_onnx(smaller, network.input_shape, batch=batch)))
            try:
                template = learned(network, graphs, [sizes_of(keep) for keep in keeps], sources)
            except Ambiguous:
                if len(keeps) > _MOST_REFERENCES:
                    raise
            else:
                break
        require_equal(template, graphs[-1], sizes_of(keeps[-1]), smaller)
        require_same_values(template, module, batch)
        filled = template.filled({}, named_tensors(unwrap(scattered)))
        return replace(template, padding_bytes=len(exported) - len(filled))

    def filled(self, sizes: Sizes, state: Mapping[str, torch.Tensor]) -> bytes:
        """The network at some sizes with the weights given, as serialized ONNX.

        Args:
            sizes: of its groups; those that are left out keep their size.
            state: every parameter and buffer, by its first name where tied.
        """
        return self._written(sizes, as_arrays(state))

    def at(self, module: nn.Module, keep: Keep) -> bytes:
        """The unpruned model with only some units of each group kept, as serialized ONNX.

        Args:
            module: the unpruned model.
            keep: for each group that shrinks, the units that stay, ascending.
        """
        return self._written(sizes_of(keep), self.cuts.of_kept(state_of(unwrap(module)), keep))

    def _written(self, sizes: Sizes, state: State) -> bytes:
        import onnx
        from onnx import numpy_helper

        widths = widths_of(self.network, sizes)
        model = onnx.load_from_string(self.skeleton)
        for patch in self.patches:
            patch.apply(model.graph, widths)
        for initializer in self.initializers:
            array = initializer.at(state, widths)
            model.graph.initializer.append(numpy_helper.from_array(array, initializer.name))
        return bytes(model.SerializeToString())


def learned(
    network: Network, graphs: Sequence[Any], references: Sequence[Sizes], sources: Sources
) -> Template:
    """The template that explains several exports.

    Args:
        network: the unpruned network.
        graphs: ONNX models; the first is of all widths and of scattered weights.
        references: the sizes of each.
        sources: of the first's initializers.

    Raises:
        ModelError: there is none.
    """
    widths = Widths(network, references)
    bodies = [model.graph for model in graphs]
    names = [paired_names(bodies[0], body) for body in bodies]
    found = patches(bodies, widths)
    held = [_initializers(body) for body in bodies]
    initializers = []
    for name, array in held[0].items():
        arrays = [one[twin[name]] for one, twin in zip(held, names, strict=True) if name in twin]
        if len(arrays) < len(graphs):
            continue  # nothing reads it
        if any(other.ndim != array.ndim for other in arrays):
            raise ModelError(f"The constant {name} of its graph has another rank at other widths.")
        source = sources.of(array) if array.dtype.kind == "f" else None
        source = source or constant_source(arrays, widths, name)
        shape = [
            widths.form(column, f"the shape of {name}")
            for column in zip(*(one.shape for one in arrays), strict=True)
        ]
        initializers.append(Initializer(name, tuple(shape), source))
    return Template(network, _skeleton(graphs[0]), tuple(initializers), found, Cuts.of(network))


def _initializers(graph: Any) -> dict[str, Array]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _skeleton(model: Any) -> bytes:
    """The model without weights, inferred shapes, and what the exporter notes for its debugging."""
    bare = type(model)()
    bare.CopyFrom(model)
    graph = bare.graph
    for notes in (graph.initializer, graph.value_info, graph.metadata_props, bare.metadata_props):
        del notes[:]
    for part in (*graph.node, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    return bytes(bare.SerializeToString())


def require_equal(template: Template, exported: Any, sizes: Sizes, smaller: nn.Module) -> None:
    """Hold the template, filled, against a real export: same nodes, same constants.

    Raises:
        ModelError: they differ.
    """
    import onnx

    try:
        ours = onnx.load_from_string(template.filled(sizes, named_tensors(smaller))).graph
    except ValueError as error:  # weights do not have the shape that was learned
        raise ModelError(f"A constant of its graph has no shape that is known: {error}.") from error
    names, theirs = paired_names(ours, exported.graph), _initializers(exported.graph)
    for name, array in _initializers(ours).items():
        other = theirs[names[name]]
        scale = float(np.abs(other).max()) if other.size else 0.0
        if array.shape != other.shape or not np.allclose(array, other, _CLOSE, _CLOSE * scale):
            raise ModelError(f"The constant {name} of its graph is not what an export has.")


def require_same_values(template: Template, module: nn.Module, batch: int) -> None:
    """Hold the template against torch, at widths from which it was not learned.

    Raises:
        ModelError: they compute different values.
    """
    network = template.network
    keep = uneven_keep(network, _MOST_REFERENCES + 1)
    smaller = shrink(module, network, keep).cpu()
    dtype = next((p.dtype for p in smaller.parameters()), torch.float32)
    generator = torch.Generator().manual_seed(_SEED)
    images = torch.randn(batch, *network.input_shape, generator=generator).to(dtype)
    try:
        difference = onnx_difference(template.at(module, keep), smaller, images)
    except Exception as error:  # ONNX Runtime raises anything
        raise ModelError(
            f"ONNX Runtime does not load it at other widths ({str(error).splitlines()[0]})."
        ) from error
    if not difference <= TOLERANCE:
        raise ModelError(f"Cut, it differs from torch by {difference:.2g} of the largest output.")

"""Two exports of a model at different widths, compared node by node: what differs, and how."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netadapt.errors import ModelError
from netadapt.export.widths import Form, Term, Widths

DIFFERENT = "Its graph has other nodes at other widths"


@dataclass(frozen=True, slots=True)
class Patch:
    """An integer of a graph, outside its initializers, that follows a width.

    Attributes:
        path: attributes and positions that lead to it from the graph, such as
            ``("node", 3, "attribute", 0, "i")``.
        term: the width that it follows.
    """

    path: tuple[str | int, ...]
    term: Term

    def apply(self, graph: Any, widths: Sequence[int]) -> None:
        """Set it in a graph."""
        *way, last = self.path
        place = graph
        for step in way:
            place = getattr(place, step) if isinstance(step, str) else place[step]
        value = self.term.at(widths)
        if isinstance(last, str):
            setattr(place, last, value)
        else:
            place[last] = value


def paired_names(first: Any, other: Any) -> dict[str, str]:
    """The name in another graph of each tensor of the first.

    Several tensors of the first may be one in the other, where the exporter found their values to
    be equal.

    Raises:
        ModelError: the graphs do not have the same nodes, connected in the same way.
    """
    if [_kind(node) for node in first.node] != [_kind(node) for node in other.node]:
        raise ModelError(f"{DIFFERENT}.")
    names: dict[str, str] = {}
    for a, b in _pairs(first, other):
        if names.setdefault(a, b) != b:
            raise ModelError(f"{DIFFERENT}: {a} is read in other places.")
    return names


def _kind(node: Any) -> tuple[Any, ...]:
    inputs = tuple(bool(name) for name in node.input)
    return node.domain, node.op_type, inputs, len(node.output)


def _pairs(first: Any, other: Any) -> Iterator[tuple[str, str]]:
    for kind in ("input", "output"):
        pairs = zip(getattr(first, kind), getattr(other, kind), strict=True)
        yield from ((a.name, b.name) for a, b in pairs)
    for node, twin in zip(first.node, other.node, strict=True):
        yield from zip(node.input, twin.input, strict=True)
        yield from zip(node.output, twin.output, strict=True)


def patches(graphs: Sequence[Any], widths: Widths) -> tuple[Patch, ...]:
    """Everything outside the initializers that follows a width.

    Args:
        graphs: at each of the references of ``widths``, with the same nodes.
        widths: explains integers.

    Raises:
        ModelError: something differs that is no integer, or that no width explains.
    """
    found = [*_attribute_patches(graphs, widths), *_output_patches(graphs, widths)]
    return tuple(Patch(path, form) for path, form in found if isinstance(form, Term))


def _attribute_patches(
    graphs: Sequence[Any], widths: Widths
) -> Iterator[tuple[tuple[str | int, ...], Form]]:
    for n, nodes in enumerate(zip(*(graph.node for graph in graphs), strict=True)):
        named: list[Mapping[str, Any]] = [{a.name: a for a in node.attribute} for node in nodes]
        for k, attribute in enumerate(nodes[0].attribute):
            where = f"{attribute.name} of its {nodes[0].op_type} {nodes[0].name}"
            if any(attribute.name not in one or len(one) != len(named[0]) for one in named):
                raise ModelError(f"{DIFFERENT}: {where} is not always there.")
            values = [one[attribute.name] for one in named]
            path = ("node", n, "attribute", k)
            if all(value == attribute for value in values):
                continue
            if attribute.type == attribute.INT:
                yield (*path, "i"), widths.form([value.i for value in values], where)
            elif attribute.type == attribute.INTS:
                for position, column in enumerate(zip(*(v.ints for v in values), strict=True)):
                    yield (*path, "ints", position), widths.form(column, where)
            else:
                raise ModelError(f"{DIFFERENT}: {where} is another.")


def _output_patches(
    graphs: Sequence[Any], widths: Widths
) -> Iterator[tuple[tuple[str | int, ...], Form]]:
    for n, outputs in enumerate(zip(*(graph.output for graph in graphs), strict=True)):
        dims = [[d.dim_value for d in o.type.tensor_type.shape.dim] for o in outputs]
        for position, column in enumerate(zip(*dims, strict=True)):
            path = ("output", n, "type", "tensor_type", "shape", "dim", position, "dim_value")
            yield path, widths.form(column, f"the shape of its output {outputs[0].name}")

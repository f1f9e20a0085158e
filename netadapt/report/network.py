"""The network before and after: widths by layer, and each layer's share of the cost."""

from netadapt.report.blocks import Prose, Section, Table, clipped, thinned, thinned_note
from netadapt.report.charts import bars
from netadapt.report.facts import Facts
from netadapt.runs.events import BoundSet, Finished, Group
from netadapt.units import format_quantity

MOST_LAYERS = 300


def widths(facts: Facts) -> Section:
    """Output channels of every group, and why the rest is fixed."""
    if facts.traced is None:
        return Section("widths", "Widths", (Prose("The network is not traced yet."),))
    able = [group for group in facts.traced.groups if not group.fixed]
    after = _widths_after(facts)
    most = max((_channels(group) for group in able), default=0)
    shown = thinned(able, MOST_LAYERS)
    words = (
        f"{len(able)} of {len(facts.traced.groups)} channel groups can shrink, in multiples of "
        f"{facts.traced.multiple} channels. A group is named by the first layer that produces its "
        "channels."
    )
    table = Table(
        "Output channels before and after",
        ("layer", "before", "after", "left", ""),
        tuple(_width_row(group, after.get(group.id), most) for group in shown),
        frozenset({1, 2, 3}),
        thinned_note(len(shown), len(able), "groups"),
    )
    return Section("widths", "Widths", (Prose(words), table, *_fixed(facts)))


def _fixed(facts: Facts) -> tuple[Table, ...]:
    assert facts.traced is not None
    reasons = dict(facts.traced.fixed)
    reasons |= {group.id: group.fixed for group in facts.traced.groups if group.fixed}
    if not reasons:
        return ()
    shown = thinned(tuple(reasons.items()), MOST_LAYERS)
    return (
        Table(
            "Why the rest is fixed",
            ("layer", "reason"),
            tuple((clipped(layer, 120), clipped(reason)) for layer, reason in shown),
            note=thinned_note(len(shown), len(reasons), "layers"),
        ),
    )


def _channels(group: Group) -> int:
    return group.size * group.channels_per_unit


def _widths_after(facts: Facts) -> dict[str, int]:
    """Channels of the groups that shrank: of the result, or of the last step."""
    if facts.finished is not None:
        return {group: after for group, _, after in facts.finished.widths}
    units = {g.id: g.channels_per_unit for g in facts.traced.groups} if facts.traced else {}
    sizes = facts.steps[-1].sizes if facts.steps else {}
    return {group: size * units.get(group, 1) for group, size in sizes.items()}


def _width_row(group: Group, after: int | None, most: int) -> tuple[str, ...]:
    before = _channels(group)
    now = before if after is None else after
    return (
        clipped(group.id, 120), str(before), str(now), f"{now / before if before else 1:.0%}",
        bars(before, now, most),
    )  # fmt: skip


def layers(facts: Facts) -> Section:
    """Each layer's share of every cost, before and after."""
    title = "Cost by layer"
    if facts.finished is None:
        words = "Known once the run is finished."
        return Section("layers", title, (Prose(words),))
    words = (
        "As what steers prices each layer; the upper bar is before, the lower after. Layers that "
        "cost nothing by themselves are left out."
    )
    tables = [_layer_table(facts.finished, bound) for bound in facts.bounds.values()]
    return Section("layers", title, (Prose(words), *tables))


def _layer_table(finished: Finished, bound: BoundSet) -> Table:
    key = bound.key
    costs = [
        (layer, layer.cost_before.get(key, 0.0), layer.cost_after.get(key, 0.0))
        for layer in finished.layers
    ]
    costly = [line for line in costs if line[1] or line[2]]
    totals = [sum(line[i] for line in costs) for i in (1, 2)]  # type: ignore[misc]
    most = max((max(before, after) for _, before, after in costly), default=0.0)
    shown = thinned(costly, MOST_LAYERS)
    rows = tuple(
        (clipped(layer.name, 120), layer.op, format_quantity(before, bound.unit),
         _share(before, totals[0]), format_quantity(after, bound.unit), _share(after, totals[1]),
         bars(before, after, most))
        for layer, before, after in shown
    )  # fmt: skip
    return Table(
        f"{clipped(key)} by layer",
        ("layer", "kind", "before", "share", "after", "share", ""),
        rows,
        frozenset({2, 3, 4, 5}),
        thinned_note(len(shown), len(costly), "layers"),
    )


def _share(part: float, total: float) -> str:
    return f"{part / total:.1%}" if total else "-"

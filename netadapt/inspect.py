"""What a model looks like to the search: groups, shares of the cost, and why a layer is fixed."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from netadapt.assembly import Assembly, Source, assemble
from netadapt.errors import ModelError, UsageError
from netadapt.network import ChannelGroup, LayerShape, Network, op_of
from netadapt.platforms import open_platform
from netadapt.platforms.accelerators.eyeriss import Eyeriss
from netadapt.platforms.accelerators.platform import ModelledPlatform
from netadapt.platforms.accelerators.report import EnergyReport, energy_report
from netadapt.platforms.accelerators.row_stationary import DENSE
from netadapt.platforms.accelerators.sparsity import MEASURED, Sparsity
from netadapt.pruning.check import verify_groups
from netadapt.space import told_zeros
from netadapt.tables.lookup import LookupTable
from netadapt.tracing import trace


def inspect_model(source: Source, *, table_path: Path | None, verify: bool) -> dict[str, Any]:
    """Everything that ``netadapt inspect`` shows, as plain JSON values.

    Args:
        source: the model.
        table_path: a lookup table; adds each group's share of what the table prices.
        verify: compare pruned with masked models, group by group.

    Raises:
        TableError: the table is unreadable, or holds nothing like some layer of the model.
    """
    assembly = assemble(source)
    network, input_shape = assembly.network, assembly.spec.input_shape
    table = LookupTable.load(table_path) if table_path else None
    report: dict[str, Any] = {
        "schema": 2,
        "model": source.model,
        "input_shape": list(input_shape),
        "input_shapes": [list(shape) for shape in assembly.input_shapes or (input_shape,)],
        "params": network.params({}),
        "macs": network.macs({}),
        **describe_groups(network, table),
        "fixed": [{"layer": f.layer, "reason": f.reason} for f in network.fixed],
        "untrained": network.untrained,
        "unpriced": [layer.name for layer in network.costed if not op_of(layer.op).priced],
    }
    if verify:
        report["checks"] = [
            {
                "group": check.group,
                "mode": check.mode,
                "difference": check.relative,
                "status": check.status,
                "detail": check.detail,
            }
            for check in verify_groups(assembly.module, network, images_to_verify(assembly))
        ]
    return report


def images_to_verify(assembly: Assembly) -> tuple[torch.Tensor, ...]:
    """Two images: of half the height and width, if the model does to them what it does to its own.

    A trace of both sizes that finds the same places of the same channels shows that it does; the
    check then takes a quarter of the time.
    """
    images = assembly.examples(2)
    if len(images) != 1 or images[0].ndim != 4 or min(images[0].shape[2:]) < _LARGE:
        return images
    half = images[0][:, :, ::2, ::2].contiguous()
    try:
        same = trace(assembly.module, tuple(half.shape[1:])).groups == assembly.network.groups
    except ModelError:
        same = False
    return (half,) if same else images


_LARGE = 128
"""Pixels from which on half of the height or width is enough to verify."""


def describe_groups(network: Network, table: LookupTable | None) -> dict[str, Any]:
    """Each channel group with its members and its share of the cost.

    A layer counts for every group that its widths mention, so the shares overlap.
    """
    shapes = network.at({})
    prices = [table.layer(shape) for shape in shapes] if table else []
    macs = network.macs({}) or 1
    params, total = network.params({}) or 1, sum(prices)

    def described(group: ChannelGroup) -> dict[str, Any]:
        positions = network.mentions.get(group.id, ())
        mine = [t for t in network.tensors if any(group.id in w.groups for w in t.shape)]
        elements = sum(math.prod(w.at(network.sizes) for w in t.shape)
                       for t in mine if t.parameter)  # fmt: skip
        return {
            "id": group.id,
            "units": group.size,
            "channels": group.size * group.channels_per_unit,
            "fixed": group.fixed,
            "exact": group.exact,
            "layers": [network.costed[p].name for p in positions],
            "tensors": [{"name": s.tensor, "dim": s.dim, "role": s.role} for s in group.slots],
            "macs_share": sum(shapes[p].macs for p in positions) / macs,
            "params_share": elements / params,
            "cost_share": sum(prices[p] for p in positions) / total if total else None,
        }

    return {
        "groups": [described(group) for group in network.groups.values()],
        "cost": describe_cost(table, shapes) if table else None,
    }


def describe_cost(table: LookupTable, shapes: Sequence[LayerShape]) -> dict[str, Any]:
    """What a table says of a network, in its unit."""
    return {
        "resource": table.resource,
        "unit": table.unit,
        "value": table.price(shapes),
        "estimated": [str(shape) for shape in table.estimated(shapes)],
    }


def inspect_energy(source: Source, platform_uri: str) -> EnergyReport:
    """A model's energy by layer, level and kind of data, on hardware that is modelled.

    Args:
        source: the model; if it names a data set, the zeros that enter each layer are counted in
            holdout images, for hardware that gains by them and was told none.
        platform_uri: such as ``eyeriss:?batch=4``.

    Raises:
        UsageError: the platform is measured, so that nobody knows which level spends its energy.
        UnmappableLayer: the hardware cannot compute one of the layers that multiply, or there are
            none.
    """
    platform = open_platform(platform_uri)
    if not isinstance(platform, ModelledPlatform):
        raise UsageError(
            f"{platform_uri} is no modelled hardware, so its energy cannot be told apart by layer "
            "and level; give eyeriss:, crossbar: or optical:."
        )
    assembly = assemble(source)
    chip, task = platform.hardware, assembly.task
    if task and platform.sparsity is None and isinstance(chip, Eyeriss) and chip.zeros == DENSE:
        platform = replace(platform, sparsity=Sparsity(MEASURED))
    platform = told_zeros(platform, assembly)
    layers = tuple((shape.name, shape) for shape in assembly.network.at({}))
    shares = None if platform.sparsity is None else platform.sparsity.shares
    report = energy_report(source.model, layers, chip, shares)
    counted = tuple(layer.leaving_out(*platform.left_out) for layer in report.layers)
    return replace(report, hardware=platform.name, layers=counted)

"""What a model looks like to the search: groups, shares of the cost, and why a layer is fixed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from netadapt.models import ImageShape, ModelSpec
from netadapt.network import ChannelGroup, Network
from netadapt.pruning.check import verify_groups
from netadapt.tables.table import UNPRICED, LookupTable
from netadapt.tracing import trace


def default_input_shape(name: str, input_size: int | None) -> ImageShape:
    """The images that a model of that name is made for, where no data set says."""
    size = input_size or (299 if name == "inception_v3" else 224)
    return (3, size, size)


def inspect_model(
    model: str,
    *,
    model_args: Mapping[str, Any],
    weights: str | None,
    input_size: int | None,
    num_classes: int,
    table_path: Path | None,
    verify: bool,
) -> dict[str, Any]:
    """Everything that ``netadapt inspect`` shows, as plain JSON values.

    Args:
        model: by name.
        model_args: further arguments of the model.
        weights: a weight file, or ``pretrained``.
        input_size: height and width of the images in pixels.
        num_classes: outputs of the classifier.
        table_path: a lookup table; adds each group's share of the latency.
        verify: compare pruned with masked models, group by group.
    """
    spec = ModelSpec(model, num_classes, default_input_shape(model, input_size), dict(model_args))
    module = spec.build(weights)
    network = trace(module, spec.input_shape)
    table = LookupTable.load(table_path) if table_path else None
    report: dict[str, Any] = {
        "schema": 1,
        "model": model,
        "input_shape": list(spec.input_shape),
        "params": network.params({}),
        "macs": network.macs({}),
        **describe_groups(network, table),
        "fixed": [{"layer": f.layer, "reason": f.reason} for f in network.fixed],
        "unpriced": [layer.name for layer in network.costed if layer.op in UNPRICED],
    }
    if verify:
        images = torch.randn(4, *spec.input_shape, generator=torch.Generator().manual_seed(0))
        report["checks"] = [
            {
                "group": check.group,
                "mode": check.mode,
                "difference": check.relative,
                "status": check.status,
            }
            for check in verify_groups(module, network, images)
        ]
    return report


def describe_groups(network: Network, table: LookupTable | None) -> dict[str, Any]:
    """Each channel group with its members and its share of the cost.

    A layer counts for every group that its widths mention, so the shares overlap.
    """
    shapes = network.at({})
    prices = [table.layer(shape) for shape in shapes] if table else []
    macs = network.macs({}) or 1
    params = network.params({}) or 1

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
            "latency_share": sum(prices[p] for p in positions) / sum(prices) if prices else None,
        }

    return {
        "groups": [described(group) for group in network.groups.values()],
        "latency_s": table.network(sum(prices), sum(s.weights for s in shapes)) if table else None,
    }

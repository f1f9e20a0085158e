"""The official repository's "helloworld" network as arithmetic: the oracle of the search."""

from netadapt.network import ChannelGroup, LayerSpec, Network, Slot, TensorSpec, Width


def one_per_unit(size: int) -> tuple[tuple[int, ...], ...]:
    return tuple((i,) for i in range(size))


def helloworld() -> Network:
    """3-16-32-64-10: four 3x3 convolutions on 32x32 pixels, without bias."""
    widths = [16, 32, 64, 10]
    forms = [Width(3)] + [Width(terms=((f"conv{i}", 1),)) for i in range(3)] + [Width(10)]
    layers, tensors, groups = [], [], {}
    for i in range(4):
        layers.append(
            LayerSpec(
                name=f"conv{i}", op="conv", cin=forms[i], cout=forms[i + 1], kernel=(3, 3),
                padding=(1, 1), in_hw=(32, 32), out_hw=(32, 32), module=f"conv{i}",
            )
        )  # fmt: skip
        tensors.append(TensorSpec(f"conv{i}.weight", (forms[i + 1], forms[i], Width(3), Width(3))))
    for i in range(3):
        index = one_per_unit(widths[i])
        groups[f"conv{i}"] = ChannelGroup(
            f"conv{i}",
            widths[i],
            (Slot(f"conv{i}.weight", 0, "out", index), Slot(f"conv{i + 1}.weight", 1, "in", index)),
        )
    return Network((3, 32, 32), tuple(layers), groups, tuple(tensors))

"""Optics: the table of energies, and what the formulas say about distance and fan-in."""

import pytest

from netadapt.errors import UnmappableLayer
from netadapt.network import LayerShape
from netadapt.platforms.accelerators.optics import (
    AGGRESSIVE,
    BITS_PER_MAC,
    MAC_PJ,
    Optics,
    layer_energy,
    wire_pj,
)


def conv(cin, cout, side, kernel=1, groups=1):
    return LayerShape("conv", cin, cout, (side,) * 2, (side,) * 2, (kernel,) * 2,
                      padding=(kernel // 2,) * 2, groups=groups)  # fmt: skip


HOMODYNE = Optics()


def fj_per_mac(shape, hardware=HOMODYNE):
    return layer_energy(shape, hardware).energy_j * 1e15 / shape.macs


FC = LayerShape("linear", 4096, 4096)


@pytest.mark.parametrize(
    ("shape", "batch", "fj"),
    [
        (conv(256, 256, 14, 3), 1, 85),
        (conv(64, 64, 56), 1, 150),
        (conv(256, 256, 14, 3, groups=256), 1, 4989),
        (FC, 1, 4697),
        (FC, 64, 110),
    ],
    ids=str,
)
def test_homodyne_products_cost_what_the_table_says(shape, batch, fj):
    assert fj_per_mac(shape, Optics(batch=batch)) == pytest.approx(fj, rel=0.006)


@pytest.mark.parametrize(
    ("n", "fj"), [(16, 741), (64, 185), (256, 46.3), (1024, 11.6), (4096, 2.91)]
)
def test_a_square_product_gets_cheaper_with_its_side(n, fj):
    shape = LayerShape("linear", n, n, (n, 1), (n, 1))
    assert fj_per_mac(shape, Optics(size=n)) == pytest.approx(fj, rel=0.003)


def test_light_is_below_one_percent_and_converters_with_buffer_above_ninety_nine():
    parts = {}
    for part in layer_energy(conv(256, 256, 14, 3)).parts:
        parts[part.level] = parts.get(part.level, 0.0) + part.energy_j
    whole = sum(parts.values())
    assert parts["light"] < 0.01 * whole
    assert parts["send"] + parts["receive"] + parts["buffer"] > 0.99 * whole


def test_a_homodyne_product_by_hand():
    """K = 2, M = 3, P = 5 on one array: 2*5 inputs, 2*3 weights, 3*5 outputs."""
    shape = LayerShape("linear", 2, 3, (5, 1), (5, 1))
    picojoules = (10 + 6) * (3.57 + 0.45 + 0.64) + 15 * (1.48 + 0.30 + 0.11 + 0.64)
    light = 30 * 3.2 * 1.28e-7 / (0.2 * 0.1)
    assert layer_energy(shape).energy_j == pytest.approx((picojoules + light) * 1e-12)
    assert layer_energy(shape).latency_s == pytest.approx(2 / 10e9)


@pytest.mark.parametrize("size", [8, 64, 256])
def test_holding_a_thermo_optic_mesh_costs_the_same_whatever_its_size(size):
    """P_pi * (1/f + t_prog/P) for each product: 30 mW * (0.1 ns + 10 us / 196) = 1.53 nJ."""
    shape = LayerShape("linear", 256, 256, (196, 1), (196, 1))
    parts = {
        p.level: p.energy_j for p in layer_energy(shape, Optics("mesh", size, thermal=True)).parts
    }
    assert parts["hold"] / shape.macs == pytest.approx(30e-3 * (1e-10 + 10e-6 / 196))
    assert 3e-12 < parts["hold"] / shape.macs < 1.6e-9


def test_a_non_volatile_mesh_holds_its_weights_for_nothing():
    parts = layer_energy(conv(256, 256, 14, 3), Optics("mesh", 64)).parts
    assert "hold" not in {part.level for part in parts}
    assert fj_per_mac(conv(256, 256, 14, 3), Optics("mesh", 64)) == pytest.approx(122.3, rel=0.001)


def test_an_optical_link_costs_the_same_from_anywhere_and_a_wire_by_its_length():
    assert fj_per_mac(FC, Optics("link")) == pytest.approx(25.51, rel=0.001)
    wired = [MAC_PJ + BITS_PER_MAC * wire_pj(um) for um in (1, 10, 100)]
    assert [pj * 1e3 for pj in wired] == pytest.approx([25.51, 30.12, 76.2], rel=0.001)


def test_a_link_has_no_clock():
    assert layer_energy(FC, Optics("link")).latency_s is None


def test_better_converters_help_but_the_buffer_stays():
    assert fj_per_mac(conv(256, 256, 14, 3), Optics(components=AGGRESSIVE)) == pytest.approx(
        19.3, rel=0.003
    )


def test_a_layer_without_weights_is_no_product():
    with pytest.raises(UnmappableLayer, match="add"):
        layer_energy(LayerShape("add", 8, 8, (4, 4), (4, 4)))


def test_the_hardware_names_technology_precision_and_batch():
    assert str(Optics(batch=64)) == (
        "modelled optical homodyne array 128x128, published components, 8 bits, batch 64"
    )
    assert "non-volatile mesh" in str(Optics("mesh"))

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.network import ChannelGroup, LayerShape, Width
from tests.helloworld import helloworld


def test_width_is_affine():
    width = Width(3, (("a", 2), ("b", 5)))
    assert width.at({"a": 10, "b": 1}) == 3 + 20 + 5
    assert str(width) == "2*a + 5*b + 3"


def test_helloworld_counts():
    net = helloworld()
    # 3*16*9 + 16*32*9 + 32*64*9 + 64*10*9
    assert net.params({}) == 432 + 4608 + 18432 + 5760 == 29232
    assert net.macs({}) == 29232 * 32 * 32


def test_consumers_shrink_with_the_producer():
    net = helloworld()
    shapes = net.at({"conv1": 25})
    assert (shapes[1].cout, shapes[2].cin) == (25, 25)
    assert net.params({"conv1": 25}) == 29232 - 9 * 7 * (16 + 64)


@pytest.mark.parametrize(
    ("sizes", "word"), [({"nope": 3}, "no channel group"), ({"conv0": 17}, "out of range")]
)
def test_unknown_groups_and_sizes_are_refused(sizes, word):
    with pytest.raises(ValueError, match=word):
        helloworld().at(sizes)


@pytest.mark.parametrize(
    ("size", "per_unit", "block", "choices"),
    [
        (32, 1, 8, (24, 16, 8)),
        (30, 1, 8, (24, 16, 8)),
        (8, 1, 8, ()),
        (3, 1, 1, (2, 1)),
        (6, 4, 8, (4, 2)),  # 24 channels in units of 4: full blocks are 2 units
        (5, 3, 8, ()),  # 8 units of 3 channels make full blocks: too few units
    ],
)
def test_choices_are_full_blocks(size, per_unit, block, choices):
    assert ChannelGroup("g", size, (), per_unit).choices(block) == choices


@given(st.data())
def test_narrow_renumbers_consistently(data):
    net = helloworld()
    keep = {
        group.id: tuple(
            sorted(data.draw(st.sets(st.integers(0, group.size - 1), min_size=1), label=group.id))
        )
        for group in net.groups.values()
    }
    narrowed = net.narrow(keep)
    sizes = {group: len(units) for group, units in keep.items()}
    assert narrowed.sizes == sizes
    assert narrowed.at({}) == net.at(sizes)
    assert narrowed.params({}) == net.params(sizes)
    for group in narrowed.groups.values():
        for slot in group.slots:
            assert slot.index == tuple((i,) for i in range(group.size))


def test_shape_reads_as_one_line():
    shape = LayerShape(
        "conv", 32, 64, (14, 14), (7, 7), (3, 3), (2, 2), (1, 1), groups=32, bias=True, act="relu"
    )
    assert str(shape) == "conv 32>64 k3x3 s2x2 p1x1 g32 14x14 to 7x7 bias relu"
    assert shape.macs == 2 * 32 * 9 * 1 * 49

"""Networks in turn: a run of each a round, until it is known how they compare."""

import base64
import random
import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.network import LayerShape
from netadapt.platforms import OVERHEAD, Effort, Workload, open_platform
from netadapt.platforms.bench import rounds, timer
from netadapt.platforms.bench.main import DEFAULTS
from netadapt.platforms.bench.rounds import half_width, measure_in_rounds, median
from netadapt.platforms.measurement import Measurement, Ratio
from netadapt.platforms.ort.probes import Probe, build

CALL = build(Probe("call", OVERHEAD))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_the_median_is_that_of_the_standard_library(values):
    assert median(values) == statistics.median(values)


def test_half_of_the_interval_is_students_of_the_medians_of_sixteen_batches():
    # Batches of two whose medians are 0.9 and 1.1 in turn: their deviation is 0.1 sqrt(16/15).
    values = [0.9, 0.9, 1.1, 1.1] * 8
    assert half_width(values) == pytest.approx(2.131 * 0.1 * (16 / 15) ** 0.5 / 4)
    assert half_width([1.0] * 500) == 0
    assert half_width([1.0] * 31) == float("inf")


def test_the_interval_holds_the_truth_nineteen_times_of_twenty_where_neighbours_are_alike():
    """Values in runs of ten that share a shift, as a machine's regimes do; 400 intervals."""
    source = random.Random(0)
    hits = 0
    for _ in range(400):
        shifts = [source.gauss(0, 0.02) for _ in range(160)]
        values = [1 + shifts[k // 10] + source.gauss(0, 0.05) for k in range(1600)]
        hits += abs(median(values) - 1) <= half_width(values)
    assert 0.92 <= hits / 400 <= 0.98


class Machine:
    """Two networks on a machine of two speeds, each kept up for a while; its clock is theirs."""

    def __init__(self, costs, *, wobble=0.0, lost=0.0):
        self.now = 0
        self.costs, self.wobble, self.lost = costs, wobble, lost
        self.random = random.Random(1)
        self.order = []

    def spent(self, name):
        return self.costs[name]

    def session(self, name):
        machine = self

        class Session:
            def run(self, names, feed):
                machine.order.append(name)
                slow = 1.5 if machine.now // 50_000 % 2 else 1.0
                noise = 1 + machine.wobble * machine.random.random()
                spent = 0 if machine.random.random() < machine.lost else machine.spent(name)
                machine.now += int(spent * slow * noise)

        return Session()

    def timer(self, **settings):
        self.told = []
        plain = {**DEFAULTS, "precision": 0.01, "warmups": 1, **settings}
        made = timer.Timer(plain, self.told.append)
        made.clock = lambda: self.now

        def load(entries):
            for entry in entries:
                entry.session = self.session(entry.id)
            return entries

        made.load = load
        return made

    def taken(self):
        ns = {}
        for record in self.told:
            assert record["kind"] == "rounds"
            for name, values in record["ns"].items():
                ns.setdefault(name, []).extend(values)
        return ns


def lines(*names):
    return [{"id": name} for name in names]


def test_regimes_that_neighbours_share_do_not_show_in_the_ratio():
    machine = Machine({"a": 1000, "b": 700})
    measure_in_rounds(machine.timer(), lines("a", "b"))
    taken = machine.taken()
    assert len(taken["a"]) == len(taken["b"]) < 2 * rounds.LEAST
    assert median([b / a for a, b in zip(taken["a"], taken["b"], strict=True)]) == 0.7


def test_each_round_begins_with_another_one():
    machine = Machine({"a": 10, "b": 10, "c": 10})
    measure_in_rounds(machine.timer(warmups=0), lines("a", "b", "c"))
    assert "".join(machine.order[:9]) == "abc" + "bca" + "cab"


@pytest.mark.parametrize(
    ("slowest_ms", "turns"), [(1, "aaabbbbbbaaa"), (60, "aabbbbaa"), (200, "abba")]
)
def test_what_counts_is_a_run_after_others_of_the_same_network(slowest_ms, turns):
    """As many for all as fill the caches: two, or what of the slowest fits into 100 ms.

    The first after another network takes twice as long here.
    """
    machine, order = Machine({"a": 1_000_000, "b": slowest_ms * 1_000_000}), []

    def spent(name):
        cold = 2 if order[-1:] != [name] else 1
        order.append(name)
        return cold * machine.costs[name]

    machine.spent = spent
    measure_in_rounds(machine.timer(warmups=2, precision=1.0), lines("a", "b"))
    assert "".join(order[: 4 + len(turns)]) == "aabb" + turns
    warm = slowest_ms < 100
    assert (max(machine.taken()["a"]) <= 1_500_000) == warm


def test_a_ratio_that_varies_is_measured_until_it_is_known():
    few, more = (Machine({"a": 1000, "b": 700}, wobble=1.0) for _ in range(2))
    measure_in_rounds(few.timer(precision=0.05), lines("a", "b"))
    measure_in_rounds(more.timer(precision=0.01), lines("a", "b"))
    taken = more.taken()
    ratios = [b / a for a, b in zip(taken["a"], taken["b"], strict=True)]
    assert half_width(ratios) <= 0.01 * median(ratios)
    assert len(taken["a"]) > 4 * len(few.taken()["a"])


def test_networks_run_for_as_long_as_is_asked():
    machine = Machine({"a": 1000, "b": 700})
    measure_in_rounds(machine.timer(min_seconds=1e-4), lines("a", "b"))
    assert sum(machine.taken()["b"]) >= 100_000


def test_a_round_with_a_reading_of_no_time_is_dropped_whole_and_counted():
    machine = Machine({"a": 1000, "b": 700}, lost=0.3)
    made = machine.timer()
    measure_in_rounds(made, lines("a", "b"))
    taken = machine.taken()
    assert made.lost > 0
    assert min(taken["a"] + taken["b"]) > 0
    assert len(taken["a"]) == len(taken["b"]) >= rounds.LEAST


def test_sessions_are_opened_anew_and_one_that_does_not_run_leaves_the_old(monkeypatch):
    """A session's memory makes it a percent faster or slower than another of the same model."""
    opened = []

    def reopened(settings, model):
        opened.append(model)
        if model == b"b":
            raise MemoryError
        return machine.session("a")

    monkeypatch.setattr(timer, "open_session", reopened)
    machine = Machine({"a": 1000, "b": 700})
    made = machine.timer()
    made.renewal_s = 0.0
    measure_in_rounds(made, [{"id": n, "model": base64.b64encode(n.encode())} for n in "ab"])
    assert {b"a", b"b"} == set(opened)
    assert set(machine.taken()["b"]) == {700, 1050}
    assert made.renewal_s > 0


def test_rounds_go_on_for_as_long_as_they_are_to_be_spread():
    machine, began_s = Machine({"a": 1000, "b": 700}), time.perf_counter()
    measure_in_rounds(machine.timer(spread_s=0.2), lines("a", "b"))
    assert time.perf_counter() - began_s >= 0.2


def test_a_clock_that_stands_still_ends_it():
    machine = Machine({"a": 1000, "b": 700}, lost=1.0)
    measure_in_rounds(machine.timer(), lines("a", "b"))
    assert machine.taken() == {}


def test_a_network_that_fails_midway_leaves_the_others_aligned():
    machine = Machine({"a": 1000, "b": 700, "c": 500})
    made = machine.timer()
    whole = machine.session

    def breaking(name):
        session = whole(name)
        calls = iter(range(20))
        if name == "b":
            run = session.run

            def fails(names, feed):
                if next(calls) == 9:
                    raise RuntimeError("out of memory")
                run(names, feed)

            session.run = fails
        return session

    machine.session = breaking
    measure_in_rounds(made, lines("a", "b", "c"))
    errors = [record for record in machine.told if record["kind"] == "error"]
    machine.told = [record for record in machine.told if record["kind"] == "rounds"]
    taken = machine.taken()
    assert [error["id"] for error in errors] == ["b"]
    assert len(taken["a"]) == len(taken["c"]) >= rounds.LEAST
    assert len(taken["b"]) == 4  # of its ten runs, one warmed it up and half each turn


def test_a_ratio_is_that_of_neighbours_where_they_were_measured_so():
    one = Measurement((2.0, 3.0, 8.0), paired=True)
    other = Measurement((1.0, 2.0, 2.0), paired=True)
    assert Ratio.of(one, other) == Ratio(2.0, None)  # of 2, 1.5 and 4
    apart = Measurement((1.0, 1.0, 1.0))
    assert Ratio.of(one, apart).value == one.p10


def test_a_ratio_tells_its_uncertainty():
    one = Measurement((0.9, 0.9, 1.1, 1.1) * 8, paired=True)
    ratio = Ratio.of(one, Measurement((1.0,) * 32, paired=True))
    assert ratio.value == 1.0
    assert ratio.uncertainty == pytest.approx(half_width(one.samples))


def test_on_a_real_device_runs_are_paired_and_their_number_is_known():
    platform = open_platform("ort:cpu")
    works = [Workload("a", CALL, (LayerShape("conv", 1, 1),)), Workload("b", CALL, ())]
    told = []
    effort = Effort(precision=0.5, time_limit_s=30)
    a, b = platform.measure_networks(works, effort, lambda done, of: told.append((done, of)))
    assert a["latency"].paired
    assert len(a["latency"].samples) == len(b["latency"].samples) >= rounds.LEAST
    assert Ratio.of(a["latency"], b["latency"]).uncertainty is not None
    assert told[-1][0] == told[-1][1]


def test_no_time_to_measure_in_is_one_sentence():
    from netadapt.errors import DeviceError

    works = [Workload("net", CALL, ())]
    with pytest.raises(DeviceError, match="before net had run once"):
        open_platform("ort:cpu").measure_networks(works, Effort(precision=0.5, time_limit_s=1e-9))

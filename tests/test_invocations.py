"""What several processes on a device find of the same networks."""

import random
from dataclasses import replace

import pytest

from netadapt.errors import DeviceError, UsageError
from netadapt.platforms import OVERHEAD, Effort, Workload, open_platform
from netadapt.platforms.bench.rounds import half_width
from netadapt.platforms.measurement import Measurement, Ratio
from netadapt.platforms.ort.options import Options
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.probes import Probe, build
from netadapt.runs import Step, StepCost
from netadapt.search.confirmation import pooled
from tests.boards import INFO

CALL = build(Probe("call", OVERHEAD))
EFFORT = Effort(passes=6, min_seconds=1.0, spread_s=15.0, precision=0.005, time_limit_s=30.0,
                invocations=4)  # fmt: skip


def test_a_ratio_of_several_processes_is_their_mean_known_as_well_as_they_agree():
    # Ratios 0.5, 0.5 and 0.53: a mean of 0.51, deviation of 0.01732, 4.303 of it over sqrt(3).
    small = Measurement((0.5, 1.0, 1.06), paired=True, invocations=(1, 1, 1))
    ratio = Ratio.of(small, Measurement((1.0, 2.0, 2.0), paired=True, invocations=(1, 1, 1)))
    assert ratio.value == pytest.approx(0.51)
    assert ratio.uncertainty == pytest.approx(4.303 * 0.01 / 0.51, rel=1e-3)


def test_several_processes_that_agree_by_chance_are_known_no_better_than_each_tells():
    within = [0.9, 0.9, 1.1, 1.1] * 8
    one = Measurement((*within, *within), paired=True, invocations=(32, 32))
    ratio = Ratio.of(one, Measurement((1.0,) * 64, paired=True, invocations=(32, 32)))
    assert ratio.uncertainty == pytest.approx(half_width(within) / 2**0.5)


def test_runs_that_are_not_paired_have_an_interval_from_several_processes():
    one, other = (Measurement(samples, invocations=(2, 2)) for samples in
                  ((2.0, 2.0, 2.2, 2.2), (1.0, 1.0, 1.0, 1.0)))  # fmt: skip
    ratio = Ratio.of(one, other)
    assert ratio.value == pytest.approx(2.1)
    assert ratio.uncertainty == pytest.approx(12.706 * 0.1 / 2.1)  # 0.1414 over sqrt(2)


def test_the_interval_of_several_processes_holds_the_truth_where_each_is_shifted():
    """Each shifted by 0.5 %, of which its own runs know nothing; 400 measurements."""
    source = random.Random(0)
    hits = {1: 0, 5: 0}
    for _ in range(400):
        for number in hits:
            shifts = [1 + source.gauss(0, 0.005) for _ in range(number)]
            samples = [shift + source.gauss(0, 0.005) for shift in shifts for _ in range(64)]
            counts = (64,) * number if number > 1 else ()
            ratio = Ratio.of(
                Measurement(tuple(samples), paired=True, invocations=counts),
                Measurement((1.0,) * len(samples), paired=True, invocations=counts),
            )
            hits[number] += abs(ratio.value - 1) <= ratio.value * ratio.uncertainty
    assert 0.92 <= hits[5] / 400 <= 0.98
    assert hits[1] / 400 < 0.5


def test_several_processes_share_the_effort():
    # Of four, each has to be twice as good as is asked for, times t(15) over t(3).
    shared = EFFORT.shared
    assert (shared.passes, shared.min_seconds, shared.spread_s) == (2, 0.25, 3.75)
    assert (shared.time_limit_s, shared.invocations) == (7.5, 1)
    assert shared.precision == pytest.approx(0.005 * 2 * 2.131 / 3.182)
    assert Effort(passes=3, precision=0.01).shared == Effort(passes=3, precision=0.01)
    for number in (0, 101, 5.0):
        with pytest.raises(UsageError, match="from 1 to 100"):
            Effort(invocations=number)


def test_samples_of_all_processes_are_those_of_the_measurement():
    for counts in ((2,), (1, 3), (3, 0)):
        with pytest.raises(ValueError, match="all invocations"):
            Measurement((1.0, 2.0, 3.0), invocations=counts)
    many = Measurement((1.0, 1.1) * 20, paired=True, invocations=(1,) * 40)
    assert Ratio.of(many, Measurement((1.0,) * 40, paired=True, invocations=(1,) * 40)).uncertainty


class Device:
    """Answers each conversation with rounds, or visits, of so many runs."""

    def __init__(self, *answers, energy=""):
        self.answers = list(answers)
        self.asked, self.items = [], []
        self.platform = OrtPlatform(options=Options(energy=energy), talk=self.talk)

    def talk(self, link, settings, items):
        self.asked.append(dict(settings))
        self.items.append([(item.id, item.visits) for item in items])
        for item in items:
            item.model()
        yield INFO
        kind, counts = self.answers.pop(0)
        ns = {str(n): [1000 * (n + 1)] * count for n, count in enumerate(counts)}
        if kind == "rounds":
            yield {"kind": "rounds", "ns": ns}
        elif kind == "error":
            yield {"kind": "error", "id": "1", "error": "out of memory"}
        else:
            for name in (name for name, taken in ns.items() if taken):
                yield {"kind": "visit", "id": name, "ns": ns[name]}
        for _ in range(settings.get("energy_rounds", 0)):
            for name in ns:
                yield {"kind": "energy", "id": name, "joules": 1.0}

    def measured(self, effort, onnx=CALL):
        works = [Workload(name, onnx, ()) for name in "ab"]
        return [readings["latency"] for readings in self.platform.measure_networks(works, effort)]


def test_each_process_is_asked_for_its_share_and_begins_with_another_network():
    device = Device(*[("rounds", (40, 40))] * 4, energy="rapl")
    written = []
    a, b = device.measured(EFFORT, lambda: written.append(1) or CALL)
    assert (a.invocations, a.paired, len(a.samples)) == ((40,) * 4, True, 160)
    assert Ratio.of(b, a).value == 2.0
    assert [s["seed"] for s in device.asked] == [0, 1, 2, 3]
    assert [s["energy_rounds"] for s in device.asked] == [1, 1, 1, 0]
    assert {s["time_limit_s"] for s in device.asked} == {7.5}
    assert device.items[:2] == [[("0", 2), ("1", 2)], [("1", 2), ("0", 2)]]
    assert len(written) == 2  # a model is not exported for each process anew


def test_networks_too_slow_for_several_processes_have_all_the_time_in_one():
    device = Device(("rounds", (3, 3)), ("rounds", (12, 12)))
    a, _ = device.measured(EFFORT)
    assert (len(a.samples), a.invocations) == (12, ())
    assert [s["time_limit_s"] for s in device.asked] == [7.5, 22.5]
    assert [s["precision"] for s in device.asked][1] == EFFORT.precision
    with pytest.raises(DeviceError, match="out of time before b had run once"):
        Device(("visits", (12, 0)), ("visits", (12, 0))).measured(EFFORT)


def test_a_process_that_has_not_run_all_networks_is_left_out_of_all():
    few = [("visits", (24, 24)), ("visits", (24, 0)), ("visits", (0, 0)), ("visits", (24, 24))]
    a, b = Device(*few).measured(replace(EFFORT, passes=1))
    assert a.invocations == b.invocations == (24, 24)
    assert Ratio.of(a, b).value == 0.5


def test_visits_are_not_taken_for_pairs():
    mixed = [("rounds", (40, 40)), ("visits", (48, 48)), *[("rounds", (40, 40))] * 2]
    a, _ = Device(*mixed).measured(EFFORT)
    assert not a.paired


def test_a_network_that_cannot_run_is_tried_once():
    device = Device(("error", ()))
    with pytest.raises(DeviceError, match="cannot run b: out of memory"):
        device.measured(EFFORT)
    assert len(device.asked) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_each_invocation_on_a_real_device_is_a_process_of_its_own(threads):
    platform = open_platform(f"ort:cpu?threads={threads}")
    talk, talks = platform.talk, []

    def counted(link, settings, items):
        talks.append(settings)
        return talk(link, settings, items)

    platform.talk = counted
    effort = Effort(passes=2, precision=0.5, invocations=2, time_limit_s=60)
    a, b = platform.measure_networks([Workload("a", CALL, ()), Workload("b", CALL, ())], effort)
    one, other = a["latency"], b["latency"]
    assert len(talks) == len(one.invocations) == 2
    assert sum(one.invocations) == len(one.samples)
    assert one.paired == (threads == 1)
    assert Ratio.of(one, other).uncertainty is not None
    assert Measurement.from_json(one.to_json()) == one


@pytest.mark.parametrize(("again", "wider"), [(1.001, 1.0), (1.02, 0.02 / (0.01 * 2**0.5 / 1.96))])
def test_measurements_that_disagree_are_known_less_well_together(again, wider):
    before = Step(1, "a", {}, {"latency": StepCost(1.0, 1.0, 1.0, 0.1, 0.01)}, 0.9, "w")
    reading = Measurement((again,), "model", uncertainty=0.01)
    cost = pooled(before, {"latency": reading}).costs["latency"]
    assert cost.measured == pytest.approx((1 + again) / 2)
    assert cost.uncertainty == pytest.approx(wider * 0.01 / 2**0.5)

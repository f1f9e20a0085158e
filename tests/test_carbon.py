import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.carbon.account import account
from netadapt.carbon.breakeven import parse_rate, saved_per_inference
from netadapt.carbon.circumstances import Circumstances, read_circumstances
from netadapt.carbon.footprint import carbon_g, footprint, given_pue, pue_at
from netadapt.carbon.intensity import countries, known_intensities, parse_region
from netadapt.carbon.markup import escape_latex, escape_markdown
from netadapt.carbon.phrases import paid_back_in_words, run_energy_in_words
from netadapt.carbon.power import Trainer, parse_watts, typical_power
from netadapt.carbon.ranges import Range, format_range
from netadapt.carbon.rows import cost_rows, gain_rows
from netadapt.carbon.statement import render, state
from netadapt.carbon.use import Inference, Phase, Provenance, RunUse
from netadapt.carbon.where import compare_places, places_for, table_rows
from netadapt.errors import UnknownName, UsageError

FOUR_THREADS = Trainer("Some CPU", "cpu", 4)


def one_kwh():
    """A run of two measured phases, 1 kWh together, on a sensor."""
    return RunUse(
        name="runs/r",
        phases=(
            Phase("training", 3600.0, 1000, 2.6e6, "rapl:package-0"),
            Phase("measuring", 1800.0, 50, 1.0e6, "rapl:package-0"),
        ),
        trainer=FOUR_THREADS,
        before=Inference(Range(0.02, 0.019, 0.021), Range(3.0, 2.9, 3.1), "measured", "rapl", 3),
        after=Inference(Range(0.01, 0.009, 0.011), Range(1.0, 0.9, 1.1), "measured", "rapl", 3),
        provenance=Provenance("0.1.0", "netadapt adapt m --budget 60%", 7, "digits", "ab12", "pi"),
    )


def unmeasured():
    """The same work without any sensor."""
    use = one_kwh()
    phases = tuple(replace(phase, energy_j=None, sensor=None) for phase in use.phases)
    return replace(use, phases=phases, before=None, after=None)


# Intensities


def test_a_region_is_a_country_a_cloud_region_or_a_value():
    assert parse_region("SWE").g_per_kwh == 35.33
    assert parse_region("gcp:europe-north1").g_per_kwh == 39.32
    assert parse_region("aws:us-east-1").year == 2020
    assert parse_region("250g/kWh").g_per_kwh == 250
    assert parse_region("0.25 kgCO2e/kWh").g_per_kwh == 250


@pytest.mark.parametrize("text", ["swe", "SE", "Sweden", " sweden "])
def test_a_country_goes_by_its_codes_and_its_name(text):
    assert parse_region(text).code == "SWE"


def test_every_intensity_has_its_year_basis_source_and_licence():
    assert len(known_intensities()) == 50 + 44 + 6 + 10
    for place in known_intensities():
        assert 2 <= place.g_per_kwh <= 950
        assert 2020 <= place.year <= 2026
        assert place.basis
        assert place.source
        assert place.licence
    assert len({place.code for place in known_intensities()}) == len(known_intensities())


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("SWD", "SWE"),
        ("Swedn", "Sweden"),
        ("gcp:europe-nort1", "europe-north1"),
        ("azur:westus2", "azure"),
        ("aws:us-east-9", "us-east-1"),
    ],
)
def test_an_unknown_region_suggests_the_nearest_and_is_never_the_world(text, near):
    with pytest.raises(UnknownName, match=near) as caught:
        parse_region(text)
    assert near in caught.value.suggestions


@pytest.mark.parametrize("text", ["World", "WORLD", "XX", "aws:eu-central-1"])
def test_there_is_no_fallback(text):
    with pytest.raises(UnknownName):
        parse_region(text)


def test_a_cloud_without_figures_says_what_to_name():
    with pytest.raises(UnknownName, match="name the country, such as DEU"):
        parse_region("aws:eu-central-1")


@pytest.mark.parametrize(
    "text", ["250", "", "-1g/kWh", "nang/kWh", "infg/kWh", "5000g/kWh", "250kg/kWh", "1.2.3"]
)
def test_a_value_that_cannot_be_is_refused_with_a_sentence(text):
    with pytest.raises(UsageError) as caught:
        parse_region(text)
    assert str(caught.value).endswith(".")


# Energy


def test_measured_phases_add_up_and_name_their_sensor():
    energy = footprint(one_kwh()).total
    assert energy.kind == "measured"
    assert energy.source == "rapl:package-0"
    assert energy.kwh.value == pytest.approx(1.0)
    assert energy.kwh.is_exact


def test_an_estimate_is_power_times_time_with_its_range():
    # 1.5 h on 4 threads: 3.5, 0.74 and 8.58 W per thread.
    energy = footprint(unmeasured()).total
    assert energy.kind == "estimated"
    assert energy.kwh.value == pytest.approx(0.021)
    assert energy.kwh.low == pytest.approx(0.00444)
    assert energy.kwh.high == pytest.approx(0.05148)
    assert "4 threads at 0.74 to 8.58 W each" in energy.source


def test_given_watts_are_preferred_to_published_ones_but_not_to_a_sensor():
    power = parse_watts("50-80")
    assert footprint(unmeasured(), power).total.kwh.value == pytest.approx(0.0975)
    assert footprint(unmeasured(), power).total.kwh.high == pytest.approx(0.12)
    assert footprint(one_kwh(), power).total.kind == "measured"


def test_a_single_figure_gets_a_range_that_says_it_is_assumed():
    power = parse_watts("65W")
    assert (power.watts.low, power.watts.high) == (48.75, 81.25)
    assert "assumed" in power.source


def test_a_run_of_an_unknown_trainer_is_not_measured_rather_than_zero():
    use = replace(unmeasured(), trainer=None)
    assert footprint(use).total is None
    assert footprint(use).known is None
    assert run_energy_in_words(account(use)) == "not measured"


def test_a_phase_without_energy_leaves_a_lower_bound_and_no_total():
    use = one_kwh()
    use = replace(use, trainer=None, phases=(*use.phases, Phase("tuning", 60.0)))
    known = footprint(use)
    assert known.total is None
    assert known.known.kwh.value == pytest.approx(1.0)
    words = run_energy_in_words(account(use))
    assert words.startswith("not measured for tuning; at least 1 kWh")


def test_a_sensor_for_some_phases_makes_a_partial_estimate():
    use = one_kwh()
    use = replace(use, phases=(*use.phases, Phase("tuning", 3600.0)))
    total = footprint(use).total
    assert total.kind == "partly estimated"
    assert total.joules.value == pytest.approx(3.6e6 + 14 * 3600)
    assert total.joules.low == pytest.approx(3.6e6 + 2.96 * 3600)


def test_a_run_without_recorded_phases_has_no_energy():
    assert footprint(RunUse("r", ())).total is None
    assert footprint(RunUse("r", (), FOUR_THREADS)).total is None


@pytest.mark.parametrize(
    ("name", "watts"), [("NVIDIA A100-SXM4-40GB", 226.5), ("Tesla T4", 39.5), ("Tesla P40", 142.5)]
)
def test_an_accelerator_of_the_table_draws_between_idle_and_full_load(name, watts):
    power = typical_power(Trainer(name, "gpu", 2))
    assert power.watts.value == pytest.approx(2 * watts)


def test_an_accelerator_that_nobody_listed_has_no_power():
    assert typical_power(Trainer("Imaginary 9000", "gpu", 1)) is None


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "80-50", "1.2.3", "", "a lot", "1e9"])
def test_impossible_watts_are_refused_with_a_sentence(text):
    with pytest.raises(UsageError, match="number of watts"):
        parse_watts(text)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_phase_of_impossible_energy_or_time_is_refused(value):
    with pytest.raises(UsageError, match="energy of phase 'training'"):
        Phase("training", 1.0, energy_j=value)
    with pytest.raises(UsageError, match="time of phase 'training'"):
        Phase("training", value)


# Carbon


def test_carbon_is_energy_times_overhead_times_intensity():
    said = read_circumstances("250g/kWh", pue=1.2)
    assert account(one_kwh(), said).carbon_g.value == pytest.approx(300)


def test_a_cloud_region_brings_its_own_overhead_and_a_country_none():
    assert pue_at(parse_region("gcp:europe-north1")).value == 1.09
    assert pue_at(parse_region("FIN")).value == 1.0
    assert pue_at(None).value == 1.0


@pytest.mark.parametrize("value", [0.9, 0.0, -1.0, 7.0, math.nan, math.inf])
def test_an_overhead_that_no_building_has_is_refused(value):
    with pytest.raises(UsageError, match="PUE"):
        given_pue(value)


@given(st.floats(0, 2000), st.floats(0, 2000), st.floats(1, 5), st.floats(1, 5), st.floats(0, 1e9))
def test_carbon_grows_with_intensity_overhead_and_energy(g, more_g, pue, more_pue, joules):
    low, high = sorted((g, more_g))
    narrow, wide = sorted((pue, more_pue))
    energy = footprint(RunUse("r", (Phase("training", 1.0, energy_j=joules),))).total
    place = parse_region("0g/kWh")
    least = carbon_g(energy, given_pue(narrow), replace(place, g_per_kwh=low))
    most = carbon_g(energy, given_pue(wide), replace(place, g_per_kwh=high))
    assert least.value <= most.value
    assert most.value == pytest.approx(joules / 3.6e6 * wide * high)


# Break-even


def test_break_even_counts_each_side_with_its_own_grid_and_building():
    # 1 kWh x 1.2 x 100 g = 120 g; one inference saves 2 J x 200 g/kWh = 1/9000 g.
    said = read_circumstances("100g/kWh", "200g/kWh", 1.2, rate="20/s")
    reckoned = account(one_kwh(), said)
    assert reckoned.in_carbon.inferences.value == pytest.approx(1.08e6)
    assert reckoned.in_carbon.days(reckoned.per_day).value == pytest.approx(0.625)


def test_break_even_in_joules_alone_has_the_range_of_both_spreads():
    paid = account(one_kwh()).in_energy
    assert paid.verdict == "after"
    assert paid.inferences.value == pytest.approx(1.8e6)
    assert paid.inferences.low == pytest.approx(3.6e6 / 2.2)
    assert paid.inferences.high == pytest.approx(3.6e6 / 1.8)


def test_nothing_saved_is_never_paid_back():
    use = one_kwh()
    same = replace(use, after=use.before)
    for energy in (same, replace(same, after=replace(use.after, energy_j=Range.exact(9.0)))):
        paid = account(energy, read_circumstances("SWE"))
        assert paid.in_energy.verdict == "never"
        assert paid.in_carbon.verdict == "never"
        assert paid.in_energy.days(1.0) is None


def test_a_saving_within_its_spread_has_no_upper_bound():
    use = one_kwh()
    use = replace(use, after=replace(use.after, energy_j=Range(2.95, 2.8, 3.1)))
    paid = account(use).in_energy
    assert paid.inferences.high == math.inf
    assert paid_back_in_words(paid) == "after 72,000,000 inferences (12,000,000 to never)"
    assert json.dumps(paid.as_dict(), allow_nan=False)


def test_without_joules_per_inference_break_even_is_not_known():
    use = one_kwh()
    for missing in (
        replace(use, before=replace(use.before, energy_j=None)),
        replace(use, after=None),
        replace(use, after=replace(use.after, basis="modelled")),
    ):
        paid = account(missing, read_circumstances("SWE")).in_energy
        assert paid.verdict == "not known"
        assert paid.inferences is None


def test_an_estimate_of_the_run_never_becomes_one_of_an_inference():
    use = replace(unmeasured(), before=Inference(Range.exact(0.02)), after=Inference())
    assert saved_per_inference(use.before, use.after) is None
    assert account(use).in_energy.why == "the joules of one inference were not measured"


def test_without_a_region_carbon_is_not_known_and_energy_is():
    reckoned = account(one_kwh())
    assert reckoned.carbon_g is None
    assert reckoned.in_carbon.verdict == "not known"
    assert reckoned.in_energy.verdict == "after"


def test_electricity_without_carbon_never_pays_carbon_back():
    assert account(one_kwh(), read_circumstances("0g/kWh")).in_carbon.verdict == "never"
    said = read_circumstances("0g/kWh", "DEU")
    assert account(one_kwh(), said).in_carbon.inferences.value == 0


@pytest.mark.parametrize(
    ("text", "per_day"),
    [("20/s", 1_728_000), ("5k/h", 120_000), ("1M/day", 1e6), ("1/min", 1440), ("1.5 / d", 1.5)],
)
def test_rates(text, per_day):
    assert parse_rate(text) == pytest.approx(per_day)


@pytest.mark.parametrize("text", ["0/s", "-1/s", "nan/s", "inf/s", "20", "20/fortnight", "", "./s"])
def test_a_rate_that_pays_nothing_back_is_refused_with_a_sentence(text):
    with pytest.raises(UsageError, match="rate"):
        parse_rate(text)


@given(st.floats(1, 1e9), st.floats(1e-3, 10), st.floats(0, 0.9))
def test_a_wider_spread_never_narrows_the_range(joules, saved, spread):
    run = RunUse(
        "r", (Phase("training", 1.0, energy_j=joules),),
        before=Inference(energy_j=Range(2 * saved, 2 * saved, 2 * saved), basis="measured"),
        after=Inference(
            energy_j=Range(saved, saved * (1 - spread), saved * (1 + spread)), basis="measured"
        ),
    )  # fmt: skip
    paid = account(run).in_energy.inferences
    assert paid.low <= paid.value <= paid.high
    assert paid.value == pytest.approx(joules / saved)


# Where


def test_places_come_from_the_least_to_the_most():
    energy = footprint(one_kwh()).total
    places = [parse_region(name) for name in ("POL", "SWE", "DEU", "SWE")]
    lines = compare_places(energy, places)
    assert [line.place.code for line in lines] == ["SWE", "DEU", "POL"]
    assert lines[2].carbon_g.value == pytest.approx(592.2)
    assert lines[2].relative == pytest.approx(592.2 / 35.33)


def test_overheads_count_in_the_order_unless_one_is_given():
    places = [parse_region("105g/kWh"), parse_region("gcp:europe-west1")]  # 103.37 x 1.09
    assert compare_places(None, places)[0].place.g_per_kwh == 105
    assert compare_places(None, places, given_pue(1.2))[0].place.g_per_kwh == 103.37


def test_places_can_be_compared_without_energy():
    lines = places_for(replace(unmeasured(), trainer=None), [])
    assert len(lines) == len(countries())
    assert lines[0].carbon_g is None
    assert lines[0].relative == 1
    assert table_rows(lines)[1][4] == "not known"


# Statement


def test_a_break_even_or_place_that_rests_on_an_estimate_says_so():
    use = replace(one_kwh(), phases=unmeasured().phases)  # joules per inference are measured
    said = read_circumstances("SWE", rate="20/s")
    fields = dict(gain_rows(account(use, said)))
    for label in ("Paid back in energy", "Paid back in carbon", "At the given rate, in energy"):
        assert fields[label].endswith(", estimated")
    assert all(row[4].endswith(", estimated") for row in table_rows(places_for(use, ["SWE"]))[1:])
    assert places_for(one_kwh(), ["SWE"])[0].as_dict()["kind"] == "measured"


def test_a_statement_holds_every_field():
    said = read_circumstances("SWE", "DEU", 1.2, rate="20/s")
    stated = state(account(one_kwh(), said))
    fields = dict(stated.rows)
    assert fields["Energy"] == "1 kWh, measured by rapl:package-0"
    assert fields["Duration"] == "90 min"
    assert fields["PUE"] == "1.2 (given by the user)"
    assert "2025; lifecycle CO2e" in fields["Carbon intensity"]
    assert "Ember" in fields["Carbon intensity"]
    assert fields["Emissions"] == "42.4 g CO2e"
    assert fields["Energy per inference before"] == "3 J (2.9 J to 3.1 J), measured by rapl, n = 3"
    assert fields["Paid back in energy"].startswith("after 1,800,000 inferences (1,640,000 to")
    assert fields["At the given rate, in energy"] == "after 1.04 days (0.947 to 1.16)"
    assert "It pays for itself in energy after 1,800,000 inferences" in stated.paragraph
    assert fields["Seed"] == "7"
    assert fields["Command"] == "netadapt adapt m --budget 60%"
    assert fields["Data fingerprint"] == "ab12"
    assert fields["Device"] == "pi"
    assert "embodied" in fields["Not counted"]


def test_what_is_not_known_is_said_and_never_zero():
    stated = state(account(RunUse("r", (Phase("training", 5.0),))))
    fields = dict(stated.rows)
    assert fields["Energy"] == "not measured"
    assert fields["Emissions"] == "not known: no region was named"
    assert fields["Seed"] == "not recorded"
    assert "The energy of one inference was not measured." in stated.paragraph


def test_an_estimate_is_called_one_wherever_it_is_shown():
    stated = state(account(unmeasured(), read_circumstances("POL")))
    fields = dict(stated.rows)
    assert "estimated from" in fields["Energy"]
    assert "estimated" in fields["Emissions"]
    assert fields["of it training"] == "60 min, 14 Wh (2.96 to 34.3), estimated"
    assert fields["Energy"].startswith("21 Wh (4.44 to 51.5), estimated from time and 4 threads")
    assert stated.paragraph.count("estimated") == 2  # energy and emissions


def test_latex_prints_what_was_written():
    assert escape_latex(r"a_b & 50% #1 {x} $y ~ ^ \ --fresh") == (
        r"a\_b \& 50\% \#1 \{x\} \$y \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"-{}-fresh"
    )


@given(st.text())
def test_latex_has_no_bare_special_character(text):
    escaped = escape_latex(text)
    for mark in "&%#_":
        assert all(escaped[i - 1] == "\\" for i, c in enumerate(escaped) if c == mark)
    assert "--" not in escaped
    grouping = escaped.replace("\\{", "").replace("\\}", "")
    assert grouping.count("{") == grouping.count("}")


@given(st.text(alphabet="ab|<>*_`\n\r\t ", max_size=20))
def test_a_markdown_cell_stays_one_cell(text):
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    assert escaped.count("|") == escaped.count("\\|")
    assert escaped.count("<") == escaped.count("\\<")


def test_the_three_formats_hold_the_same_rows():
    use = replace(one_kwh(), name="runs/<b>a_b|c</b>")
    stated = state(account(use))
    count = len(stated.rows)
    assert render(stated, "latex").count("\\\\\n") == count
    assert render(stated, "markdown").count("\n| ") == count + 1
    assert r"runs/\<b\>a\_b\|c\</b\>" in render(stated, "markdown")
    assert "runs/<b>a_b|c</b>" in render(stated, "text")
    assert all(len(line) <= 100 for line in render(stated, "text").splitlines())
    with pytest.raises(UnknownName):
        render(stated, "html")


def test_the_figures_are_json_without_nan():
    said = read_circumstances("SWE", "DEU", 1.2, 1.1, "50-80", "20/s")
    for use in (one_kwh(), unmeasured(), RunUse("r", ())):
        for circumstances in (said, Circumstances()):
            reckoned = account(use, circumstances)
            assert json.dumps(reckoned.as_dict(), allow_nan=False)
            assert cost_rows(reckoned)
            assert gain_rows(reckoned)


# Ranges


def test_ranges_are_shown_with_their_bounds_and_fitting_units():
    assert format_range(Range(0.021, 0.0044, 0.051), "kWh") == "21 Wh (4.4 to 51)"
    assert format_range(Range.exact(1234.5), "g CO2e") == "1.23 kg CO2e"
    assert format_range(Range.exact(0.0), "kWh") == "0 kWh"
    assert format_range(Range(1.2e6, 1e6, math.inf), "inferences") == (
        "1,200,000 inferences (1,000,000 to never)"
    )


@pytest.mark.parametrize("bounds", [(1, 2, 3), (4, 2, 3), (math.nan, 0, 1), (1, math.nan, 2)])
def test_a_value_outside_its_range_is_refused(bounds):
    with pytest.raises(UsageError, match="does not lie within"):
        Range(*bounds)


@given(st.lists(st.floats(0, 1e6), min_size=6, max_size=6))
def test_arithmetic_keeps_values_within_their_ranges(numbers):
    a, b = (Range(mid, low, high) for low, mid, high in map(sorted, (numbers[:3], numbers[3:])))
    for result in (a.plus(b), a.minus(b), a.times(numbers[0])):
        assert result.low <= result.value <= result.high

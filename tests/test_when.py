import json
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.carbon.profile import Profile, find_profile, profiles
from netadapt.carbon.trace import Trace, read_trace
from netadapt.carbon.when import best_window, plan_by_profile, plan_by_trace
from netadapt.cli import main
from netadapt.errors import UnknownName, UsageError

ROOT = Path(__file__).parent.parent
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def trace(values, start=MIDNIGHT, step=HOUR):
    return Trace("t.csv", start, step, tuple(float(value) for value in values))


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def hours_from(start, count, form="%Y-%m-%dT%H:%MZ"):
    return [(start + i * HOUR).strftime(form) for i in range(count)]


def csv_of(times, values=None, header="time,g_per_kwh"):
    values = values or [100 + i for i in range(len(times))]
    return "\n".join([header, *(f"{t},{v}" for t, v in zip(times, values, strict=True))]) + "\n"


# Profiles


def test_the_best_four_hours_of_great_britain_went_from_night_to_noon():
    # 0.859 0.856 0.848 0.844 0.856 from midnight in 2019; 0.948 0.930 0.923 0.928 from 10 in 2022.
    night = plan_by_profile(find_profile("GB-2019"), 4, 2026)
    assert (night.start, night.end) == ("01:00", "05:00")
    assert night.expected_saving == pytest.approx(1 - (0.856 + 0.848 + 0.844 + 0.856) / 4, abs=1e-4)
    noon = plan_by_profile(find_profile("gb"), 4, 2026)
    assert (noon.start, noon.end, noon.clock) == ("10:00", "14:00", "UTC")
    assert noon.expected_saving == pytest.approx(1 - 3.729 / 4, abs=1e-4)
    assert noon.g_per_kwh == pytest.approx(182.3 * 3.729 / 4, rel=1e-4)


def test_a_mean_profile_knows_no_oracle_and_says_so():
    window = plan_by_profile(find_profile("GB"), 4, 2026)
    assert window.oracle_saving is None
    said = dict(window.rows())["Upper bound"]
    assert said.startswith("not known: at least the expected saving, but the data is the mean day")


def test_an_old_profile_warns_and_a_recent_one_does_not():
    old = plan_by_profile(find_profile("US-PJM"), 4, 2026).warnings
    assert any("4 years old" in warning for warning in old)
    assert plan_by_profile(find_profile("US-PJM"), 4, 2024).warnings == ()


def test_a_zone_whose_best_hours_moved_says_so():
    warnings = plan_by_profile(find_profile("GB"), 4, 2023).warnings
    assert warnings == ("Its best hours began at 01:00 in 2019, 01:00 in 2020, 01:00 in 2021.",)


def test_every_profile_has_24_factors_around_one_and_its_source():
    assert len(profiles()) == 12
    for profile in profiles():
        assert len(profile.factors) == 24
        assert sum(profile.factors) / 24 == pytest.approx(1, abs=1e-3)
        assert profile.source
        assert profile.licence


@pytest.mark.parametrize(("zone", "near"), [("GBR", "GB"), ("CISO", "US-CISO"), ("US-PMJ", "PJM")])
def test_an_unknown_zone_suggests_the_nearest(zone, near):
    with pytest.raises(UnknownName, match=near):
        find_profile(zone)


def test_a_window_may_run_past_midnight():
    factors = [1.5] * 24
    factors[23] = factors[0] = 0.5
    window = plan_by_profile(Profile("X", 2026, "UTC", 100.0, tuple(factors), "s", "l"), 2, 2026)
    assert (window.start, window.end) == ("23:00", "01:00")


@given(st.sampled_from(profiles()), st.integers(1, 12))
def test_a_window_twice_as_long_saves_no_more(profile, hours):
    # Not so for one an hour longer: it may reach a second dip of the day.
    once = plan_by_profile(profile, hours, 2026).expected_saving
    assert plan_by_profile(profile, 2 * hours, 2026).expected_saving <= once + 1e-12
    assert plan_by_profile(profile, 24, 2026).expected_saving == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("hours", [25, 0, -4])
def test_a_window_that_fits_no_day_is_refused(hours):
    with pytest.raises(UsageError, match="1 to 24 whole hours"):
        best_window("GB", None, hours, 2026)
    with pytest.raises(UsageError, match="1 to 24 whole hours"):
        plan_by_trace(trace([1] * 100), hours, 2026)


def test_neither_zone_nor_trace_is_a_sentence():
    with pytest.raises(UsageError, match="Name a zone"):
        best_window(None, None, 4, 2026)


# Traces


def test_equal_days_save_as_much_by_timetable_as_in_hindsight():
    day = [200] * 24
    day[10:14] = [100] * 4  # mean 183.33
    window = plan_by_trace(trace(day * 5), 4, 2026)
    assert (window.start, window.end) == ("10:00", "14:00")
    assert window.expected_saving == pytest.approx(1 - 100 / (4400 / 24))
    assert window.oracle_saving == pytest.approx(window.expected_saving)


def test_days_that_take_turns_save_nothing_by_timetable_and_a_third_in_hindsight():
    mornings, evenings = [100] * 12 + [200] * 12, [200] * 12 + [100] * 12
    window = plan_by_trace(trace((mornings + evenings) * 2 + mornings), 6, 2026)
    assert window.expected_saving == pytest.approx(0, abs=1e-12)
    assert window.oracle_saving == pytest.approx(1 / 3)


def test_days_begin_at_midnight_wherever_a_trace_begins():
    day = [200] * 24
    day[10:14] = [100] * 4
    values = (day * 6)[7:]
    window = plan_by_trace(trace(values, MIDNIGHT + 7 * HOUR), 4, 2026)
    assert window.start == "10:00"


def test_hours_that_begin_at_half_past_are_told_so():
    day = [200] * 24
    day[10] = 100
    window = plan_by_trace(trace(day * 5, MIDNIGHT + HOUR / 2), 1, 2026)
    assert (window.start, window.end) == ("10:30", "11:30")


def test_half_hours_are_planned_to_the_half_hour():
    day = [200] * 48
    day[21:23] = [100] * 2
    window = plan_by_trace(trace(day * 5, step=HOUR / 2), 1, 2026)
    assert (window.start, window.end) == ("10:30", "11:30")


def test_a_forecast_gives_a_date_and_time():
    values = [200] * 30
    values[26:29] = [50] * 3
    window = plan_by_trace(trace(values), 3, 2026)
    assert (window.start, window.end) == ("2026-01-02 02:00", "2026-01-02 05:00")
    assert window.expected_saving == pytest.approx(1 - 50 / (5550 / 30))
    assert window.oracle_saving is None


def test_a_window_longer_than_the_forecast_is_refused():
    with pytest.raises(UsageError, match="holds 3 h; a window of 4 h does not fit"):
        plan_by_trace(trace([1, 2, 3]), 4, 2026)


def test_electricity_without_carbon_saves_nothing():
    window = plan_by_trace(trace([0] * 96), 4, 2026)
    assert window.expected_saving == window.oracle_saving == 0


@given(st.lists(st.integers(0, 900), min_size=80, max_size=140), st.integers(1, 24))
def test_hindsight_is_an_upper_bound(values, hours):
    window = plan_by_trace(trace(values), hours, 2026)
    if window.oracle_saving is not None:
        assert window.oracle_saving >= window.expected_saving - 1e-12
    assert json.dumps(window.as_dict(), allow_nan=False)


# Files


def test_a_trace_with_a_byte_order_mark_is_read(tmp_path):
    path = written(tmp_path, "\ufeff" + csv_of(hours_from(MIDNIGHT, 3)))
    assert read_trace(path).g_per_kwh == (100, 101, 102)
    assert read_trace(path).start == MIDNIGHT


def test_local_times_with_their_offset_cross_a_change_of_the_clocks(tmp_path):
    times = [
        "2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00",  # summer time begins
        "2026-03-29T04:00+02:00",
    ]  # fmt: skip
    assert len(read_trace(written(tmp_path, csv_of(times))).g_per_kwh) == 3
    times = ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]
    assert len(read_trace(written(tmp_path, csv_of(times))).g_per_kwh) == 3


def test_a_column_may_say_that_it_is_utc(tmp_path):
    times = hours_from(MIDNIGHT, 3, "%Y-%m-%d %H:%M")
    path = written(tmp_path, csv_of(times, header="time_utc,g_per_kwh"))
    assert read_trace(path).start == MIDNIGHT


def test_further_columns_and_blank_lines_are_skipped(tmp_path):
    text = "zone,time,g_per_kwh\nGB,2026-01-01T00:00Z,1\n\nGB,2026-01-01T01:00Z,2\n"
    assert read_trace(written(tmp_path, text)).g_per_kwh == (1, 2)


def test_a_gap_is_named_by_its_line_and_length(tmp_path):
    times = hours_from(MIDNIGHT, 6)
    del times[2:4]
    with pytest.raises(UsageError, match=r"line 4: 2:00:00 of values are missing"):
        read_trace(written(tmp_path, csv_of(times)))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "line 1 must name"),
        ("time,g_per_kwh\n", "holds 0 values"),
        ("2026-01-01T00:00Z,100\n2026-01-01T01:00Z,100\n", "line 1 must name"),
        ("time;g_per_kwh\n2026-01-01T00:00Z;100\n", "separated by commas"),
        ("time,time,g_per_kwh\n", "line 1 must name"),
        (csv_of(["2026-01-01 00:00", "2026-01-01 01:00"]), "line 2: .* has no offset"),
        (csv_of(["noon", "2026-01-01T01:00Z"]), "line 2: 'noon' is not a time"),
        (csv_of(hours_from(MIDNIGHT, 2), ["100", "nan"]), "line 3: 'nan' is not"),
        (csv_of(hours_from(MIDNIGHT, 2), ["100", "-5"]), "line 3: '-5' is not"),
        (csv_of(hours_from(MIDNIGHT, 2), ["100", ""]), "line 3: an empty cell is not"),
        (csv_of(hours_from(MIDNIGHT, 2), ["100", "1e9"]), "line 3: '1e9' is not"),
        (csv_of(hours_from(MIDNIGHT, 3)) + "2026-01-01T03:00Z\n", "line 5: an empty cell"),
        (csv_of([*hours_from(MIDNIGHT, 3), "2026-01-01T02:00Z"]), "line 5: it is no later"),
        (csv_of(["2026-01-01T02:00Z", "2026-01-01T01:00Z"]), "-60 minutes apart"),
        (csv_of(["2026-01-01T02:00Z", "2026-01-01T05:00Z"]), "180 minutes apart"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_a_sentence(tmp_path, text, word):
    with pytest.raises(UsageError, match=word) as caught:
        read_trace(written(tmp_path, text))
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("day", ["0001-01-01T00:00+14:00", "9999-12-31T23:00Z"])
def test_a_time_at_the_end_of_the_calendar_is_refused(tmp_path, day):
    (tmp_path / "t.csv").write_text(f"time,g_per_kwh\n{day},1\n{day},1\n")
    with pytest.raises(UsageError, match=r"line 2: .* is not a time"):
        read_trace(tmp_path / "t.csv")


def test_a_file_in_another_encoding_or_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not CSV in UTF-8"):
        read_trace(written(tmp_path, csv_of(hours_from(MIDNIGHT, 3)), "utf-16"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")


# The command


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["when", *arguments])
    printed = capsys.readouterr()
    return caught.value.code, printed.out, printed.err


def test_when_tells_the_window_its_saving_and_its_age(capsys):
    code, out, err = command(capsys, "--zone", "GB", "--hours", "4")
    assert code == 0
    assert "10:00 to 14:00 (UTC), 4 h" in out
    assert "6.8% against the mean" in out
    assert "mean day of 2022" in out
    assert "years old" in err


def test_when_prints_json(capsys, tmp_path):
    path = written(tmp_path, csv_of(hours_from(MIDNIGHT, 96), [100, 200] * 48))
    code, out, _ = command(capsys, "--trace", str(path), "--hours", "1", "--json")
    assert code == 0
    assert json.loads(out)["expected_saving"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--zone", "GB", "--hours", "25"], "1 to 24 whole hours"),
        (["--zone", "XX", "--hours", "4"], "There is no zone"),
        (["--hours", "4"], "Name a zone"),
    ],
)
def test_when_refuses_with_one_sentence_and_exit_code_2(capsys, arguments, word):
    code, _, err = command(capsys, *arguments)
    assert code == 2
    assert word in err
    assert "Traceback" not in err


# What is written down


def test_the_table_of_the_docs_is_what_the_command_tells():
    text = (ROOT / "docs" / "carbon.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z].*?) \| (\d{4}) \| (\d\d:\d\d) to \S+ \| (\d+) % \|$", text, re.M)
    assert len(rows) == 9
    for names, year, start, percent in rows:
        for name in re.sub(r" \(.*\)", "", names).split(", "):
            window = plan_by_profile(find_profile(f"{name}-{year}"), 4, int(year))
            assert (window.start, f"{window.expected_saving:.0%}") == (start, f"{percent}%")


def test_an_installed_copy_has_the_data():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "*.csv" in project["tool"]["setuptools"]["package-data"]["netadapt.carbon"]

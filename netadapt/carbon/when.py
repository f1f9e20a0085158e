"""When to run: the hours of the day at which a grid's electricity carries the least carbon.

Two figures are kept apart. *Expected* is what the same hours bring on every day, against the mean
of all hours: what a fixed timetable gets. The *oracle* picks the best hours of each day knowing
that day: no plan does better, and one with a forecast lies between. A mean profile knows only the
first.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

from netadapt.carbon.profile import HOURS, Profile, find_profile, profiles
from netadapt.carbon.trace import Trace, read_trace
from netadapt.errors import UsageError

# Grids change: the cheapest hours of Great Britain went from night to noon within three years.
_OLD_YEARS = 2
_FEWEST_DAYS = 2
# The best hours of each day are at least as good, day by day, as the same hours on all days: the
# mean day bounds the oracle from below, and nothing in it bounds it from above.
_MEAN_DAY = (
    "at least the expected saving, but the data is the mean day of a year, and the oracle chooses "
    "anew on each single day; a trace of your grid's hourly values tells it"
)


@dataclass(frozen=True, slots=True)
class Window:
    """When to run, and what it brings.

    Attributes:
        zone: or the name of the trace.
        start: of the window: a time of day, or a date and time of a forecast.
        end: of the window, in the same form.
        clock: that start and end are counted in.
        hours: its length.
        g_per_kwh: mean within it.
        mean_g_per_kwh: of all hours.
        expected_saving: as a share of the mean: 0.1 is a tenth less carbon.
        oracle_saving: of the best hours of each day in hindsight; None where single days are not
            known, as in a mean profile and in a forecast.
        oracle_why: why that is not known; empty where it is.
        basis: what the figures were taken from.
        years: first and last year of the data.
        source: who published it.
        warnings: what to know before relying on it.
    """

    zone: str
    start: str
    end: str
    clock: str
    hours: int
    g_per_kwh: float
    mean_g_per_kwh: float
    expected_saving: float
    oracle_saving: float | None
    oracle_why: str
    basis: str
    years: tuple[int, int]
    source: str
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"schema": 1} | asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """For people, as labelled lines."""
        if self.oracle_saving is not None:
            oracle = f"at most {self.oracle_saving:.1%}, with each day's best hours in hindsight"
        else:
            oracle = f"not known: {self.oracle_why}"
        return [
            ("Run", f"{self.start} to {self.end} ({self.clock}), {self.hours} h"),
            ("Intensity then", f"{self.g_per_kwh:.4g} g CO2e/kWh"),
            ("Mean of all hours", f"{self.mean_g_per_kwh:.4g} g CO2e/kWh"),
            ("Expected saving", f"{self.expected_saving:.1%} against the mean"),
            ("Upper bound", oracle),
            ("Taken from", f"{self.zone}, {self.basis}"),
            ("Source", self.source),
        ]


def best_window(zone: str | None, trace: Path | None, hours: int, this_year: int) -> Window:
    """When to run by a user's own trace, or else by the profile of a zone.

    Raises:
        UnknownName: there is no profile of that zone.
        UsageError: neither is given, the trace cannot be used, or the window fits no day.
    """
    if trace is not None:
        return plan_by_trace(read_trace(trace), hours, this_year)
    if zone is None:
        raise UsageError("Name a zone, such as GB, or give a trace of hourly intensities.")
    return plan_by_profile(find_profile(zone), hours, this_year)


def plan_by_profile(profile: Profile, hours: int, this_year: int) -> Window:
    """The best hours of a mean day.

    Args:
        profile: of the grid.
        hours: length of the run, 1 to 24.
        this_year: to tell how old the profile is.

    Raises:
        UsageError: the window is not 1 to 24 hours long.
    """
    _check_length(hours)
    start, factor = _best_start(profile, hours)
    share = factor * HOURS / sum(profile.factors)  # factors are rounded: their mean is nearly 1
    return Window(
        zone=profile.zone,
        start=_clock(start * 60),
        end=_clock((start + hours) * 60),
        clock=profile.clock,
        hours=hours,
        g_per_kwh=share * profile.mean_g_per_kwh,
        mean_g_per_kwh=profile.mean_g_per_kwh,
        expected_saving=1 - share,
        oracle_saving=None,
        oracle_why=_MEAN_DAY,
        basis=f"mean day of {profile.year}",
        years=(profile.year, profile.year),
        source=profile.source,
        warnings=(*_age(profile.year, this_year), *_shift(profile, hours, start)),
    )


def plan_by_trace(trace: Trace, hours: int, this_year: int) -> Window:
    """The best fixed hours of every day of a trace; of a forecast, the best single window.

    A trace of less than two days on which a window can start at any time is taken for a forecast.

    Args:
        trace: in steps of 60 minutes or less.
        hours: length of the run, 1 to 24.
        this_year: to tell how old the trace is.

    Raises:
        UsageError: the window is not 1 to 24 hours long, or longer than the trace.
    """
    _check_length(hours)
    length = hours * trace.per_hour
    if length > len(trace.g_per_kwh):
        raise UsageError(
            f"{trace.name} holds {len(trace.g_per_kwh) / trace.per_hour:g} h; a window of {hours} "
            "h does not fit."
        )
    windows = _moving_means(trace.g_per_kwh, length)
    days = _whole_days(trace, len(windows))
    if len(days) < _FEWEST_DAYS:
        return _forecast_window(trace, windows, hours, this_year)
    return _daily_window(trace, windows, days, hours, this_year)


def _daily_window(
    trace: Trace, windows: list[float], days: list[int], hours: int, this_year: int
) -> Window:
    per_day = HOURS * trace.per_hour
    sums = [sum(windows[day + start] for day in days) for start in range(per_day)]
    start = sums.index(min(sums))
    mean = sum(sum(trace.g_per_kwh[day : day + per_day]) for day in days) / per_day / len(days)
    best = sum(min(windows[day : day + per_day]) for day in days) / len(days)
    g_per_kwh = sums[start] / len(days)
    # Hourly values of a zone at UTC+05:30 begin at half past.
    minute = (start * trace.step + _past_midnight(trace) % trace.step) // timedelta(minutes=1)
    return Window(
        zone=trace.name,
        start=_clock(minute),
        end=_clock(minute + hours * 60),
        clock="UTC",
        hours=hours,
        g_per_kwh=g_per_kwh,
        mean_g_per_kwh=mean,
        expected_saving=_saving(g_per_kwh, mean),
        oracle_saving=_saving(best, mean),
        oracle_why="",
        basis=f"{len(days)} days from {trace.start:%Y-%m-%d}, on which the hours were chosen too",
        years=(trace.start.year, trace.end.year),
        source=trace.name,
        warnings=_age(trace.end.year, this_year),
    )


def _forecast_window(trace: Trace, windows: list[float], hours: int, this_year: int) -> Window:
    position = windows.index(min(windows))
    start = trace.start + position * trace.step
    mean = sum(trace.g_per_kwh) / len(trace.g_per_kwh)
    return Window(
        zone=trace.name,
        start=_moment(start),
        end=_moment(start + timedelta(hours=hours)),
        clock="UTC",
        hours=hours,
        g_per_kwh=windows[position],
        mean_g_per_kwh=mean,
        expected_saving=_saving(windows[position], mean),
        oracle_saving=None,
        oracle_why="a forecast of less than two days holds no days to choose from in hindsight",
        basis=f"a forecast of {len(trace.g_per_kwh) / trace.per_hour:g} h, if it comes true",
        years=(trace.start.year, trace.end.year),
        source=trace.name,
        warnings=_age(trace.end.year, this_year),
    )


def _best_start(profile: Profile, hours: int) -> tuple[int, float]:
    """The hour at which the best window begins, and its mean factor; it may run past midnight."""
    around = profile.factors * 2
    means = [sum(around[start : start + hours]) / hours for start in range(HOURS)]
    return means.index(min(means)), min(means)


def _check_length(hours: int) -> None:
    if not 1 <= hours <= HOURS:
        raise UsageError(f"A window of {hours} h does not fit a day; give 1 to 24 whole hours.")


def _age(year: int, this_year: int) -> tuple[str, ...]:
    if this_year - year <= _OLD_YEARS:
        return ()
    return (
        f"The data is of {year}, {this_year - year} years old: grids change, and with them the "
        "best hours.",
    )


def _shift(profile: Profile, hours: int, start: int) -> tuple[str, ...]:
    """Tell where the same zone had its best hours in other years, if elsewhere."""
    others = [other for other in profiles() if other.zone == profile.zone]
    elsewhere = [
        f"{_clock(best * 60)} in {other.year}"
        for other in others
        if (best := _best_start(other, hours)[0]) != start
    ]
    return (f"Its best hours began at {', '.join(elsewhere)}.",) if elsewhere else ()


def _moving_means(values: Sequence[float], length: int) -> list[float]:
    """Means of ``length`` values from every position at which they fit."""
    sums = [0.0, *accumulate(values)]
    return [(sums[i + length] - sums[i]) / length for i in range(len(values) - length + 1)]


def _whole_days(trace: Trace, windows: int) -> list[int]:
    """Positions of the midnights (UTC) of days on which a window can start at any step."""
    per_day = HOURS * trace.per_hour
    first = -(_past_midnight(trace) // trace.step) % per_day
    return list(range(first, windows - per_day + 1, per_day))


def _past_midnight(trace: Trace) -> timedelta:
    midnight = trace.start.replace(hour=0, minute=0, second=0, microsecond=0)
    return trace.start - midnight


def _saving(g_per_kwh: float, mean: float) -> float:
    return 1 - g_per_kwh / mean if mean else 0.0


def _clock(minutes: int) -> str:
    hour, minute = divmod(minutes % (HOURS * 60), 60)
    return f"{hour:02}:{minute:02}"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"

"""The page on a run: made from the journal alone, and opened in a browser."""

import json
import re
from dataclasses import replace

import pytest
from markupsafe import Markup

from netadapt.cli import main
from netadapt.errors import BudgetUnreachable, UsageError
from netadapt.report.blocks import Figures as Drawings
from netadapt.report.blocks import Table, thinned
from netadapt.report.charts import Series, decimated, line_chart, stacked, ticks
from netadapt.report.claim import wilson
from netadapt.report.page import report_page, sections_of, write_report
from netadapt.runs import Outcome, Phase, Record, Run, Step, StepCost
from netadapt.runs.events import (
    BoundSet,
    Exported,
    Figures,
    Finished,
    Group,
    IterationStarted,
    LayerCost,
    Measured,
    Started,
    StepTaken,
    Stopped,
    Traced,
    Trained,
    Tried,
    Warned,
    to_json,
)
from tests import chromium

STARTED = Started(
    format=2,
    settings={
        "config": {"model": "net", "data": "digits", "seed": 7, "tuning": {"recipe": {"lr": 0.1}}},
        "data": {"name": "digits", "fingerprint": "ab12"},
        "devices": {"pi": {"device": "Cortex-A76", "platform": "ssh://pi", "runtime": "ort 1"}},
    },
    execution={"trainer": "cpu"},
    versions={"netadapt": "0.1.0", "python": "3.11.7"},
    command="netadapt adapt net --budget 60%",
    machine={"processor": "AMD EPYC", "cores": 4},
)
TRACED = Traced(
    groups=(Group("stem", 4, 8, ""), Group("body", 64, 1, ""), Group("head", 10, 1, "an output")),
    fixed=(("side", "its input is reshaped"),),
    params=1000, macs=2000, multiple=8, metric="top-1 accuracy", metric_is_share=True,
    images={"train": 100, "holdout": 50, "test": 200},
)  # fmt: skip
BOUND = BoundSet("latency", "latency", "s", "pi", 0.006, 0.010)
SECTIONS = ["claim", "course", "widths", "layers", "predictions", "trials", "time", "energy",
            "provenance"]  # fmt: skip
READING = {"value": 0.01, "p10": 0.01, "p90": 0.011, "runs": 60, "clock": "cpu"}


def step(iteration, name, measured, predicted, accuracy, sizes=None):
    keep = {group: tuple(range(size)) for group, size in (sizes or {}).items()}
    costs = {"latency": StepCost(measured, predicted, measured, 0.02)}
    return Step(iteration, name, keep, costs, accuracy)


def tried(iteration, index, rung, name, size, accuracy, failed=""):
    keep = {} if failed else {name: tuple(range(size))}
    phase = Phase("tuning" if rung else "screening", 2.0, 10 * rung, 10)
    outcome = Outcome(index, rung, accuracy, keep, (phase,), failed)
    return Tried(iteration, name, {name: size}, {"latency": 0.004}, outcome)


def figures(cost, accuracy, macs):
    return Figures({"latency": cost}, {"latency": 0.03}, accuracy, macs, macs // 2, macs * 4)


FINISHED = Finished(
    met=True, before=figures(0.010, 0.95, 2000), after=figures(0.005, 0.93, 800),
    predicted={"latency": 0.0051}, widths=(("body", 64, 24),),
    layers=(
        LayerCost("stem", "conv", "a", "a", {"latency": 0.002}, {"latency": 0.002}),
        LayerCost("body", "conv", "b", "c", {"latency": 0.006}, {"latency": 0.002}),
        LayerCost("add", "add", "d", "d", {"latency": 0.0}, {"latency": 0.0}),
    ),
    devices={"pi": "Cortex-A76 (ssh://pi)"}, precisions={"pi": "float32"},
    onnx_difference=2e-7, loader="graph", iterations=2,
)  # fmt: skip
EVENTS = (
    STARTED,
    TRACED,
    BOUND,
    Trained("original", 0, 3.0, Phase("training", 50.0, 1000)),
    StepTaken(step(0, "", 0.010, 0.008, 0.95)),
    IterationStarted(1, {"latency": 0.008}, 2, 3),
    tried(1, 0, 0, "stem", 2, 0.5),
    tried(1, 1, 0, "body", 40, 0.6),
    tried(1, 1, 1, "body", 40, 0.7),
    Measured(
        1, "pi", {"latency": READING}, {"latency": READING}, Phase("measuring", 9.0), ("hot",)
    ),
    StepTaken(step(1, "body", 0.008, 0.006, 0.94, {"body": 40})),
    IterationStarted(2, {"latency": 0.006}, 2, 2),
    tried(2, 0, 1, "body", 24, 0.8),
    tried(2, 1, 1, "stem", 1, 0.0, "its loss was not finite"),
    StepTaken(step(2, "body", 0.005, 0.004, 0.92, {"body": 24})),
    Exported({"adapted.onnx": 3200}, Phase("exporting", 4.0)),
    FINISHED,
)
HOSTILE = "<script>alert(1)</script><img src=http://example.com/x.png onerror=alert(2)>\"'&"


def records(*events):
    return [Record(1.8e9 + 60 * number, event) for number, event in enumerate(events)]


def written(folder, events, torn=""):
    folder.mkdir()
    lines = "".join(json.dumps(to_json(record)) + "\n" for record in records(*events))
    (folder / "journal.jsonl").write_text(lines + torn)
    return folder


def tables(section_id, events=EVENTS):
    section = next(s for s in sections_of("r", records(*events)) if s.id == section_id)
    return [block for block in section.blocks if isinstance(block, Table)]


def drawing(section_id, events=EVENTS):
    section = next(s for s in sections_of("r", records(*events)) if s.id == section_id)
    return next(block for block in section.blocks if isinstance(block, Drawings)).drawings


def test_the_sections_come_in_the_order_that_they_are_read():
    assert [section.id for section in sections_of("r", records(*EVENTS))] == SECTIONS


def test_the_claim_has_its_spread_and_the_command():
    (table,) = tables("claim")
    assert table.rows[0] == (
        "latency, measured", "10 ms ±3.0%", "5 ms ±3.0%", "50.0%", "within 6 ms",
    )  # fmt: skip
    assert table.rows[1][0] == "test top-1 accuracy"
    assert table.rows[1][3] == "-2.00 points"
    (code,) = re.findall("<code>(.*?)</code>", report_page("r", records(*EVENTS)))
    assert re.sub("</?span[^>]*>", "", code) == "netadapt adapt net --budget 60%"


def test_the_interval_of_an_accuracy_is_wilsons():
    low, high = wilson(0.5, 100)  # (0.5 + z²/200 ± ...) / (1 + z²/100), by hand with z = 1.96
    assert low == pytest.approx(0.4038, abs=1e-4)
    assert high == pytest.approx(0.5962, abs=1e-4)
    assert wilson(1.0, 10)[1] == pytest.approx(1.0)


def test_iterations_are_those_of_the_journal_in_table_and_drawing():
    (table,) = tables("course")
    assert [row[0] for row in table.rows] == ["0", "1", "2"]
    assert table.rows[2] == ("2", "body to 24", "5 ms", "5 ms", "92.00%")
    accuracy, latency = drawing("course")
    assert re.findall("<title>(.*?)</title>", accuracy) == [
        "iteration 0: 95.00%", "iteration 1: 94.00%", "iteration 2: 92.00%",
    ]  # fmt: skip
    assert "iteration 2: 5 ms" in latency


def test_a_step_that_went_back_for_a_larger_network_says_so_and_is_held_against_what_it_came_from():
    back = replace(step(3, "body", 0.0059, 0.0045, 0.93, {"body": 30}), origin=1)
    events = (*EVENTS[:15], StepTaken(back))
    (table,) = tables("course", events)
    assert table.rows[3][1] == "body to 30 (from iteration 1, nearer to the budget)"
    (errors,) = tables("predictions", events)
    rescaled = 0.0045 * (0.008 / 0.006) / 0.0059 - 1  # the bias of iteration 1
    assert f"{rescaled:+.1%}" in errors.rows[2]
    (table,) = tables("course", (*EVENTS[:15], StepTaken(replace(back, again=True))))
    assert (
        table.rows[3][1]
        == "body to 30 (an earlier network again, as none nearer to the budget is better)"
    )


def test_widths_are_channels_and_each_fixed_layer_says_why():
    able, fixed = tables("widths")
    assert [row[:4] for row in able.rows] == [
        ("stem", "32", "32", "100%"), ("body", "64", "24", "38%"),
    ]  # fmt: skip
    assert set(fixed.rows) == {("side", "its input is reshaped"), ("head", "an output")}


def test_widths_of_an_unfinished_run_are_those_of_its_last_step():
    able, _ = tables("widths", EVENTS[:11])
    assert able.rows[1][:4] == ("body", "64", "40", "62%")


def test_shares_of_layers_are_of_the_whole_before_and_after():
    (table,) = tables("layers")
    assert [row[:6] for row in table.rows] == [
        ("stem", "conv", "2 ms", "25.0%", "2 ms", "50.0%"),
        ("body", "conv", "6 ms", "75.0%", "2 ms", "50.0%"),
    ]


def test_predictions_are_told_rescaled_and_not():
    (table,) = tables("predictions")
    # Bias of the unpruned network 0.010/0.008 = 1.25, of step 1 0.008/0.006 = 4/3.
    assert table.rows[0] == ("1", "7.5 ms", "8 ms", "-6.2%", "-6.2%")
    assert table.rows[1] == ("2", "5 ms", "5 ms", "+6.7%", "+0.0%")


def test_every_trial_is_shown_and_the_one_that_was_kept():
    first, second = tables("trials")
    assert [row[-1] for row in first.rows] == ["", "", "kept"]
    assert [row[-1] for row in second.rows] == ["kept", "its loss was not finite"]
    assert first.rows[0] == ("stem", "2", "4 ms", "screened", "50.00%", "2.00", "")
    assert second.rows[1][4] == "-"


def test_a_trial_repeated_after_a_break_counts_once():
    events = (*EVENTS[:9], tried(1, 1, 1, "body", 40, 0.75), *EVENTS[9:])
    assert [row[4] for row in tables("trials", events)[0].rows] == ["50.00%", "60.00%", "75.00%"]


def test_time_is_that_of_the_account():
    (table,) = tables("time")
    # 16 minutes; 50 of training, 4 of screening, 6 of tuning, 9 of measuring, 4 of exporting.
    assert [str(row[0]).rpartition(" ")[2] for row in table.rows] == [
        "other", "training", "measuring", "tuning", "screening", "exporting",
    ]  # fmt: skip
    assert table.rows[1][2:] == ("5.2%", "1 k")


def test_a_run_without_energy_says_so_and_gives_no_break_even():
    (table,) = tables("energy")
    fields = dict(table.rows)
    assert fields["Energy per inference after"] == "not measured"
    assert fields["Data fingerprint"] == "ab12"


def test_provenance_tells_settings_files_and_warnings():
    origin, settings = tables("provenance")
    assert dict(origin.rows)["file adapted.onnx"] == "3.2 kB"
    assert dict(settings.rows)["tuning.recipe.lr"] == "0.1"
    assert "<li>hot</li>" in report_page("r", records(*EVENTS))


@pytest.mark.parametrize("count", range(1, len(EVENTS) + 1))
def test_a_journal_cut_off_anywhere_makes_a_page(count, tmp_path):
    folder = written(tmp_path / "r", EVENTS[:count], torn='{"event":"Tri')
    page = write_report(folder).read_text()
    assert re.findall('<section id="([a-z]+)"', page) == SECTIONS
    assert ("unfinished" in page) == (count < len(EVENTS))


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        write_report(tmp_path)


def hostile():
    """A journal in which every text from outside is HTML."""
    traced = replace(TRACED, groups=(Group(HOSTILE, 4, 8, ""), Group("b", 2, 1, HOSTILE)),
                     metric=HOSTILE)  # fmt: skip
    layer = LayerCost(HOSTILE, HOSTILE, "", "", {HOSTILE: 1.0}, {HOSTILE: 0.5})
    ends = (Figures({HOSTILE: cost}, {}, 0.9, 1, 1, 1) for cost in (1.0, 0.5))
    before, after = ends
    costs = {HOSTILE: StepCost(1.0, 1.0, 1.0)}
    return (
        replace(STARTED, command=HOSTILE, versions={HOSTILE: HOSTILE}),
        traced,
        replace(BOUND, key=HOSTILE, unit=HOSTILE, limit=1.0, original=1.0),
        StepTaken(Step(0, "", {}, costs, 0.9)),
        Tried(1, HOSTILE, {HOSTILE: 2}, {HOSTILE: 1.0}, Outcome(0, 1, 0.0, {}, (), HOSTILE)),
        StepTaken(Step(1, HOSTILE, {HOSTILE: (0,)}, costs, 0.9)),
        Warned(HOSTILE),
        Exported({HOSTILE: 1}, Phase(HOSTILE, 1.0)),
        replace(FINISHED, before=before, after=after, predicted={HOSTILE: 1.0}, layers=(layer,),
                devices={HOSTILE: HOSTILE}, widths=()),
    )  # fmt: skip


def test_text_from_outside_is_never_markup():
    page = report_page(HOSTILE, records(*hostile()))
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") > 20


def long_run(iterations):
    """A run of that many iterations, of two trials each."""
    yield from EVENTS[:5]
    for i in range(1, iterations + 1):
        size = 1 + 62 * (iterations - i) // iterations
        yield tried(i, 0, 1, "body", size, 0.9)
        yield tried(i, 1, 1, "stem", 2, 0.8)
        cost = 0.010 - 0.005 * i / iterations
        yield StepTaken(step(i, "body", cost, cost, 0.5 if i == 777 else 0.9, {"body": size}))
    yield FINISHED


def test_a_name_that_is_no_utf8_makes_a_page(tmp_path):
    odd = replace(STARTED, command="netadapt adapt net --run a\udcff")
    folder = written(tmp_path / "r", (odd, *EVENTS[1:]))
    page = write_report(folder).read_text(encoding="utf-8")
    assert ">a?</span>" in page


def test_ten_thousand_iterations_stay_below_a_megabyte_and_say_what_is_left_out():
    page = report_page("r", records(*long_run(10_000)))
    assert len(page.encode()) < 1_000_000
    assert "250 of 10001 iterations are shown" in page
    assert "of 20000 trials are shown" in page


@pytest.mark.parametrize("count", [2, 240, 241, 10_000])
def test_a_decimated_line_keeps_its_ends_and_its_outliers(count):
    points = [(float(i), 5.0 if i == count // 3 else 1.0) for i in range(count)]
    kept = decimated(points)
    assert len(kept) <= 240
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert max(y for _, y in kept) == 5.0


def test_thinning_keeps_both_ends():
    assert thinned(range(5), 5) == (0, 1, 2, 3, 4)
    assert thinned(range(101), 3) == (0, 50, 100)


def test_marks_of_an_axis_are_round_and_cover_it():
    assert ticks(0.0, 10.0) == (0.0, 5.0, 10.0)
    assert ticks(3.1, 8.9) == (2.0, 4.0, 6.0, 8.0, 10.0)
    flat = ticks(7.0, 7.0)
    assert flat[0] < 7.0 < flat[-1]


def test_a_line_goes_where_its_values_say():
    chart = line_chart("t", [Series("a", ((0.0, 0.0), (1.0, 10.0)))], str)
    assert 'd="M62.0 196.0L370.0 12.0"' in chart  # from corner to corner of the plot
    assert line_chart("t", [Series("a", ())], str) == Markup()


def test_each_kind_of_work_has_a_colour_of_its_own():
    page = report_page("r", records(*EVENTS))
    bar = stacked("time", [(f"work {number}", 1.0) for number in range(10)])
    used = re.findall(r'class="(part[0-9]+)"', bar)
    assert len(set(used)) == 10
    for scheme in (page.split("@media", 1)[0], page.split("prefers-color-scheme: dark", 1)[1]):
        colours = dict(re.findall(r"--p([0-9]): (#[0-9a-f]{6})", scheme.split("* {", 1)[0]))
        assert len(set(colours.values())) == 10
    assert all(f".{name} {{ fill: var(--p{name[4:]}); }}" in page for name in used)


def test_parts_of_a_bar_are_shares_of_it():
    assert re.findall(r'x="([\d.]+)" width="([\d.]+)"', stacked("t", [("a", 3.0), ("b", 1.0)])) == [
        ("0.00", "75.00"), ("75.00", "25.00"),
    ]  # fmt: skip


def test_the_command_writes_the_page_and_refuses_an_unknown_region(tmp_path, capsys):
    folder = written(tmp_path / "r", EVENTS)
    with pytest.raises(SystemExit) as left:
        main(["report", str(folder), "--region", "SWE"])
    assert left.value.code == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert "Sweden" in (folder / "report.html").read_text()
    with pytest.raises(SystemExit) as left:
        main(["report", str(folder), "--region", "SWX"])
    assert left.value.code == 2


def test_a_page_that_cannot_be_written_is_a_warning_and_ends_no_run(tmp_path):
    from netadapt.workbench import report_on

    with Run(tmp_path / "run", STARTED) as run:
        (run.folder / "report.html").mkdir()
        report_on(run)
    assert "The report was not written" in run.last(Warned).text


def test_a_run_that_cannot_reach_its_budget_writes_how_far_it_came(tmp_path):
    from netadapt.adapt import _reported

    with Run(tmp_path / "run", STARTED) as run:
        for event in EVENTS[1:-2]:  # all that came before the result
            run.append(event)
        with pytest.raises(BudgetUnreachable), _reported(run):
            raise BudgetUnreachable("Nothing more can be removed: <b>latency</b> is at 80%.")
        assert run.last(Stopped).text.startswith("Nothing more can be removed")
    page = (run.folder / "report.html").read_text()
    assert "This run ended short of its budgets. Nothing more can be removed: &lt;b&gt;" in page
    assert "on holdout images" in page
    assert ">ended short of its budgets</td>" in page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (800, "dark"), (360, "light")])
@pytest.mark.parametrize("events", [EVENTS, EVENTS[:11], hostile()], ids=["all", "some", "hostile"])
def test_a_browser_shows_the_page_without_a_complaint_or_a_request(
    events, width, scheme, browser, tmp_path
):
    browser.open(write_report(written(tmp_path / "r", events)), width=width, scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == []
    shown = "[...document.querySelectorAll('main > section')].map(s => s.id)"
    assert browser.value(shown) == SECTIONS
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    assert browser.value("document.querySelectorAll('script, img').length") == 0
    dark = browser.value("matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark == (scheme == "dark")


def test_the_browser_shows_what_the_journal_holds(browser, tmp_path):
    browser.open(write_report(written(tmp_path / "r", EVENTS)))
    cells = (
        "[...document.querySelectorAll('#course tbody tr:last-child > *')].map(c => c.innerText)"
    )
    assert browser.value(cells) == ["2", "body to 24", "5 ms", "5 ms", "92.00%"]
    dots = "document.querySelector('#course .chart').querySelectorAll('circle').length"
    assert browser.value(dots) == 3
    unnamed = "[...document.querySelectorAll('svg[role=img]')].filter(s => !s.ariaLabel).length"
    assert browser.value(unnamed) == 0


def test_the_browser_would_notice_a_complaint_and_a_request(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('x')</script><img src='http://127.0.0.1:9/x.png'>")
    browser.open(page)
    assert browser.complaints()
    assert browser.requests() == ["http://127.0.0.1:9/x.png"]

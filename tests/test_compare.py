"""Finished runs against each other: curves, frontier, differences and what they are worth."""

import json

import pytest

from netadapt.cli import main
from netadapt.compare import compare, write_comparison
from netadapt.errors import UsageError
from netadapt.report.comparison import at_accuracy, at_cost
from netadapt.report.comparison_views import as_page
from netadapt.report.differences import in_words
from netadapt.runs import Record
from netadapt.runs.events import BoundSet, Figures, Finished, Started, Traced, to_json
from tests import chromium

TRACED = Traced((), (), 1, 1, 8, "top-1 accuracy", True, {"train": 9, "holdout": 5, "test": 400})
BOUND = BoundSet("latency", "latency", "s", "pi", 0.006, 0.010)
DEVICE = {"device": "Cortex-A76", "runtime": "onnxruntime 1.20", "threads": 1}


def figures(cost, accuracy):
    return Figures({"latency": cost}, {"latency": 0.02}, accuracy, int(cost * 1e6), 5, 6)


def written(folder, strategy, seed, cost, accuracy, device=DEVICE, finished=True, original=0.9):
    started = Started(
        2, {"config": {"strategy": strategy, "seed": seed, "finalists": 3},
            "model": {"name": "net", "args": {}}, "data": {"name": "digits"},
            "devices": {"pi": device}}, {}, {},
    )  # fmt: skip
    end = Finished(True, figures(0.010, original), figures(cost, accuracy), {"latency": cost}, (),
                   (), {}, {}, 0.0, "graph", 1)  # fmt: skip
    events = [started, TRACED, BOUND, *([end] if finished else [])]
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(to_json(Record(float(i), e))) + "\n" for i, e in enumerate(events))
    (folder / "journal.jsonl").write_text(lines)
    return folder


@pytest.fixture
def runs(tmp_path):
    """Two methods, two seeds, one budget; the second two points worse, on average."""
    return [
        written(tmp_path / "a0", "one_group", 0, 0.005, 0.88),
        written(tmp_path / "a1", "one_group", 1, 0.005, 0.86),
        written(tmp_path / "b0", "uniform", 0, 0.005, 0.85),
        written(tmp_path / "b1", "uniform", 1, 0.005, 0.85),
    ]


def test_a_curve_is_straight_between_results():
    curve = ((1.0, 0.5), (3.0, 0.7), (5.0, 0.6))
    assert at_cost(curve, 2.0) == pytest.approx(0.6)
    assert at_accuracy(curve, 0.65) == pytest.approx(2.5)
    assert at_accuracy(curve, 0.4) == 1.0
    with pytest.raises(ValueError, match="not reach"):
        at_accuracy(curve, 0.8)


def test_the_frontier_is_what_nothing_beats(tmp_path):
    points = {"a": (0.005, 0.80), "b": (0.006, 0.79), "c": (0.007, 0.85), "d": (0.007, 0.84)}
    found = compare([written(tmp_path / n, n, 0, *point) for n, point in points.items()])
    assert [entry.method for entry in found.frontier] == ["a", "c"]


def test_the_difference_at_equal_latency_is_the_mean_over_seeds_with_its_interval(runs):
    # Over 5..10 ms the curves differ by 3 and 1 points at the left end and 0 at the right: 1.5 and
    # 0.5 in the mean. Their standard deviation is 1/sqrt(2), and t for 1 degree is 12.706.
    sentence = in_words(compare(runs))[0]
    assert "one_group against uniform: +1.00 points" in sentence
    assert "95 % interval -5.35 to +7.35" in sentence
    assert "no clear difference (2 seeds, paired)" in sentence


def test_at_equal_accuracy_the_cheaper_method_has_the_lower_latency(runs):
    sentence = in_words(compare(runs))[1]
    assert sentence.startswith("At equal accuracy (88.00% to 90.00%), latency of one_group")
    assert "against uniform: -" in sentence


def test_of_one_seed_the_interval_is_that_of_the_test_images(runs):
    assert "400 test images alone" in in_words(compare([runs[0], runs[2]]))[0]


def test_methods_are_told_apart_by_every_setting_that_differs(tmp_path, runs):
    other = tmp_path / "other"
    written(other, "one_group", 0, 0.004, 0.8)
    text = (other / "journal.jsonl").read_text().replace('"finalists": 3', '"finalists": 0')
    (other / "journal.jsonl").write_text(text)
    assert compare([runs[0], other]).methods == (
        "one_group, finalists=0", "one_group, finalists=3",
    )  # fmt: skip


def test_runs_of_different_devices_or_unfinished_ones_are_refused(tmp_path, runs):
    moved = written(tmp_path / "m", "uniform", 0, 0.005, 0.8, {**DEVICE, "device": "Cortex-A53"})
    with pytest.raises(UsageError, match=r"the device is Cortex-A53.*Compare runs of one device"):
        compare([runs[0], moved])
    assert len(compare([runs[0], moved], "macs").entries) == 2  # which no device decides
    begun = written(tmp_path / "u", "uniform", 0, 0.005, 0.8, finished=False)
    with pytest.raises(UsageError, match="not finished"):
        compare([runs[0], begun])
    with pytest.raises(UsageError, match="no budget of energy"):
        compare(runs, "energy")
    with pytest.raises(UsageError, match="at least two"):
        compare(runs[:1])
    with pytest.raises(UsageError, match="given twice"):
        compare([*runs, runs[1].parent / "." / runs[1].name])


def test_a_comparison_is_written_as_its_ending_says(runs, tmp_path):
    pytest.importorskip("matplotlib")
    comparison = compare(runs)
    lines = write_comparison(comparison, tmp_path / "c.csv").read_text().splitlines()
    assert lines[0].startswith("run,method,seed,latency_s,spread,accuracy")
    assert lines[1].split(",")[1:6] == ["one_group", "0", "0.005", "0.02", "0.88"]
    assert write_comparison(comparison, tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert "<h2" in write_comparison(comparison, tmp_path / "c.html").read_text()
    with pytest.raises(UsageError, match="no format"):
        write_comparison(comparison, tmp_path / "c.pdf")
    for ending in ("csv", "png", "html"):
        write_comparison(comparison, tmp_path / f"c.{ending}")  # ours, and replaced
        theirs = tmp_path / f"theirs.{ending}"
        theirs.write_text("a,b\n")
        with pytest.raises(UsageError, match="file of another kind"):
            write_comparison(comparison, theirs)
        assert theirs.read_text() == "a,b\n"


def test_a_browser_shows_a_comparison_without_a_complaint_or_a_request(runs, tmp_path):
    page = write_comparison(compare(runs), tmp_path / "c.html")
    with chromium.Browser(tmp_path / "profile") as browser:
        browser.open(page, width=360)
        assert (browser.complaints(), browser.requests()) == ([], [])
        assert browser.value("document.documentElement.scrollWidth <= innerWidth")
        assert browser.value("document.querySelectorAll('.chart circle').length") == 5
        # of each method the unpruned network and the mean of its runs; a ring around the frontier


def test_the_command_prints_a_table_and_sentences(runs, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["compare", *map(str, runs), "-o", str(tmp_path / "c.csv")])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "5 ms ±2.0%" in out
    assert "At equal latency (5 ms to 10 ms)" in out


def test_several_seeds_are_one_line_with_their_spread(tmp_path):
    folders = [
        written(tmp_path / f"{seed}", "one_group", seed, cost, accuracy)
        for seed, cost, accuracy in ((0, 0.004, 0.80), (1, 0.006, 0.84))
    ]
    found = compare(folders)
    (line,) = found.lines("one_group")
    assert line.points == ((pytest.approx(0.005), pytest.approx(0.82)), (0.010, 0.9))
    assert line.spreads[0] == (pytest.approx(0.001 * 2**0.5), pytest.approx(0.02 * 2**0.5))
    assert line.spreads[1] == (0.0, 0.0)
    page = as_page(found).decode()
    assert page.count('class="bar first"') == 2
    assert "one_group, 2 seeds" in page
    assert page.count('class="ring"') == 1 + len(found.frontier)  # and in the key

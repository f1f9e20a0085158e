"""The command line as a user meets it: output, exit codes, and what happens to bad input."""

import dataclasses
import json
import os
import time

import numpy as np
import pytest
import torch
from PIL import Image

from netadapt.cli import main
from netadapt.config import SHORT_LIMIT, RunConfig, Tuning
from netadapt.export.deployment import as_computed
from netadapt.platforms.ort.quantization import is_quantized
from netadapt.platforms.synthetic import SyntheticPlatform
from netadapt.runs import last, read_journal, steps_of
from netadapt.runs.events import Trained
from netadapt.tables.lookup import LookupTable
from netadapt.training import accuracy
from netadapt.units import Budget
from tests.children import Child
from tests.command import MODEL, TINY, adapt, run
from tests.examples import stripes


def adapt_data(capsys, folder, data):
    without_task = ["--data", data, *TINY[2:]]
    return run(capsys, "adapt", MODEL, *without_task, "--budget", "70%", "--run", folder)


def test_adapt_reaches_the_budget_and_says_what_it_measured(finished, tmp_path, capsys):
    folder, out = finished
    result = json.loads(out)
    assert result["met"]
    before, after = (result[when]["costs"]["latency"] for when in ("before", "after"))
    assert after <= 0.7 * before
    assert result["after"]["macs"] < result["before"]["macs"]
    names = {path.name for path in folder.iterdir()}
    assert {"adapted.onnx", "adapted.pt2", "adapted.pt", "load_adapted.py", "arch.json",
            "table.csv", "journal.jsonl", "report.html", "weights"} <= names  # fmt: skip

    code, again, _ = adapt(capsys, folder)  # a finished run is shown, not repeated
    assert code == 0
    assert "latency: within the budget of" in again
    assert "after/before" in again

    code, listed, _ = run(capsys, "ls", folder.parent)
    assert code == 0
    assert "finished" in listed

    code, _, err = adapt(capsys, folder, "--seed", "3")
    assert code == 2
    assert "config.seed: 0 -> 3" in err

    code, out, _ = run(capsys, "export", folder, "--step", 1, "-o", tmp_path / "one")
    assert code == 0
    assert (tmp_path / "one" / "adapted.onnx").exists()


def outcome(folder):
    """What a run chose: every step without its timings, and the final weights."""
    steps = [(s.name, s.keep, s.measured, s.accuracy) for s in steps_of(read_journal(folder))]
    return steps, torch.load(folder / "adapted.pt", weights_only=True)


def assert_same(first, second):
    assert first[0] == second[0]
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


def test_a_killed_run_resumes_to_the_same_bits(finished, tmp_path, capsys):
    """The oracle of crash safety: SIGKILL at some moment, then the same command."""
    command = ["netadapt", "adapt", MODEL, *TINY, "--budget", "70%", "--run", str(tmp_path / "cut")]
    child = Child(tmp_path, command, dict(os.environ))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.process.is_alive():
        if any(step.iteration == 1 for step in steps_of(_events(tmp_path / "cut"))):
            break
        time.sleep(0.01)
    child.process.kill()
    child.ended()
    killed_at = len(_events(tmp_path / "cut"))
    assert adapt(capsys, tmp_path / "cut")[0] == 0
    assert len(_events(tmp_path / "cut")) > killed_at
    assert_same(outcome(finished[0]), outcome(tmp_path / "cut"))


def _events(folder):
    return read_journal(folder)


def test_the_same_seed_on_a_recorded_table_gives_the_same_bits(finished, tmp_path, capsys):
    table = finished[0] / "table.csv"
    results = []
    for name in ("one", "two"):
        code, _, err = adapt(capsys, tmp_path / name, "--on", f"replay:{table}")
        assert code == 0, err
        results.append(outcome(tmp_path / name))
    assert_same(*results)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"budget": "15"}, 2, "has no unit"),
        ({"budget": "150%"}, 2, "above the original"),
        ({"budget": "10s"}, 2, "within its budget already"),
        ({"budget": "9J"}, 2, "within its budget already"),
        ({"budget": "0.5%"}, 1, "smallest network"),
        ({"model": "mobilenet_v11"}, 2, "did you mean mobilenet_v1"),
    ],
)
def test_bad_requests_are_one_sentence(tmp_path, capsys, changes, code, words):
    found, out, err = adapt(capsys, tmp_path / "run", **changes)
    assert (found, out) == (code, "")
    assert words in err
    assert err.startswith("Error: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--data", "digits"], 2, "one of --data"),
        (["--task", "stripes"], 2, "package.module:callable"),
        (["--strategy", "one_grop"], 2, "did you mean one_group"),
        (["--select", "best"], 2, "accuracy, loss, mobilenet_v3, ratio"),
        (["--importance", "l3"], 2, "l2"),
        (["--on", "orc:cpu"], 2, "platform"),
        (["--weights", "nothing.pt"], 2, "nothing.pt"),
        (["--initial-reduction", "5ms"], 2, "percentage"),
        (["--lr", "nan", "--finalists", "-1"], 2, "2 settings are wrong"),
        (["--trainer", "cuda:9"], 3, "not available"),
        (["--lr", "1e9", "--epochs", "3"], 4, "diverged"),
    ],
)
def test_bad_options_are_one_sentence(tmp_path, capsys, more, code, words):
    found, _, err = adapt(capsys, tmp_path / "run", *more)
    assert found == code, err
    assert words in err
    assert "Traceback" not in err


def test_weights_of_another_architecture_name_the_keys(tmp_path, capsys):
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pt")
    code, _, err = adapt(capsys, tmp_path / "run", "--weights", tmp_path / "other.pt")
    assert code == 2
    assert "layer.weight" in err


def test_a_table_of_another_device_is_refused(finished, tmp_path, capsys):
    elsewhere = ["synthetic:?block=8" if word == "synthetic:" else word for word in TINY]
    code, _, err = run(
        capsys, "adapt", MODEL, *elsewhere, "--budget", "70%", "--run", tmp_path / "other",
        "--table", finished[0] / "table.csv",
    )  # fmt: skip
    assert code == 2
    assert "block: " in err


def photos(folder, classes, *, broken=False):
    for split in ("train", "test"):
        for name in classes:
            target = folder / split / name
            target.mkdir(parents=True)
            for i in range(12):
                pixels = np.random.default_rng(i).integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(target / f"{i}.png")
    if broken:
        (folder / "train" / classes[0] / "bad.png").write_bytes(b"no image")


def test_an_unknown_data_set_suggests_the_nearest(tmp_path, capsys):
    code, _, err = adapt_data(capsys, tmp_path / "run", "digitz")
    assert code == 2
    assert "did you mean digits" in err


def test_unreadable_images_are_named(tmp_path, capsys):
    photos(tmp_path / "photos", ["cat", "dog"], broken=True)
    code, _, err = adapt_data(capsys, tmp_path / "run", tmp_path / "photos")
    assert code == 2
    assert "bad.png" in err


def test_a_single_class_is_refused(tmp_path, capsys):
    photos(tmp_path / "photos", ["cat"])
    code, _, err = adapt_data(capsys, tmp_path / "run", tmp_path / "photos")
    assert code == 2
    assert "class" in err


def test_train_writes_weights_that_adapt_takes(tmp_path, capsys):
    weights = tmp_path / "w.safetensors"
    code, out, _ = run(capsys, "train", MODEL, "--task", "tests.examples:stripes", "--epochs", "2",
                       "-o", weights, "-q")  # fmt: skip
    assert code == 0
    assert "32 test images" in out
    code, _, _ = adapt(capsys, tmp_path / "run", "--weights", weights)
    assert code == 0
    trained = last(read_journal(tmp_path / "run"), Trained, what="original")
    assert trained.epochs == 0


def test_inspect_takes_inputs_of_any_shape(capsys):
    code, out, _ = run(capsys, "inspect", "tests.examples:waves_net", "--input-shape", "3x64",
                       "--classes", 3, "--verify")  # fmt: skip
    assert code == 0
    assert out.startswith("tests.examples:waves_net, input 3x64: ")
    code, out, _ = run(capsys, "inspect", "tests.examples:two_inputs_net", "--input-shape",
                       "a=1x8x12", "--input-shape", "b=2x8x12", "--verify", "--json")  # fmt: skip
    assert code == 0
    report = json.loads(out)
    assert report["input_shapes"] == [[1, 8, 12], [2, 8, 12]]
    assert {check["status"] for check in report["checks"]} == {"equal"}


def test_inspect_shows_groups_and_reasons(capsys):
    code, out, _ = run(capsys, "inspect", "mobilenet_v1", "--input-size", 32, "--json")
    assert code == 0
    report = json.loads(out)
    assert len([g for g in report["groups"] if not g["fixed"]]) == 14
    assert report["fixed"] == [
        {"layer": "classifier", "reason": "is an output of the network"},
    ]
    code, out, _ = run(capsys, "inspect", "mobilenet_v1", "-a", "width=0.25", "--input-size", 32,
                       "--verify")  # fmt: skip
    assert code == 0
    assert "is an output of the network" in out
    assert "equal" in out


def test_table_build_and_show(tmp_path, capsys):
    table = tmp_path / "t.csv"
    arguments = ["table", "build", "mobilenet_v1", "-a", "width=0.25", "--input-size", 32, "--on",
                 "synthetic:", "-o", table, "--json", "-q"]  # fmt: skip
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert json.loads(out)["measured"] > 0
    code, out, _ = run(capsys, *arguments)  # what is there is not measured again
    assert json.loads(out)["measured"] == 0
    code, out, _ = run(capsys, "table", "show", table)
    assert code == 0
    assert "conv" in out


V1 = ["mobilenet_v1", "-a", "width=0.25", "--input-size", 32]


def test_table_verify_passes_or_fails_by_its_exit_code(tmp_path, capsys):
    table = tmp_path / "t.csv"
    assert run(capsys, "table", "build", *V1, "--on", "synthetic:", "-o", table, "-q")[0] == 0
    given = ["table", "verify", *V1, "--on", "synthetic:", "--table", table, "--networks", 3,
             "--groups", 3, "-q"]  # fmt: skip
    code, out, err = run(capsys, *given)
    assert code == 0, out + err
    assert "within the tolerance: a mean error of 5.0%" in out
    assert "MACs" in out
    code, out, _ = run(capsys, *given, "--tolerance", "0.0001%", "--json")
    assert code == 1
    report = json.loads(out)
    assert not report["ok"]
    assert report["predictors"]["MACs"]["mean_error"] > 0.01
    assert len(report["networks"]) == 4 + 3 + 3
    code, _, err = run(capsys, *given, "--tolerance", "5ms")
    assert code == 2
    assert "percentage" in err
    code, _, err = run(capsys, *given[:-5], "--on", "synthetic:?block=8")
    assert code == 2
    assert "block: 16 vs. 8" in err


SMALL = [MODEL, "--input-size", 16, "--classes", 2, "--multiple", 32, "-q"]


def test_a_verification_on_a_real_device_compares_single_layers_too(tmp_path, capsys):
    table = tmp_path / "t.csv"
    given = [*SMALL, "--on", "ort:cpu"]
    code, out, err = run(capsys, "table", "build", *given, "-o", table)
    assert code == 0, err
    assert "1/2" in out
    code, out, _ = run(capsys, "table", "verify", *given, "--table", table, "--networks", 2,
                       "--groups", 0, "--tolerance", "99%", "--json")  # fmt: skip
    report = json.loads(out)
    assert list(report["predictors"]) == [
        "lookup table", "the same, calibrated anew", "single layers, summed", "MACs",
    ]  # fmt: skip
    assert code == (0 if report["ok"] else 1)


def test_in_8_bits_a_network_is_measured_and_its_tables_are_kept_apart(tmp_path, capsys):
    int8 = ["--on", "ort:cpu?precision=int8"]
    code, out, err = run(capsys, "measure", *V1, *int8, "--min-seconds", 0)
    assert code == 0, err
    assert "int8" in out
    table = tmp_path / "t.csv"
    build = ["table", "build", *SMALL, "-o", table]
    code, out, err = run(capsys, *build, *int8)
    assert code == 0, err
    assert "int8" in out
    code, _, err = run(capsys, *build)
    assert code == 2
    assert "precision: int8 vs. float32" in err


def test_adapting_in_8_bits_scores_and_keeps_what_is_deployed(finished, tmp_path, capsys):
    recorded = LookupTable.load(finished[0] / "table.csv")
    info = dataclasses.replace(recorded.info, precision="int8", saturates=True)
    dataclasses.replace(recorded, info=info).save(tmp_path / "int8.csv")
    given = ["--on", f"replay:{tmp_path / 'int8.csv'}"]
    code, out, err = adapt(capsys, tmp_path / "run", *given, budget="85%")
    assert code == 0, err
    assert "adapted.int8.onnx, quantized after training, is what was measured" in out
    written = (tmp_path / "run" / "adapted.int8.onnx").read_bytes()
    assert is_quantized(written)
    code, out, _ = adapt(capsys, tmp_path / "run", *given, "--json", budget="85%")
    result = json.loads(out)
    assert result["after"]["onnx_bytes"] == len(written)
    assert result["after"]["accuracy"] == accuracy(as_computed(written, info), stripes(), "test")
    code, _, _ = run(capsys, "export", tmp_path / "run", "-o", tmp_path / "again")
    assert code == 0
    assert (tmp_path / "again" / "adapted.int8.onnx").read_bytes() == written


def test_measure_compares_interleaved(capsys):
    code, out, _ = run(capsys, "measure", "mobilenet_v1", "-a", "width=0.25", "--input-size", 32,
                       "--on", "synthetic:", "--compare", "mobilenet_v1", "--json")  # fmt: skip
    assert code == 0
    assert len(json.loads(out)["models"]) == 2


@pytest.mark.parametrize(("more", "processes"), [((), 1), (("--compare", "mobilenet_v1"), 5)])
def test_several_processes_measure_what_is_compared(capsys, monkeypatch, more, processes):
    efforts, measured = [], SyntheticPlatform.measure_networks

    def seen(self, models, effort):
        efforts.append(effort.invocations)
        return measured(self, models, effort)

    monkeypatch.setattr(SyntheticPlatform, "measure_networks", seen)
    code, _, _ = run(capsys, "measure", "mobilenet_v1", "-a", "width=0.25", "--input-size", 32,
                     "--on", "synthetic:", *more)  # fmt: skip
    assert (code, efforts) == (0, [processes])


def test_internal_errors_hide_the_traceback_unless_asked(capsys, monkeypatch):
    from netadapt.runs import summaries

    monkeypatch.setattr(summaries, "list_runs", None)
    code, _, err = run(capsys, "ls", ".")
    assert code == 101
    assert "Internal error (TypeError: 'NoneType' object is not callable)" in err
    assert "Traceback" not in err
    with pytest.raises(TypeError):
        main(["--debug", "ls", "."])


def test_interrupt_says_how_to_continue(capsys, monkeypatch):
    from netadapt.runs import summaries

    def interrupted(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(summaries, "list_runs", interrupted)
    code, _, err = run(capsys, "ls", ".")
    assert code == 130
    assert "Nothing of it is kept: the same command begins again" in err


def test_exit_codes_are_documented(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"\n    {number} " in out for number in (0, 1, 2, 3, 4, 5, 101, 130))
    for command in ("adapt", "train", "measure", "inspect", "export"):
        assert "Examples:" in run(capsys, command, "--help")[1]


def test_the_help_tells_the_defaults_that_hold(capsys):
    help_text = " ".join(run(capsys, "adapt", "--help")[1].split())
    tuning, config = Tuning(), RunConfig("m", "d", (Budget("latency", 0.5, share=True),))
    small, large = tuning.suited(64), tuning.suited(65)
    long, short = (
        f"{a.lr:g} for images of up to 64 pixels, {b.lr:g} for larger]"
        for a, b in ((small.recipe, large.recipe), (small.short, large.short))
    )
    for words, value in [
        ("Epochs of training from scratch.", tuning.train_epochs),
        ("Highest learning rate.", long),
        ("Images per step.", tuning.recipe.batch_size),
        ("all of it.", ",".join(map(str, config.chosen_rungs))),
        ("Its learning rate.", short),
        ("fine-tune at the end.", tuning.long_epochs),
        ("two epochs, at most", SHORT_LIMIT),
    ]:
        said = f"{words} [default: {value}" if "at most" not in words else f"{words} {value}"
        assert said in help_text, said
    assert tuning.recipe.batch_size == tuning.short.batch_size


def test_a_torchvision_model_with_concatenations_adapts_end_to_end(tmp_path, capsys):
    code, out, err = run(
        capsys, "adapt", "squeezenet1_1", "--data", "digits", "--limit", "20%", "--input-size", 32,
        "--on", "synthetic:", "--budget", "95%", "--epochs", 0.1, "--short-steps", 1,
        "--long-epochs", 0.1, "--finalists", 1, "--batch-size", 32, "--run", tmp_path / "run",
        "--json", "-q",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["met"]


BOARD = "synthetic:?noise=0.05&energy=sensor"


def test_budgets_of_energy_and_latency_hold_by_what_the_board_measures(tmp_path, capsys):
    run_folder = tmp_path / "run"
    both = ["--on", BOARD, "--budget", "80%", "--json"]
    code, out, _ = adapt(capsys, run_folder, *both, budget="energy=60%")
    assert code == 0
    result = json.loads(out)
    for key, share in (("energy", 0.6), ("latency", 0.8)):
        before, after = (result[when]["costs"][key] for when in ("before", "after"))
        assert after <= share * before
    table = LookupTable.load(run_folder / "table.csv")
    assert {row.sensor for row in table.energies} == {"synthetic:board"}
    code, told, _ = run(capsys, "carbon", run_folder)
    assert code == 0
    assert "Energy per inference after" in told
    assert "synthetic:board" in told


@pytest.mark.parametrize(
    ("device", "budget", "code", "sentence"),
    [
        ("synthetic:?energy=none", "energy=60%", 2, "name what tells its energy"),
        ("ort:cpu", "3mJ", 2, "ort:cpu?energy=auto"),
        ("crossbar:?noise=none_such", "energy=60%", 2, "none_such"),
    ],
)
def test_what_tells_no_energy_is_refused_in_a_sentence_before_anything_runs(
    tmp_path, capsys, device, budget, code, sentence
):
    for flags in ((), ("--dry-run",)):
        status, _, err = adapt(capsys, tmp_path / "run", "--on", device, *flags, budget=budget)
        assert status == code
        assert sentence in err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "run").exists()


def test_a_table_of_energy_is_built_shown_and_verified(tmp_path, capsys):
    table, V1 = tmp_path / "t.csv", ["mobilenet_v1", "-a", "width=0.25", "--input-size", 32]
    given = [*V1, "--resource", "energy", "--on", BOARD]
    code, out, _ = run(capsys, "table", "build", *given, "-o", table, "--json", "-q")
    report = json.loads(out)
    assert (code, report["resource"], report["unit"]) == (0, "energy", "J")
    assert report["energies_measured"] == report["energy"]["networks"] == 30
    code, out, _ = run(capsys, "table", "build", *given, "-o", table, "--json", "-q")
    assert (code, json.loads(out)["energies_measured"]) == (0, 0)  # all is there
    code, out, _ = run(capsys, "table", "show", table)
    assert (code, "read from synthetic:board" in out) == (0, True)
    verify = ["--table", table, "--networks", 3, "--groups", 3, "--tolerance", "8%", "--json", "-q"]
    _, out, _ = run(capsys, "table", "verify", *given, *verify)
    report = json.loads(out)
    assert (report["resource"], report["unit"]) == ("energy", "J")
    assert report["predictors"]["powers by class"]["mean_error"] < 0.05


@pytest.mark.parametrize("after", [9, 26], ids=["among the table's", "in the search"])
def test_a_sensor_that_vanishes_midway_loses_nothing_and_the_same_command_goes_on(
    tmp_path, capsys, after
):
    folder, mended = tmp_path / "run", tmp_path / "mended"
    board = ["--on", f"tests.boards:unplugged?after={after}&mended={mended}"]
    code, _, err = adapt(capsys, folder, *board, budget="energy=60%")
    assert code == 3
    assert err.strip().endswith("The energy sensor synthetic:board cannot be read any more.")
    kept = LookupTable.load(folder / "table.csv").energies
    # The unpruned network comes first, then 24: so many of 30 draws differ in multiples of 16.
    assert len(kept) == min(24, after - 1)
    mended.touch()
    code, out, _ = adapt(capsys, folder, *board, "--json", budget="energy=60%")
    assert code == 0
    assert json.loads(out)["met"]
    assert LookupTable.load(folder / "table.csv").energies[: len(kept)] == kept


def test_runs_are_compared_by_their_energy(tmp_path, capsys):
    for share in ("80%", "60%"):
        code, _, _ = adapt(capsys, tmp_path / share, "--on", BOARD, budget=f"energy={share}")
        assert code == 0
    given = [tmp_path / "80%", tmp_path / "60%", "--resource", "energy"]
    code, out, _ = run(capsys, "compare", *given)
    assert code == 0
    assert "J" in out
    code, _, err = run(capsys, "compare", *given[:2])
    assert code == 2
    assert len(err.strip().splitlines()) == 1

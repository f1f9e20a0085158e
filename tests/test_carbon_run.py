"""What a journal tells of energy and carbon, and the commands that show it."""

import json
from dataclasses import replace

import pytest

from netadapt.carbon.account import account
from netadapt.carbon.run import read_use, use_of
from netadapt.carbon.use import Phase
from netadapt.cli import main
from netadapt.errors import UsageError
from netadapt.runs import Outcome, Record
from netadapt.runs import Phase as Work
from netadapt.runs.events import (
    Continued,
    Exported,
    Measured,
    Started,
    TableMeasured,
    Trained,
    Tried,
    to_json,
)

STARTED = Started(
    format=2,
    settings={
        "config": {"seed": 7, "data": "digits"},
        "data": {"name": "digits", "fingerprint": "ab12"},
        "devices": {
            "pi": {"device": "Cortex-A76", "platform": "ssh://pi", "runtime": "onnxruntime 1.20"}
        },
    },
    execution={"trainer": "cpu"},
    versions={"netadapt": "0.1.0", "python": "3.11.7", "torch": "2.11"},
    command="netadapt adapt mobilenet_v1 --budget 60%",
    machine={"processor": "AMD EPYC", "cores": 4},
)
LATENCY = {"value": 0.02, "p10": 0.02, "p90": 0.03, "runs": 60, "clock": "cpu"}
ENERGY = {"value": 3.0, "p10": 2.9, "p90": 3.1, "runs": 3, "clock": "wall"}


def halved(summary):
    return {k: v / 2 if k in ("value", "p10", "p90") else v for k, v in summary.items()}


def measured(seconds, energy=ENERGY):
    """A network of half the cost beside the unpruned one."""
    unpruned = {"latency": LATENCY} | ({"energy": energy} if energy else {})
    readings = {name: halved(summary) for name, summary in unpruned.items()}
    return Measured(1, "pi", readings, unpruned, Work("measuring", seconds))


def journal(*events, energy=ENERGY):
    """Events a minute apart, after the first line."""
    return [Record(60.0 * i, event) for i, event in enumerate((STARTED, *events))]


def whole(energy=ENERGY):
    tried = Outcome(0, 1, 0.9, {}, (Work("screening", 2.0, 0, 64), Work("tuning", 20.0, 128, 32)))
    return journal(
        TableMeasured("pi", 8, 30.0),
        Trained("original", 0, 3.0, Work("training", 50.0, 1000)),
        Tried(1, "conv1", {"conv1": 8}, {"latency": 0.01}, tried),
        measured(10.0, energy),
        Trained("adapted", 1, 3.0, Work("training", 40.0, 900)),
        Exported({"adapted.onnx": 1000}, Work("exporting", 5.0)),
    )


def written(folder, records):
    folder.mkdir()
    lines = [json.dumps(to_json(record)) for record in records]
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_phases_are_summed_over_a_run_and_the_rest_of_its_time_is_other():
    phases = {phase.name: phase for phase in use_of("r", whole()).phases}
    assert phases["measuring"] == Phase("measuring", 40.0)
    assert phases["training"] == Phase("training", 90.0, 1900)
    assert phases["screening"] == Phase("screening", 2.0, 64)
    assert phases["tuning"] == Phase("tuning", 20.0, 160)
    assert phases["exporting"].seconds == 5.0
    assert phases["other"].seconds == 6 * 60 - 157
    assert use_of("r", whole()).seconds == pytest.approx(360)


def test_a_pause_before_a_run_was_taken_up_again_is_none_of_its_time():
    records = [
        Record(0.0, STARTED),
        Record(100.0, Trained("original", 0, 1.0, Work("training", 90.0))),
        Record(9000.0, Continued({"trainer": "cpu"}, {})),
        Record(9010.0, Exported({}, Work("exporting", 4.0))),
    ]
    assert use_of("r", records).seconds == pytest.approx(110)


def test_a_clock_that_was_set_back_takes_no_time_away():
    records = [Record(1000.0, STARTED), Record(10.0, Exported({}, Work("exporting", 4.0)))]
    assert use_of("r", records).phases == (Phase("exporting", 4.0),)


def test_energy_of_an_inference_comes_from_the_measurement_beside_the_unpruned_network():
    use = use_of("r", whole())
    assert (use.before.energy_j.value, use.after.energy_j.value) == (3.0, 1.5)
    assert (use.before.basis, use.before.source, use.before.windows) == ("measured", "ssh://pi", 3)
    assert use.after.latency_s.high == 0.015
    # 360 s on 4 threads at 3.5 W are 5040 J; an inference saves 1.5 J.
    assert account(use).in_energy.inferences.value == pytest.approx(3360)
    assert account(use).in_energy.kind == "estimated"


def test_a_modelled_energy_is_called_one():
    use = use_of("r", whole({**ENERGY, "clock": "model"}))
    assert use.after.basis == "modelled"


def test_without_an_energy_resource_break_even_is_not_known():
    use = use_of("r", whole(None))
    assert use.after.energy_j is None
    assert account(use).in_energy.verdict == "not known"


def test_what_trained_is_what_trained_last():
    assert use_of("r", whole()).trainer.count == 4
    moved = [*whole(), Record(400.0, Continued({"trainer": "cuda:1"}, {}))]
    assert use_of("r", moved).trainer.processor == "gpu"
    assert use_of("r", journal()).trainer.description == "AMD EPYC"
    unknown = [Record(0.0, replace(STARTED, machine=None))]
    assert use_of("r", unknown).trainer is None


def test_provenance_comes_from_the_first_line():
    told = use_of("r", whole()).provenance
    assert (told.version, told.seed, told.data, told.data_fingerprint) == (
        "0.1.0", 7, "digits", "ab12",
    )  # fmt: skip
    assert told.command == "netadapt adapt mobilenet_v1 --budget 60%"
    assert told.device == "Cortex-A76 (ssh://pi, onnxruntime 1.20)"
    assert told.software == "python 3.11.7, torch 2.11"


def test_a_run_that_has_just_begun_has_used_nothing_that_is_known(tmp_path):
    use = read_use(written(tmp_path / "r", journal()))
    assert use.phases == ()
    assert not use.finished
    assert account(use).footprint.total is None


def test_a_folder_without_a_run_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        read_use(tmp_path)


# The commands


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return caught.value.code, printed.out, printed.err


@pytest.fixture
def run(tmp_path):
    return written(tmp_path / "run", whole())


def test_carbon_shows_the_account(run, capsys):
    code, out, _ = command(capsys, "carbon", run, "--region", "SWE", "--rate", "20/s")
    assert code == 0
    assert "35.33 g CO2e/kWh in Sweden" in out
    assert "estimated from time and 4 threads" in " ".join(out.split())
    assert "after 3,360 inferences" in out


def test_carbon_without_a_region_says_what_to_name(run, capsys):
    code, out, err = command(capsys, "carbon", run)
    assert code == 0
    assert "not known: no region was named" in out
    assert "--region" in err


def test_carbon_prints_json(run, capsys):
    code, out, _ = command(capsys, "carbon", run, "--region", "250g/kWh", "--watts", 36, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["energy"]["joules"]["value"] == pytest.approx(360 * 36)
    assert told["energy"]["kind"] == "estimated"
    assert told["carbon_g"]["value"] == pytest.approx(0.9)


def test_where_compares_places(run, capsys):
    code, out, _ = command(capsys, "where", run, "--region", "POL", "--region", "SWE")
    assert code == 0
    assert out.index("Sweden") < out.index("Poland")
    assert "16.8 x" in out
    code, out, _ = command(capsys, "where", run, "--json")
    assert len(json.loads(out)) == 50


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_statement_writes_each_format(run, capsys, form):
    code, out, _ = command(capsys, "statement", run, "--region", "DEU", "--format", form)
    assert code == 0
    assert "Adapting the network with netadapt 0.1.0" in out
    assert "ab12" in out


def test_statement_prints_json(run, capsys):
    code, out, _ = command(capsys, "statement", run, "--json")
    assert code == 0
    assert json.loads(out)["fields"]["Seed"] == "7"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--region", "SWD"], "did you mean SWE"),
        (["--region", "250"], "nor a value with a unit"),
        (["--deploy-region", "gcp:nowhere"], "gcp region"),
        (["--pue", "0.5"], "PUE of 0.5"),
        (["--pue", "nan"], "PUE of nan"),
        (["--watts", "-5"], "number of watts"),
        (["--rate", "0/s"], "above zero"),
    ],
)
@pytest.mark.parametrize("name", ["carbon", "statement"])
def test_what_cannot_be_is_one_sentence_and_exit_code_2(run, capsys, name, arguments, word):
    code, _, err = command(capsys, name, run, *arguments)
    assert code == 2
    assert word in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["carbon", "where", "statement"])
def test_a_damaged_or_foreign_folder_is_refused(tmp_path, capsys, name):
    code, _, err = command(capsys, name, tmp_path)
    assert code == 2
    assert "holds no run" in err
    (tmp_path / "journal.jsonl").write_text("not json\n{}\n")
    code, _, err = command(capsys, name, tmp_path)
    assert code == 5
    assert "damaged at line 1" in err


def test_a_torn_last_line_is_no_damage(run, capsys):
    with open(run / "journal.jsonl", "a") as file:
        file.write('{"event": "Exp')
    assert command(capsys, "carbon", run)[0] == 0

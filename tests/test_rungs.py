"""Rungs: how the candidates of an iteration are thinned out."""

from dataclasses import replace

import pytest

from netadapt.config import RUNGS, RunConfig, Rung, check, read_config
from netadapt.config.rungs import applicable, faults_of, parse_rung, trials_of
from netadapt.errors import SettingsError, UsageError
from netadapt.units import parse_budget

GOOD = {"model": "mobilenet_v1", "data": "digits", "budgets": ["60%"]}


def test_a_rung_is_written_as_candidates_and_share():
    assert parse_rung("4:10%") == Rung(4, 0.1)
    assert [str(rung) for rung in RUNGS] == ["4:10%", "2:100%"]
    assert all(parse_rung(str(rung)) == rung for rung in (*RUNGS, Rung(3, 0.125)))
    assert [Rung(4, 0.1).steps(n) for n in (500, 100, 4)] == [50, 10, 1]


@pytest.mark.parametrize("text", ["4", "4:", ":10%", "four:10%", "4:ten", "-1:10%"])
def test_what_is_no_rung_is_refused(text):
    with pytest.raises(UsageError):
        parse_rung(text)


def test_rungs_fit_the_proposals_there_are():
    assert applicable(RUNGS, 14) == {1: Rung(4, 0.1), 2: Rung(2)}
    assert applicable(RUNGS, 3) == {1: Rung(3, 0.1), 2: Rung(2)}
    assert applicable(RUNGS, 2) == {2: Rung(2)}  # the first would thin nothing out
    assert applicable(RUNGS, 1) == {2: Rung(1)}
    assert applicable((), 14) == {1: Rung(14)}  # the paper's way


def test_trials_count_all_rungs_and_the_screening():
    assert trials_of(applicable(RUNGS, 14), 14) == 14 + 4 + 2
    assert trials_of(applicable(RUNGS, 4), 4) == 4 + 2
    assert trials_of(applicable((), 14), 14) == 14
    assert trials_of(applicable((Rung(3),), 14), 14) == 14 + 3


@pytest.mark.parametrize(
    ("rungs", "fault"),
    [
        ((Rung(2, 0.1), Rung(4)), "has 4:100% after 2:10%; each rung must have no more"),
        ((Rung(4, 0.5), Rung(2, 0.1), Rung(1)), "has 2:10% after 4:50%"),
        ((Rung(4, 0.1), Rung(2, 0.5)), "ends with 2:50%; the last rung must have 100%"),
        ((Rung(0),), "has 0:100%; a rung needs a candidate"),
        ((Rung(2, 0.0), Rung(1)), "has 2:0%; a rung needs"),
        ((Rung(2, 1.5),), "has 2:150%; a rung needs"),
    ],
)
def test_rungs_out_of_order_are_a_fault(rungs, fault):
    (text,) = faults_of(rungs)
    assert text.startswith(fault)
    config = RunConfig("m", "d", (parse_budget("60%"),), rungs=rungs)
    assert [f.setting for f in check(config)] == ["rungs"]


def test_rungs_that_nobody_asked_for_suit_the_strategy():
    config = RunConfig("m", "d", (parse_budget("60%"),), strategy="several")
    assert config.ladder == (Rung(4, 0.1), Rung(1))
    assert replace(config, strategy="one_group").ladder == RUNGS
    assert replace(config, rungs=RUNGS).ladder == RUNGS
    told = RunConfig.from_json(config.result_json())
    assert told.ladder == config.ladder
    assert not list(check(replace(told, finalists=3)))


@pytest.mark.parametrize("value", ["5:20%,1:100%", ["5:20%", "1:100%"]])
def test_rungs_are_read_from_a_file_or_a_flag(value):
    config = read_config({**GOOD, "rungs": value})
    assert config.rungs == config.ladder == (Rung(5, 0.2), Rung(1))
    assert RunConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"rungs": ["4"]}, "rungs is refused: '4' is no rung"),
        ({"rungs": [4]}, "rungs is 4; it must be a text"),
        ({"rungs": 4}, "rungs is 4; it must be a list"),
        ({"rungs": []}, "rungs is empty; to fine-tune every proposal"),
        ({"rungs": ["3:100%"], "finalists": 3}, "rungs and finalists exclude each other"),
        ({"screening": "los"}, "screening is 'los'; did you mean loss?"),
        ({"screening_error": 1}, "screening_error is 1; it must be at least 0 and below 1"),
    ],
)
def test_each_fault_says_what_to_do(values, fault):
    with pytest.raises(SettingsError) as error:
        read_config({**GOOD, **values})
    assert fault in str(error.value)


@pytest.mark.parametrize("text", ["0", "0%", "0.0%"])
def test_no_chance_of_error_may_be_written_as_a_percentage(text):
    assert read_config({**GOOD, "screening_error": text}).screening_error == 0
    with pytest.raises(SettingsError, match=r"schedule.initial is .* above 0"):
        read_config({**GOOD, "schedule": {"initial": text}})


def test_beside_finalists_rungs_decide_nothing_and_are_told_as_ever():
    """So that a run that began when all strategies had the same rungs goes on."""
    config = read_config({**GOOD, "strategy": "several", "finalists": 0})
    told = config.result_json()
    assert told["rungs"] == read_config(GOOD).result_json()["rungs"]
    assert RunConfig.from_json(told) == config


def test_finalists_are_one_rung_and_none_is_the_papers_way():
    assert read_config({**GOOD, "finalists": 3}).ladder == (Rung(3),)
    assert read_config({**GOOD, "finalists": 0}).ladder == ()
    assert read_config(GOOD).ladder == RUNGS

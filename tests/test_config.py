"""The settings of a run: what decides its result, and what is wrong with them."""

import json
import math
import typing
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from netadapt.adapt import adapt
from netadapt.config import Execution, Recipe, RunConfig, Tuning, check, checked, read_config
from netadapt.config.check import RANGES
from netadapt.errors import SettingsError, UsageError
from netadapt.network import exact_alone, shrinkable
from netadapt.search.schedule import Schedule
from netadapt.tracing import trace
from netadapt.units import Budget, parse_budget

GOOD = RunConfig("mobilenet_v1", "digits", (parse_budget("60%"),))
FULL = RunConfig(
    "mypkg.nets:small",
    "photos/",
    (parse_budget("phone:12ms"), parse_budget("60%"), parse_budget("size=2MB")),
    devices={"phone": "ssh://pi@raspberrypi", "ort:cpu": "ort:cpu"},
    model_args={"width": 0.5, "stem": "cifar"},
    weights="w.pt",
    input_size=96,
    table=Path("phone.csv"),
    strategy="uniform",
    schedule=Schedule(0.1),
    tuning=Tuning(short_steps=7, recipe=Recipe(clip_norm=1.0)),
    seed=3,
    execution=Execution("cuda:1"),
)


def test_settings_survive_json():
    assert RunConfig.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL
    assert RunConfig.from_json(GOOD.to_json()) == GOOD


def test_execution_is_no_part_of_what_decides_the_result():
    elsewhere = replace(GOOD, execution=Execution("cuda"))
    assert elsewhere.result_json() == GOOD.result_json()
    assert elsewhere.to_json() != GOOD.to_json()
    assert replace(GOOD, seed=1).result_json() != GOOD.result_json()
    assert RunConfig.from_json(elsewhere.result_json()) == replace(GOOD, rungs=GOOD.chosen_rungs)


def test_budgets_are_plain_objects_in_json():
    assert FULL.result_json()["budgets"] == [
        {"resource": "latency", "value": 0.012, "share": False, "device": "phone"},
        {"resource": "latency", "value": 0.6, "share": True, "device": ""},
        {"resource": "size", "value": 2e6, "share": False, "device": ""},
    ]


@pytest.mark.parametrize("config", [GOOD, FULL])
def test_settings_without_a_fault_pass(config):
    assert check(config) == []
    assert checked(config) is config


def latency(value, *, share=False, device=""):
    return Budget("latency", value, share, device)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": ""}, "model is missing"),
        ({"budgets": ()}, "budgets is missing"),
        ({"devices": {}}, "devices is missing"),
        ({"budgets": (latency(1e-3, device="phone"),)}, "budgets[0] holds on 'phone', which is no"),
        ({"budgets": (latency(1e-3), latency(0.5, share=True))}, "budgets has 2 bounds on latency"),
        ({"budgets": (latency(math.nan),)}, "budgets[0] has the value nan"),
        ({"budgets": (latency(math.inf),)}, "budgets[0] has the value inf"),
        ({"budgets": (latency(1.5, share=True),)}, "budgets[0] has the share 1.5"),
        ({"budgets": (Budget("watts", 1.0),)}, "budgets[0] is of the unknown resource 'watts'"),
        ({"budgets": (Budget("macs", 0.5, True, "ort:cpu"),)}, "macs is the same on every device"),
        ({"devices": {"my phone": "ort:cpu"}}, "devices has the name 'my phone'"),
        ({"devices": {"phone": ""}}, "devices.phone is empty"),
        ({"input_size": 0}, "input_size is 0; it must be at least 1."),
        ({"multiple": -1}, "multiple is -1; it must be at least 0."),
        ({"finalists": -1}, "finalists is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"model_args": {"width": math.nan}}, "model_args.width is nan; it must be a finite"),
        ({"model_args": {"norm": Path("x")}}, "model_args.norm is a "),
        ({"seed": 2**63}, "seed is 9223372036854775808; it must be at least 0 and at most "
                          "9223372036854775807."),
        ({"seed": 10**400}, "seed is a whole number of 1329 bits; it must be at least 0"),
        ({"multiple": 10**400}, "multiple is a whole number of 1329 bits; it can be 1000000 at"),
        ({"limit": 10**400}, "limit is a whole number of 1329 bits; it must be of 64 bits at"),
        ({"tuning": Tuning(recipe=Recipe(lr=10**400))}, "tuning.recipe.lr is a whole number of"),
        ({"model_args": {"n": -(10**400)}}, "model_args.n is a whole number of 1329 bits; it must"),
        ({"budgets": (Budget("macs", 10**400),)}, "budgets[0] has the value a whole number of"),
        ({"weights": "a\0b.pt"}, "weights has a NUL character in it"),
        ({"tuning": Tuning(train_epochs=0)}, "tuning.train_epochs is 0; it must be above 0."),
        ({"tuning": Tuning(recipe=Recipe(lr=math.inf))}, "tuning.recipe.lr is inf"),
        ({"tuning": Tuning(short=Recipe(momentum=1.0))}, "tuning.short.momentum is 1; it must be"),
        ({"execution": Execution("gpu")}, "execution.trainer is 'gpu'; train on cpu"),
        ({"execution": Execution("cuda:x")}, "execution.trainer is 'cuda:x'"),
    ],
)  # fmt: skip
def test_each_fault_is_a_sentence(changes, fault):
    (found,) = check(replace(GOOD, **changes))
    assert fault in str(found)
    assert found.text.endswith(".")


def test_all_faults_are_told_at_once():
    bad = replace(GOOD, multiple=-8, tuning=Tuning(short_steps=0), execution=Execution("tpu"))
    with pytest.raises(SettingsError) as error:
        checked(bad)
    assert len(error.value.faults) == 3
    assert error.value.exit_code == 2
    message = str(error.value)
    assert message.startswith("3 settings are wrong.\n")
    assert all(str(fault) in message for fault in error.value.faults)


def test_every_number_has_a_range():
    inner = {
        "schedule": Schedule, "tuning": Tuning, "recipe": Recipe, "short": Recipe,
        "execution": Execution,
    }  # fmt: skip

    def numbers(kind, path=""):
        types = typing.get_type_hints(kind)
        for name, hint in types.items():
            if name in inner:
                yield from numbers(inner[name], f"{path}{name}.")
            elif {int, float} & {hint, *typing.get_args(hint)}:
                yield f"{path}{name}"

    assert set(numbers(RunConfig)) == set(RANGES)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (GOOD, "mobilenet_v1-digits-60pct"),
        (replace(GOOD, model="timm:resnet10t.c3_in1k"), "timm-resnet10t-c3_in1k-digits-60pct"),
        (FULL, "mypkg-nets-small-photos-phone-12ms+60pct+2MB-phone+ort-cpu"),
    ],
)
def test_a_run_is_named_after_what_it_does(config, name):
    assert config.run_name == name


def test_groups_whose_channels_the_others_depend_on_can_be_left_alone() -> None:
    first, second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1)
    network = trace(nn.Sequential(first, nn.GroupNorm(1, 8), second, nn.Conv2d(6, 2, 1)), (3, 8, 8))
    assert {group.id: group.exact for group in shrinkable(network)} == {"0": False, "2": True}
    exact = exact_alone(network)
    assert [group.id for group in shrinkable(exact)] == ["2"]
    assert "what others compute" in exact.groups["0"].fixed


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"input_size": "32"}, "input_size is '32'; it must be a whole number or None."),
        ({"input_size": 32.5}, "input_size is 32.5; it must be a whole number or None."),
        ({"inexact": "no"}, "inexact is 'no'; it must be True or False."),
        ({"seed": True}, "seed is True; it must be a whole number."),
        ({"budgets": "60%"}, "budgets is '60%'; it must be a tuple."),
        ({"budgets": (0.6,)}, "budgets[0] is 0.6; it must be a Budget."),
        ({"budgets": GOOD.budgets[0]}, "budgets is a Budget; it must be a tuple."),
        ({"devices": ["ort:cpu"]}, "devices is a list; it must be a mapping."),
        ({"devices": {"a": 3}}, "devices.a is 3; it must be a text."),
        ({"schedule": 0.1}, "schedule is 0.1; it must be a Schedule."),
        ({"tuning": Tuning(recipe=Recipe(lr="a"))},
         "tuning.recipe.lr is 'a'; it must be a number or None."),
        ({"execution": None}, "execution is a NoneType; it must be an Execution."),
        ({"after": "runs/a"}, "after is 'runs/a'; it must be a pathlib.Path or None."),
        ({"model_args": None}, "model_args is a NoneType; it must be a mapping."),
    ],
)  # fmt: skip
def test_a_setting_of_another_kind_is_told_before_anything_else(tmp_path, changes, told):
    with pytest.raises(SettingsError) as caught:
        adapt(replace(GOOD, **changes), tmp_path / "run")
    assert str(caught.value).strip() == told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", [None, {"model": "mobilenet_v1"}])
def test_what_are_no_settings_is_told(tmp_path, config):
    with pytest.raises(SettingsError, match="it must be a RunConfig"):
        adapt(config, tmp_path / "run")


@pytest.mark.parametrize("given", [None, 0.6, b"60%", ["60%"]])
def test_what_is_no_text_is_no_budget(given):
    with pytest.raises(UsageError, match="is no text; write it like 12ms"):
        parse_budget(given)
    with pytest.raises(SettingsError):
        read_config([given])

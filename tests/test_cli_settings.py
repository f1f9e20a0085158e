"""Flags and files of settings, as the command line puts them together."""

import subprocess
import sys
import tomllib

import click
import pytest

from netadapt.cli.adapt import adapt
from netadapt.cli.options import Part
from netadapt.cli.settings import FLAGS, resolve
from netadapt.cli.train import train
from netadapt.config import RunConfig, read_config
from netadapt.config.settings import settings
from netadapt.errors import SettingsError, UsageError
from netadapt.units import parse_budget

LEAST = {"model": "mobilenet_v1", "data": "digits", "budget": ("60%",)}


def faults(path=None, **given):
    with pytest.raises(SettingsError) as error:
        resolve(path, given)
    return [str(fault) for fault in error.value.faults]


def test_without_further_flags_there_are_the_defaults():
    assert resolve(None, LEAST) == RunConfig("mobilenet_v1", "digits", (parse_budget("60%"),))


def test_every_flag_is_an_option_and_gives_a_setting():
    options = {name for option in adapt.params for name in option.opts}
    known = {setting.path for setting in settings()}
    for flag, paths in FLAGS.items():
        assert (flag.lower() if flag == "MODEL" else flag) in options
        assert set(paths) <= known, flag
    shared = {option.name for option in train.params}
    assert {"config", "model", "data", "task", "epochs", "lr", "seed", "trainer"} <= shared


def test_flags_override_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'model = "mobilenet_v1"\ndata = "digits"\nbudgets = ["60%", "size=2MB"]\nseed = 3\n'
        "[model_args]\nwidth = 0.5\nstem = 'cifar'\n[devices]\nphone = 'ssh://pi@pi'\n"
        "[tuning.recipe]\nlr = 0.1\nmomentum = 0.8\nbf16 = true\n"
    )
    given = {
        "seed": 4, "budget": ("phone:12ms",), "on": ("phone=ort:cpu", "ort:cpu?threads=2"),
        "model_arg": (("width", 0.25),), "batch_size": 64, "bf16": False, "lr": None,
    }  # fmt: skip
    config = resolve(path, given)
    assert config.seed == 4
    assert config.budgets == (parse_budget("phone:12ms"),)
    assert config.devices == {"phone": "ort:cpu", "ort:cpu?threads=2": "ort:cpu?threads=2"}
    assert config.model_args == {"width": 0.25, "stem": "cifar"}
    recipe = config.tuning.recipe
    assert (recipe.lr, recipe.momentum, recipe.bf16, recipe.batch_size) == (0.1, 0.8, False, 64)
    assert config.tuning.short.batch_size == 64


def test_percentages_and_several_budgets_are_read():
    config = resolve(None, {**LEAST, "initial_reduction": "5%", "budget": ("12ms", "macs=50%")})
    assert config.schedule.initial == pytest.approx(0.05)
    assert config.budgets == (parse_budget("12ms"), parse_budget("macs=50%"))


@pytest.mark.parametrize(("text", "part"), [("10%", 0.1), ("100%", 1.0), ("10000", 10_000)])
def test_a_part_of_the_images_is_a_percentage_or_a_number(text, part):
    config = resolve(None, {**LEAST, "limit": Part().convert(text, None, None)})
    assert config.limit == part
    assert read_config({"model": "m", "data": "d", "budgets": ["1ms"], "limit": part}).limit == part
    assert config.result_json()["limit"] == part
    assert config.run_name == f"mobilenet_v1-digits-60pct-limit-{part:g}"


@pytest.mark.parametrize("text", ["ten", "0.5", "0%", "101%", "nan", ""])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(click.BadParameter, match="neither a number nor a percentage"):
        Part().convert(text, None, None)


def test_one_image_is_not_all_of_them():
    with pytest.raises(click.BadParameter, match="one image is too few"):
        Part().convert("1", None, None)


def test_what_a_run_is_hangs_on_the_part_of_the_images_and_not_on_who_reads_them():
    plain = resolve(None, LEAST).result_json()
    assert "limit" not in plain  # a run that was begun when there was none goes on
    assert resolve(None, {**LEAST, "data_workers": 3}).result_json() == plain
    assert faults(**LEAST, limit=-1) == ["--limit is -1; it must be above 0."]
    assert faults(**LEAST, limit=2.5) == [
        "--limit is 2.5; it must be a whole number, or a share up to 1."
    ]
    assert faults(**LEAST, data_workers=-1) == ["--data-workers is -1; it must be at least 0."]


def test_faults_of_flags_are_told_by_their_names():
    told = faults(data="digits", budget=("60%", "15"), lr=float("nan"), batch_size=1, trainer="tpu")
    assert [fault.split(" is ")[0] for fault in told] == [
        "--budget 15", "MODEL", "--lr", "--batch-size", "--trainer",
    ]  # fmt: skip


def test_faults_of_the_file_are_told_by_their_paths(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("finalist = 3\n[tuning]\nrecipe = 3\n")
    told = faults(path, lr=-1.0, budget=("60%",))
    assert [fault.split(" is ")[0] for fault in told] == [
        "finalist", "tuning.recipe", "model", "data",
    ]  # fmt: skip
    with pytest.raises(SettingsError, match=r"run\.toml: 4 settings are wrong"):
        resolve(path, {"budget": ("60%",)})


def test_two_devices_of_one_name_are_refused():
    (told,) = faults(**LEAST, on=("phone=ort:cpu", "phone=ssh://pi@pi"))
    assert told.startswith("--on has two devices of the name 'phone'")


def test_training_needs_no_budget():
    config = resolve(None, {"model": "mobilenet_v1", "data": "digits"}, budgeted=False)
    assert config.budgets == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [({"data": "digits", "task": "a:b"}, "one of --data"), ({"task": "ab"}, "package.module")],
)
def test_images_come_from_one_place(given, words):
    with pytest.raises(UsageError, match=words):
        resolve(None, {"model": "m", "budget": ("60%",), **given})


def test_init_prints_settings_that_are_the_defaults():
    command = [sys.executable, "-m", "netadapt", "init"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert read_config(tomllib.loads(text)) == resolve(None, LEAST)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"decay": float("nan")}, "--decay is nan; it must be above 0 and at most 1."),
        ({"decay": 1.5}, "--decay is 1.5; it must be above 0 and at most 1."),
        ({"initial_reduction": "20"}, '--initial-reduction is "20"; it must be a number, or a '
         "percentage above 0 and at most 100 such as '5%'."),
    ],
)  # fmt: skip
def test_a_schedule_that_cannot_be_is_told_by_its_flag_and_range(given, told):
    assert faults(**LEAST, **given) == [told]

"""Settings from TOML: what they may say, and what is told of all that is wrong."""

import re
import tomllib

import pytest

from netadapt.config import SHORT_LIMIT, RunConfig, check, load_toml, read_config, starter
from netadapt.config.settings import NOTHING, settings
from netadapt.config.starter import EXAMPLES
from netadapt.errors import SettingsError, UsageError
from netadapt.units import parse_budget

LEAST = 'model = "mobilenet_v1"\ndata = "digits"\nbudgets = ["60%"]\n'


def read(text):
    return read_config(tomllib.loads(text))


def faults(text):
    with pytest.raises(SettingsError) as error:
        read(LEAST + text)
    return [str(fault) for fault in error.value.faults]


def test_the_starter_is_the_defaults():
    assert read(starter()) == RunConfig("mobilenet_v1", "digits", (parse_budget("60%"),))


def test_the_starter_names_every_setting_with_its_meaning():
    text = starter()
    for setting in settings():
        assert setting.meaning, setting.path
        pattern = rf"^(# )?{setting.name} = |^\[{re.escape(setting.path)}\]$"
        assert re.search(pattern, text, re.MULTILINE), setting.path
    assert f"no more than {SHORT_LIMIT} steps" in text.replace("\n# ", " ")


def test_the_examples_of_the_starter_hold():
    _, _, plain = starter().partition("\n\n")
    config = read(re.sub(r"^# (\w+ = )", r"\1", plain, flags=re.MULTILINE))
    assert check(config) == []
    assert config.weights == EXAMPLES["weights"]
    assert config.model_args == EXAMPLES["model_args"]
    assert config.tuning.short.clip_norm == EXAMPLES["tuning.short.clip_norm"]
    optional = {s.path for s in settings() if s.default is None}
    assert optional <= set(EXAMPLES)


def test_what_is_left_out_has_its_default():
    config = read(LEAST + "[tuning.short]\nlr = 0.1\n")
    default = NOTHING.tuning
    assert config.tuning.short.lr == 0.1
    assert config.tuning.short.batch_size == default.short.batch_size
    assert config.tuning.recipe == default.recipe
    assert read(LEAST).tuning.short.lr == default.short.lr


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ('devices = ["ort:cpu?threads=2"]', {"ort:cpu?threads=2": "ort:cpu?threads=2"}),
        ('devices = "ort:cpu"', {"ort:cpu": "ort:cpu"}),
        ('[devices]\nphone = "ssh://pi@pi"\nhere = "ort:cpu"',
         {"phone": "ssh://pi@pi", "here": "ort:cpu"}),
    ],
)  # fmt: skip
def test_devices_are_a_list_or_have_names(text, devices):
    assert dict(read(LEAST + text).devices) == devices


def test_numbers_may_be_percentages():
    config = read(LEAST + '[schedule]\ninitial = "5%"\n[tuning.recipe]\nwarmup = "10 %"\n')
    assert config.schedule.initial == pytest.approx(0.05)
    assert config.tuning.recipe.warmup == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("finalist = 3", "finalist is no setting of the top of the settings; did you mean finali"),
        ("lr = 1", "lr is no setting of the top of the settings; it belongs to [tuning.recipe] or"),
        ("[tuning.short]\nlrr = 1", "tuning.short.lrr is no setting of the table [tuning.short]; "),
        ("[tuning]\nseed = 1", "tuning.seed is no setting of the table [tuning]; it belongs to th"),
        ("seed = 1.5", "seed is 1.5; it must be a whole number."),
        ("seed = true", "seed is true; it must be a whole number."),
        ('seed = "1"', 'seed is "1"; it must be a whole number.'),
        ("weights = 3", "weights is 3; it must be a text."),
        ('after = ""', 'after is ""; it must be the path of a file or folder.'),
        ('table = "a\\u0000"', 'table is "a\\u0000"; it must be the path of a file or folder.'),
        ('[execution]\ntrial_limit_s = "50%"',
         'execution.trial_limit_s is "50%"; it must be a number of seconds.'),
        ("table = 3", "table is 3; it must be the path of a file or folder."),
        ("schedule = 3", "schedule is 3; it must be a table."),
        ("model_args = 3", "model_args is 3; it must be a table."),
        ("devices = 3", "devices is 3; it must be a list of URIs"),
        ("devices = [3]", "devices is 3; it must be a URI."),
        ("devices = []", "devices is missing"),
        ("[tuning.recipe]\naugment = 1", "tuning.recipe.augment is 1; it must be true or false."),
        ('[tuning.recipe]\nlr = "fast"', 'tuning.recipe.lr is "fast"; it must be a number, or a'),
        ('[schedule]\ninitial = "5ms"', 'schedule.initial is "5ms"; it must be a number, or a'),
        ("[tuning.short]\nlr = nan", "tuning.short.lr is nan; it must be above 0."),
        ("[model_args]\nwidth = inf", "model_args.width is inf; it must be a finite number."),
        ('[execution]\ntrainer = "tpu"', "execution.trainer is 'tpu'; train on cpu"),
    ],
)  # fmt: skip
def test_each_fault_has_the_path_of_its_key(text, fault):
    (found,) = faults(text)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("budgets", "fault"),
    [
        ("[]", "budgets is missing"),
        ("3", "budgets is 3; it must be a list"),
        ("[3]", "budgets[0] is 3; it must be a text"),
        ('["60%", "15"]', "budgets[1] is refused: Budget '15' has no unit"),
        ('["12 parsecs"]', "budgets[0] is refused: Budget '12 parsecs' has the unknown unit"),
        ('["phone:60%"]', "budgets[0] holds on 'phone', which is no device of this run"),
        ('["60%", "12ms"]', "budgets has 2 bounds on latency; give one."),
    ],
)
def test_each_fault_of_a_budget_has_its_place_in_the_list(budgets, fault):
    with pytest.raises(SettingsError) as error:
        read(f'model = "m"\ndata = "d"\nbudgets = {budgets}\n')
    assert str(error.value).startswith(fault)


def test_all_faults_of_a_file_are_told_at_once():
    text = (
        'modle = "m"\nbudgets = ["60", "1 fs"]\nfinalists = -3\n'
        "[schedule]\ndecay = 2.0\n[tuning]\nrecipe = 3\nshort_steps = 0\n"
    )
    with pytest.raises(SettingsError, match=r"run\.toml: 9 settings are wrong") as error:
        read_config(tomllib.loads(text), "run.toml")
    assert [fault.setting for fault in error.value.faults] == [
        "modle", "budgets[0]", "budgets[1]", "schedule.decay", "tuning.recipe",
        "model", "data", "finalists", "tuning.short_steps",
    ]  # fmt: skip


def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("model = mobilenet\n")
    with pytest.raises(UsageError, match=r"run\.toml are not TOML: .*line 1"):
        load_toml(path)
    with pytest.raises(UsageError, match="No such file"):
        load_toml(tmp_path / "other.toml")

"""The user's own code in the place of a name of ours, and what is told when it fails."""

import sys

import pytest

from netadapt.cli import main
from netadapt.errors import UnknownName, UsageError
from netadapt.platforms import open_platform
from netadapt.platforms.synthetic import open_synthetic
from netadapt.plugins import accepted, lookup, user_callable
from netadapt.search.strategies import STRATEGIES

CODE = """\
import json

def fine(a, b=2):
    return a + b

class Made:
    def __init__(self, size):
        self.size = size

def broken(text):
    return json.loads(text)

def platform(block="8"):
    from netadapt.platforms.synthetic import open_synthetic
    return open_synthetic("", {"block": block})

def no_platform():
    return {}

number = 3
"""


@pytest.fixture(autouse=True)
def own_code(tmp_path, monkeypatch):
    """Modules that nobody but the user has."""
    (tmp_path / "own_code.py").write_text(CODE)
    (tmp_path / "own_raises.py").write_text("x = 1\nraise ValueError('boom')\n")
    (tmp_path / "own_syntax.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "own_needs.py").write_text("\n\nimport not_installed_at_all\n")
    (tmp_path / "own_exits.py").write_text("import sys\nsys.exit(1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield
    for name in [n for n in sys.modules if n.startswith("own_")]:
        del sys.modules[name]


def test_a_name_is_ours_or_the_users_own():
    assert lookup("strategy", "uniform", STRATEGIES) is STRATEGIES["uniform"]
    assert lookup("strategy", "own_code:fine", STRATEGIES)(1) == 3
    with pytest.raises(UnknownName, match=r"did you mean uniform\? .*package.module:callable"):
        lookup("strategy", "unifrom", STRATEGIES)


def test_arguments_reach_functions_and_classes():
    assert user_callable("own_code:Made", what="thing")(size=4).size == 4
    fine = user_callable("own_code:fine", what="thing")
    assert accepted(fine, a=1, c=3) == {"a": 1}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("own_codd:fine", "No module named 'own_codd'; check its spelling"),
        ("own_code:fein", "no attribute 'fein'; check its spelling"),
        ("own_code:number", "is a int, not a callable"),
        ("own_code:", "must be written package.module:callable"),
        ("own_raises:f", r"own_raises\.py, line 2: ValueError: boom; mend it there"),
        ("own_syntax:f", r"own_syntax\.py, line 2: SyntaxError"),
        ("own_needs:f", r"own_needs\.py, line 3: ModuleNotFoundError: No module named 'not_inst"),
        ("own_exits:f", r"own_exits\.py, line 2: SystemExit: 1"),
    ],
)
def test_what_cannot_be_imported_is_told_with_its_place(reference, words):
    with pytest.raises(UsageError, match=words):
        user_callable(reference, what="strategy")


def test_what_fails_when_called_is_told_with_the_users_line():
    broken = user_callable("own_code:broken", what="strategy")
    with pytest.raises(UsageError, match=r"broken' failed: .*own_code\.py, line 11: JSON"):
        broken("{")
    with pytest.raises(TypeError):  # never entered: the caller knows what did not fit
        broken()


def test_a_platform_may_be_the_users_own():
    platform = open_platform("own_code:platform?block=16")
    assert platform.describe() == open_synthetic("", {"block": "16"}).describe()
    with pytest.raises(UnknownName, match="did you mean block"):
        open_platform("own_code:platform?blocks=16")
    with pytest.raises(UsageError, match="gave a dict, which lacks uri, resources, describe"):
        open_platform("own_code:no_platform")
    with pytest.raises(UnknownName, match="did you mean ort"):
        open_platform("orc:cpu")


def test_code_that_raises_ends_the_command_line_in_one_sentence(capfd):
    with pytest.raises(SystemExit) as left:
        main(["measure", "mobilenet_v1", "--on", "own_raises:f"])
    assert left.value.code == 2
    said = capfd.readouterr().err
    assert said.startswith("Error: The platform 'own_raises:f' cannot be imported: ")
    assert "own_raises.py, line 2" in said
    assert said.count("\n") == 1

"""The names that a user may rely on."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import netadapt

EXPECTED = {
    "adapt", "load", "load_toml", "open_platform", "parse_budget", "read_config", "shrink", "trace",
    "Budget", "Cost", "Execution", "LayerTimer", "LookupTable", "Measurement", "Modelled",
    "Network", "Platform", "Proposal", "Recipe", "Result", "RunConfig", "Schedule", "Strategy",
    "Task", "Tuning",
    "NetAdaptError", "BudgetUnreachable", "CheckFailed", "DataError", "DeviceError", "ModelError",
    "RunError", "SettingsChanged", "SettingsError", "TableError", "TrainingError", "UnknownName",
    "UsageError",
    "__version__",
}  # fmt: skip


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_these_names_are_public_and_no_others():
    assert set(netadapt.__all__) == EXPECTED == set(dir(netadapt))


@pytest.mark.parametrize("name", sorted(EXPECTED - {"__version__"}))
def test_every_public_name_is_there_and_explained(name):
    value = getattr(netadapt, name)
    assert not inspect.ismodule(value)
    assert name == "Strategy" or inspect.getdoc(value)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(netadapt.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"netadapt.{home}" for name, home in netadapt._HOME.items()}
    assert Path(netadapt.__file__).with_name("py.typed").exists()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'shrinkk'"):
        netadapt.shrinkk  # noqa: B018
    assert not hasattr(netadapt, "_private")


def test_importing_netadapt_loads_nothing_large():
    run(
        "import sys, netadapt\n"
        "netadapt.RunConfig, netadapt.Budget, netadapt.read_config, netadapt.NetAdaptError\n"
        "heavy = {'torch', 'pandas', 'numpy', 'onnx', 'onnxruntime', 'sklearn', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )


ORDERS = """
import netadapt; f = netadapt.adapt; from netadapt.adapt import adapt; assert f is adapt
from netadapt.adapt import adapt; import netadapt; assert netadapt.adapt is adapt
from netadapt import adapt; from netadapt.adapt import Result; assert adapt.__name__
"""


def test_adapt_is_the_function_in_whatever_order_things_are_imported():
    """Each order meets a netadapt that was not imported yet."""
    run(
        "import sys, torch\n"
        f"for order in {ORDERS.strip().splitlines()}:\n"
        "    for name in [n for n in sys.modules if n.partition('.')[0] == 'netadapt']:\n"
        "        del sys.modules[name]\n"
        "    exec(order, {})"
    )


def test_the_example_of_the_readme_uses_public_names():
    readme = Path(netadapt.__file__).parent.parent / "README.md"
    _, _, rest = readme.read_text().partition("## From Python\n\n```python\n")
    names = {
        node.attr
        for node in ast.walk(ast.parse(rest.partition("```")[0]))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "netadapt"
    }
    assert {"adapt", "RunConfig", "parse_budget"} <= names <= EXPECTED

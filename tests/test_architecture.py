"""The import rule of the house, and what the command line may load before it is told to work."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import netadapt

ROOT = Path(netadapt.__file__).parent

# The rooms of the house, from the street to the attic: a module imports from its own line or from
# lines above it. The longest name that fits a module counts.
ROOMS = [
    ["errors", "units"],
    ["files", "plugins", "signatures", "provenance", "ranks"],
    ["network"],
    ["platforms", "platforms.measurement", "platforms.link", "platforms.ort", "platforms.bench"],
    ["tables"],
    ["platforms.replay", "platforms.synthetic", "platforms.ssh"],
    ["search.schedule"],
    ["config"],
    ["runs"],
    ["carbon", "search"],
    ["report", "testing"],
    ["compare", "inherit"],
    ["tracing"],
    ["pruning"],
    ["models", "data"],
    ["training"],
    ["export"],
    ["assembly", "workers"],
    ["space", "long_training", "workbench"],
    ["adapt", "train", "measure", "table", "inspect", "doctor", "export_run"],
    ["dry_run"],
    ["cli", "__main__"],
]
TORCH_MAY_BE_IMPORTED_FROM = "tracing"
LINE_LIMIT = 400
FUNCTION_LIMIT = 60
PARAMETER_LIMIT = 6


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def rank(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for number, rooms in enumerate(ROOMS):
            if ".".join(parts[:length]) in rooms:
                return number
    raise AssertionError(f"netadapt.{name} belongs to no room of the house; give it one")


def top_level_imports(path):
    """Modules imported when the file is imported; not those inside functions or TYPE_CHECKING."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, p in modules() if n])
def test_imports_point_one_way(name, path):
    known = {module for module, _ in modules()}
    for imported in top_level_imports(path):
        target = imported.removeprefix("netadapt.")
        if imported.startswith("netadapt.") and target in known:
            assert rank(target) <= rank(name), f"{name} imports {target}"


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, p in modules() if n])
def test_above_the_line_neither_torch_nor_pandas_is_imported(name, path):
    if rank(name) < rank(TORCH_MAY_BE_IMPORTED_FROM) or name.split(".")[0] == "cli":
        heavy = {i.split(".")[0] for i in top_level_imports(path)} & {"torch", "pandas"}
        assert not heavy


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_modules_stay_readable(name, path):
    assert len(path.read_text().splitlines()) <= LINE_LIMIT


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_functions_stay_near_a_screen(name, path):
    for node in functions(path):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        if body:
            lines = body[-1].end_lineno - body[0].lineno + 1
            assert lines <= FUNCTION_LIMIT, f"{name}.{node.name} has {lines} lines"


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_functions_take_few_parameters(name, path):
    """But for commands, and for rules of tracing, which take what the torch function takes."""
    for node in functions(path):
        arguments = node.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        own = [n for n in names if n not in ("self", "cls")]
        rule = name.startswith("tracing.") and own[:1] == ["call"]
        if not rule and not name.startswith("cli."):
            assert len(own) <= PARAMETER_LIMIT, f"{name}.{node.name} takes {len(own)}: {own}"


HEAVY = {
    "torch", "torchvision", "pandas", "numpy", "onnx", "onnxruntime", "sklearn", "PIL", "rich",
    "cattrs", "safetensors", "filelock",
}  # fmt: skip


def test_help_loads_nothing_that_is_large():
    code = (
        "import sys, netadapt.cli\n"
        "for words in [[], ['adapt'], ['table', 'build'], ['carbon'], ['inspect'], ['init']]:\n"
        "    try: netadapt.cli.main([*words, '--help'])\n"
        "    except SystemExit as e: assert e.code == 0\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

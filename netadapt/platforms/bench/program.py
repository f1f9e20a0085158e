"""The modules of this package as one file that runs alone, here and on any device.

Each module stands in it word for word and becomes a module of a package ``bench`` again when the
file runs, whether that is read from a disk or, over a connection, from standard input.
"""

from importlib import resources

MODULES = (
    "host", "sessions", "kernels", "timer", "rounds",
    "sensors", "powercap", "hwmon", "nvml", "powermetrics", "zeus", "energy", "main",
)  # fmt: skip
"""What travels; each imports from those before it alone."""

_HEAD = '''"""Time ONNX models with ONNX Runtime.

Run it as: python bench.py < plan.jsonl > results.jsonl
It needs Python 3.8, numpy and onnxruntime. What it reads and writes is told in bench.main below.
"""

import sys
import types


def module(name, source):
    made = types.ModuleType("bench." + name)
    made.__package__ = "bench"
    sys.modules[made.__name__] = made
    setattr(sys.modules["bench"], name, made)
    exec(compile(source, "bench/" + name + ".py", "exec"), made.__dict__)


sys.modules["bench"] = types.ModuleType("bench")
sys.modules["bench"].__path__ = []
'''
_MODULE = "\nmodule({name!r}, r'''{source}''')\n"
_TAIL = '\nsys.modules["bench.main"].run()\n'


def program() -> bytes:
    """The file.

    Raises:
        ValueError: a module holds what a literal in the file could not.
    """
    folder = resources.files(__package__)
    parts = [_HEAD]
    for name in MODULES:
        source = folder.joinpath(f"{name}.py").read_text(encoding="utf-8")
        if "'''" in source:
            raise ValueError(f"bench/{name}.py may not contain three single quotes in a row")
        parts.append(_MODULE.format(name=name, source=source))
    return "".join([*parts, _TAIL]).encode()

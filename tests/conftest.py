"""Tests run side by side on few cores: one thread each, or they wait for each other's."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import io
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path

import pytest
import torch

from netadapt.cli import main
from tests.command import MODEL, TINY

pytest.register_assert_rewrite("netadapt.testing")

torch.set_num_threads(1)


LISTS = {
    "torch.onnx._internal.exporter._registration": ("ONNXRegistry", "from_torchlib"),
    "torch._export.utils": ("_materialize_cpp_cia_ops",),
}


@pytest.fixture(scope="session", autouse=True)
def _one_list_for_all_exports() -> Iterator[None]:
    """Torch's exporters list all functions of ONNX and all operators of torch anew for each model.

    They have no public way to keep the lists; where a private one moved, exports are only slower.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module, (*outer, name) in LISTS.items():
            with suppress(ImportError, AttributeError):
                home = functools.reduce(getattr, outer, import_module(module))
                once = functools.cache(getattr(home, name))
                patch.setattr(home, name, staticmethod(once) if outer else once)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished run, for tests that leave it as it is; and what it printed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit) as stop:
        main(["adapt", MODEL, *TINY, "--budget", "70%", "--run", str(folder), "--json"])
    assert stop.value.code == 0
    return folder, out.getvalue()

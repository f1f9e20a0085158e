"""Tests run side by side on few cores: one thread each, or they wait for each other's."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

import pytest
import torch

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

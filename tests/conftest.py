"""Tests run side by side on few cores: one thread each, or they wait for each other's."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
from collections.abc import Iterator
from importlib import import_module

import pytest
import torch

pytest.register_assert_rewrite("netadapt.testing")

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _one_registry_for_all_exports() -> Iterator[None]:
    """Torch's ONNX exporter lists its thousand functions anew each time, which takes the longest.

    It has no public way to keep the list; where the private one moved, exports are only slower.
    """
    with pytest.MonkeyPatch.context() as patch:
        try:
            registry = import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
            once = functools.cache(registry.from_torchlib)
            patch.setattr(registry, "from_torchlib", staticmethod(once))
        except (ImportError, AttributeError):
            pass
        yield

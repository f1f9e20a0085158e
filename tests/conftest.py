"""Tests run side by side on few cores: one thread each, or they wait for each other's."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

pytest.register_assert_rewrite("netadapt.testing")

torch.set_num_threads(1)

"""A user's own code that goes wrong: one sentence with their line, before anything is measured."""

import json
import sys

import pytest

from netadapt import plugins
from netadapt.cli import main

NETS = """\
import sys
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes=10):
        super().__init__(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(32, num_classes))

class Raises(Net):
    def forward(self, x):
        raise KeyError("boom")

class Exits(Net):
    def forward(self, x):
        sys.exit()

class Frozen(Net):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)

class Prints(Net):
    def forward(self, x):
        print("noise on stdout")
        return super().forward(x)

def exits():
    sys.exit(0)

def nothing():
    return None
"""
TASKS = """\
import sys
from dataclasses import dataclass, replace
import torch
from netadapt import data

DIGITS = {}

@dataclass
class Gives:
    batch: object
    size: int = 30

    def __len__(self):
        return self.size

    def batches(self, batch_size, *, seed=0, epoch=0, shuffle=False, augment=False):
        yield from self.batch(batch_size)

    def fingerprint(self):
        return "x"

class Short(list):
    def __len__(self):
        return super().__len__() + 10

def changed(**parts):
    return replace(data.load("digits", input_size=8), **parts)

def images(n):
    return torch.rand(n, 3, 8, 8)

def fails(*_):
    raise RuntimeError("my loss")

def leaves(*_):
    sys.exit(0)

def plain(): return changed()
def loss_raises(): return changed(loss=fails)
def loss_exits(): return changed(loss=leaves)
def loss_float(): return changed(loss=lambda out, y: 1.0)
def loss_vector(): return changed(loss=lambda out, y: out.mean(1))
def loss_nan(): return changed(loss=lambda out, y: out.mean() * float("nan"))
def loss_detached(): return changed(loss=lambda out, y: out.detach().mean())
def loss_nan_gradient(): return changed(loss=lambda out, y: (out * 0).sqrt().mean())
def metric_raises(): return changed(metric=fails)
def metric_exits(): return changed(metric=leaves)
def metric_none(): return changed(metric=lambda pairs: None)
def metric_percent(): return changed(metric=lambda pairs: 87.5)
def no_batch(): return changed(holdout=Gives(lambda n: ()))
def no_pair(): return changed(test=Gives(lambda n: [images(n)]))
def too_short():
    pairs = [(image, 0) for image in images(20)]
    return changed(test=data.DatasetSplit(Short(pairs), workers=0))
def empty(): return changed(holdout=Gives(lambda n: (), 0))
def batch_raises(): return changed(test=Gives(fails))
def nan_images():
    return changed(train=Gives(lambda n: [(images(n) * float("inf"), torch.zeros(n).long())]))
def wrong_class(): return changed(train=Gives(lambda n: [(images(n), torch.full((n,), 12))]))
def no_task(): return {"train": 1}
def metric_nan(): return changed(metric=lambda pairs: float("nan"))
"""


@pytest.fixture(autouse=True)
def own_code(tmp_path, monkeypatch):
    """Modules that nobody but the user has."""
    (tmp_path / "hostile_nets.py").write_text(NETS)
    (tmp_path / "hostile_tasks.py").write_text(TASKS)
    (tmp_path / "hostile_hangs.py").write_text("import time\ntime.sleep(600)\n")
    (tmp_path / "hostile_code.py").write_text(
        "import sys\ndef exits(*_):\n    sys.exit()\ndef raises(*_):\n    return {}['gone']\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    for name in [n for n in sys.modules if n.startswith("hostile_")]:
        del sys.modules[name]


def ended(capfd, *words):
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capfd.readouterr()
    return end.value.code, out, err


def adapted(capfd, net="hostile_nets:Net", task="hostile_tasks:plain", *more):
    words = ("adapt", net, "--task", task, "--budget", "98%", "--on", "synthetic:", "--run", "run")
    return ended(capfd, *words, "--epochs", "1", *more)


def net_line(text):
    return f"hostile_nets.py, line {NETS[: NETS.index(text)].count(chr(10)) + 1}: "


def task_line(text):
    return f"hostile_tasks.py, line {TASKS[: TASKS.index(text)].count(chr(10)) + 1}: "


@pytest.mark.parametrize(
    ("net", "words"),
    [
        ("Raises", net_line("raise KeyError") + "KeyError: 'boom'"),
        ("Exits", net_line("sys.exit()") + "SystemExit"),
        ("exits", net_line("sys.exit(0)") + "SystemExit: 0"),
        ("nothing", "gave a NoneType; it must return a torch.nn.Module"),
        ("Frozen", "has no gradient"),
    ],
)
def test_a_model_that_fails_is_told_before_there_is_a_run(capfd, tmp_path, net, words):
    code, out, err = adapted(capfd, f"hostile_nets:{net}")
    assert (code, out) == (2, ""), err
    assert words in err
    assert err.count("\n") == 1, err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("loss_raises", task_line('raise RuntimeError("my loss")') + "RuntimeError: my loss"),
        ("loss_exits", task_line("sys.exit(0)") + "SystemExit: 0"),
        ("loss_float", "gave float; it must give a tensor of one number"),
        ("loss_vector", "gave shape [8]"),
        ("loss_nan", "is nan on the first training batch"),
        ("loss_detached", "has no gradient"),
        ("loss_nan_gradient", "has gradients that are NaN"),
        ("metric_raises", task_line('raise RuntimeError("my loss")')),
        ("metric_exits", task_line("sys.exit(0)")),
        ("metric_none", "gave None; it must give one number"),
        ("metric_percent", "is 87.5, and is said to be a share of 1"),
        ("no_batch", "The holdout split of task 'digits' gave no batch of 8 examples, of 30"),
        ("no_pair", "The test split of task 'digits' gave a Tensor as a batch"),
        (
            "too_short",
            "The test split of task 'digits' says that it has 30 examples, and has none at 29",
        ),
        ("empty", "The holdout split of task 'digits' is empty"),
        ("batch_raises", task_line('raise RuntimeError("my loss")')),
        ("nan_images", "has inputs that are NaN or infinite"),
        ("wrong_class", "The loss of task 'digits' failed: IndexError: Target 12 is out of bounds"),
        ("no_task", "gave a dict; it must return a netadapt.data.Task"),
    ],
)
def test_a_task_that_fails_is_told_before_there_is_a_run(capfd, tmp_path, task, words):
    code, out, err = adapted(capfd, task=f"hostile_tasks:{task}")
    assert (code, out) == (2, ""), err
    assert words in err
    assert err.count("\n") == 1, err
    assert not (tmp_path / "run").exists()


def test_training_alone_is_rehearsed_too_and_writes_nothing(capfd, tmp_path):
    code, _, err = ended(
        capfd, "train", "hostile_nets:Net", "--task", "hostile_tasks:metric_raises", "-o", "w.pt"
    )
    assert code == 2, err
    assert "hostile_tasks.py, line" in err
    assert not list(tmp_path.glob("w.pt*"))


def test_a_metric_that_is_no_number_on_a_whole_split_is_no_result(capfd):
    code, _, err = ended(
        capfd, "train", "hostile_nets:Net", "--task", "hostile_tasks:metric_nan", "-o", "w.pt",
        "--epochs", "0.1",
    )  # fmt: skip
    assert code == 2, err
    assert "is nan; it must be a finite number" in err


@pytest.mark.parametrize(("name", "line"), [("exits", 3), ("raises", 5)])
def test_an_importance_that_fails_is_told_before_there_is_a_run(capfd, tmp_path, name, line):
    code, _, err = adapted(capfd, *["hostile_nets:Net", "hostile_tasks:plain"], "--importance",
                           f"hostile_code:{name}")  # fmt: skip
    assert code == 2, err
    assert f"hostile_code.py, line {line}: " in err
    assert not (tmp_path / "run").exists()


def test_a_strategy_that_exits_does_not_end_in_success(capfd):
    code, _, err = adapted(
        capfd,
        "hostile_nets:Net",
        "hostile_tasks:plain",
        "--strategy",
        "hostile_code:exits",
        "--budget",
        "macs=98%",
    )
    assert code == 2, err
    assert "The strategy 'hostile_code:exits' failed: " in err
    assert "hostile_code.py, line 3: SystemExit" in err


def test_an_import_that_hangs_is_given_up_with_its_line(capfd, monkeypatch):
    monkeypatch.setattr(plugins, "IMPORT_LIMIT_S", 0.2)
    code, _, err = adapted(capfd, "hostile_hangs:net")
    assert code == 2, err
    assert "hostile_hangs.py, line 2: TimeoutError: it hangs" in err


def test_what_own_code_prints_does_not_mix_with_json(capfd):
    code, out, err = ended(
        capfd,
        "measure",
        "hostile_nets:Prints",
        "--on",
        "synthetic:",
        "--input-size",
        "16",
        "--json",
    )
    assert code == 0
    assert json.loads(out)["models"]
    assert "noise on stdout" in err

"""Several processes train one network together: the steps, and the result, are those of one."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from netadapt.data import DatasetSplit, FileSplit, View, skipped
from netadapt.data.batches import Share
from netadapt.data.splits import ArraySplit, Pixels
from netadapt.errors import UsageError
from netadapt.ranks import ALONE, Rank
from netadapt.training.team import SOLO, Team
from tests import teamwork


@given(st.integers(0, 300), st.integers(1, 9))
def test_shares_follow_each_other_and_are_nearly_equal(images, size):
    rows = [Share(number, size).rows(images) for number in range(size)]
    assert [i for own in rows for i in range(images)[own]] == list(range(images))
    lengths = [own.stop - own.start for own in rows]
    assert max(lengths) - min(lengths) <= 1


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """One of each kind."""
    folder, random = tmp_path_factory.mktemp("images"), torch.Generator().manual_seed(0)
    images = torch.randint(256, (23, 3, 12, 12), generator=random, dtype=torch.uint8)
    paths = [folder / f"{number}.png" for number in range(23)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    targets = torch.arange(23)
    return {
        "array": ArraySplit(images, targets, Pixels(pad=2)),
        "files": FileSplit(paths, targets, 12, Pixels(pad=2), workers=0),
        "parts of files": FileSplit(paths, targets, 8, view=View(parts=True), workers=0),
        "data set": DatasetSplit(list(zip(images, targets.tolist(), strict=True)), workers=0),
    }


@pytest.mark.parametrize("kind", ["array", "files", "parts of files", "data set"])
@pytest.mark.parametrize("begun", [0, 2])
def test_the_shares_of_a_batch_together_are_the_batch(splits, kind, begun):
    def batches():
        return skipped(splits[kind].batches(7, seed=3, epoch=1, shuffle=True, augment=True), begun)

    shares = [Team(Rank(number, 3)).shares(batches(), 7) for number in range(3)]
    together = list(zip(*shares, strict=True))
    whole = list(SOLO.shares(batches(), 7))
    assert len(together) == len(whole) == 3 - begun
    for parts, (count, (inputs, targets)) in zip(together, whole, strict=True):
        assert {images for images, _ in parts} == {count} == {7}
        assert [len(own) for _, (_, own) in parts] == [2, 2, 3]
        assert torch.equal(torch.cat([own for _, (own, _) in parts]), inputs)
        assert torch.equal(torch.cat([own for _, (_, own) in parts]), targets)


def test_a_function_that_augments_meets_each_share_with_other_numbers():
    def drawn(inputs, targets, random):
        return inputs + torch.rand(len(inputs), generator=random), targets

    split = DatasetSplit([(torch.zeros(()), 0)] * 8, augment=drawn, workers=0)
    passes = [split.batches(8, augment=True).shared(Share(number, 2)) for number in (0, 1, 1)]
    first, second, again = (next(batches)[0] for batches in passes)
    assert not torch.equal(first, second)
    assert torch.equal(second, again)


def test_the_environment_says_which_process_it_is():
    assert Rank.from_environment({}) == ALONE
    assert Rank.from_environment({"WORLD_SIZE": "1", "RANK": "0"}) == ALONE
    assert Rank.from_environment({"WORLD_SIZE": "4"}) == ALONE  # of a cluster, not of a training
    told = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}
    assert Rank.from_environment(told) == Rank(3, 4, 1)
    for wrong in ({"RANK": "4"}, {"RANK": "-1"}, {"RANK": "x"}, {"LOCAL_RANK": "4"},
                  {"WORLD_SIZE": "many"}):  # fmt: skip
        with pytest.raises(UsageError, match="start them with torchrun"):
            Rank.from_environment({**told, **wrong})


def test_every_process_needs_two_images_of_a_step():
    SOLO.check(1)
    Team(Rank(0, 4)).check(8)
    with pytest.raises(UsageError, match="A step of 7 images cannot be shared by 4 processes"):
        Team(Rank(0, 4)).check(7)


def environment(**values):
    """That of this process, with nothing that is told to one of several."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TORCH")}
    return {**ours, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in values.items()}}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one process and two come to, each in its own folder of results; and what was told."""
    folder = tmp_path_factory.mktemp("team")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one = teamwork.work(folder, SOLO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    team = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.teamwork", str(folder)],
            env=environment(RANK=n, LOCAL_RANK=n, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1",
                            MASTER_PORT=port),
            stderr=subprocess.PIPE, text=True,
        )
        for n in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[1] for process in team]
    assert [process.returncode for process in team] == [0, 0], said
    one["continued"] = teamwork.continued(folder, SOLO)
    torch.set_num_threads(threads)
    two = {name: load_file(folder / f"{name}-0.safetensors") for name in one}
    other = {name: load_file(folder / f"{name}-1.safetensors") for name in one}
    return one, two, other, [(folder / f"told-{n}").read_text() for n in range(2)]


def close(one, two):
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [*teamwork.RECIPES, "foreign"])
def test_two_processes_train_to_the_weights_of_one(results, recipe):
    one, two, other, _ = results
    close(one[recipe], two[recipe])
    assert all(torch.equal(two[recipe][name], other[recipe][name]) for name in two[recipe])
    start = teamwork.built(teamwork.Plain)
    assert not torch.allclose(one[recipe]["head.weight"], start.head.weight, atol=1e-3)
    assert torch.equal(two[recipe]["idle.weight"], start.idle.weight)


@pytest.mark.slow
def test_two_processes_cut_off_end_with_the_same_bits(results):
    _, two, other, _ = results
    assert two["odd"].keys() == two["odd, continued"].keys()
    for name, value in two["odd"].items():
        assert torch.equal(two["odd, continued"][name], value), name
        if name.endswith(("weight", "bias", "losses")):  # statistics are those of the first
            assert torch.equal(other["odd"][name], value), name
    assert not torch.equal(two["odd"]["norm.running_mean"], torch.zeros(3))


@pytest.mark.slow
def test_any_number_of_processes_goes_on_from_a_checkpoint(results):
    one, two, _, _ = results
    close(one["all"], one["continued"])  # which two began
    close(one["all"], two["continued"])  # which one began


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused_by_all(results):
    assert set(results[3]) == {
        "A step of 3 images cannot be shared by 2 processes, which need 2 each; take larger "
        "batches, or fewer processes."
    }


LAUNCHED = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "netadapt"]  # fmt: skip
TRAIN = ["train", "mobilenet_v1", "-a", "width=0.25", "--input-size", "16", "--data", "digits"]


def ours(said: str) -> list[str]:
    """The lines that are not torchrun's own."""
    begins = ("Error:", "Interrupted.", "Internal error", "top-1 accuracy")
    return [line for line in said.splitlines() if line.startswith(begins)]


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_with_one_sentence_and_the_command_goes_on(tmp_path):
    out = tmp_path / "w.safetensors"
    words = [*TRAIN, "--epochs", "3", "--checkpoint-every", "0.01s", "-o", str(out)]
    keeper = subprocess.Popen([*LAUNCHED, *words], env=environment(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    partial, until = tmp_path / "w.safetensors.partial", time.monotonic() + 120
    while not partial.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert keeper.poll() is None
    os.kill(second_of(keeper.pid), signal.SIGKILL)
    said, _ = keeper.communicate(timeout=120)
    assert keeper.returncode != 0
    (line,) = ours(said)
    assert "from the last checkpoint" in line  # that the other has gone, or torchrun's signal
    assert partial.exists()
    assert not out.exists()
    done = subprocess.run([sys.executable, "-m", "netadapt", *words], env=environment(),
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(ours(done.stdout)) == 1
    assert load_file(out)
    assert not partial.exists()


def second_of(keeper: int) -> int:
    """The process of rank 1."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            told = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == keeper and b"RANK=1" in told:
            return int(path.name)
    raise AssertionError("there is no second process")


@pytest.mark.slow
def test_an_interrupt_and_bad_use_are_told_once(tmp_path):
    out = tmp_path / "w.safetensors"
    words = [*TRAIN, "--checkpoint-every", "0.01s", "-o", str(out)]
    keeper = subprocess.Popen([*LAUNCHED, *words], env=environment(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    until = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    keeper.send_signal(signal.SIGTERM)
    said, _ = keeper.communicate(timeout=120)
    assert ours(said) == [
        "Interrupted. The same command continues from the last checkpoint, if there was one yet."
    ]
    out.write_text("theirs")
    done = subprocess.run([*LAUNCHED, *words], env=environment(), text=True,
                          capture_output=True, timeout=120)  # fmt: skip
    assert done.returncode != 0
    (line,) = ours(done.stderr)
    assert "is there already and is a file of another kind" in line
    assert out.read_text() == "theirs"


def test_a_command_that_cannot_be_shared_is_told_so_by_the_first_process_alone(tmp_path):
    team = [
        subprocess.Popen(
            [sys.executable, "-m", "netadapt", "adapt", "mobilenet_v1", "--data", "digits",
             "--budget", "60%", "--run", str(tmp_path / "run")],
            env=environment(RANK=n, LOCAL_RANK=n, WORLD_SIZE=2), text=True, stderr=subprocess.PIPE,
        )
        for n in range(2)
    ]  # fmt: skip
    first, second = (process.communicate(timeout=60)[1] for process in team)
    assert [process.returncode for process in team] == [2, 2]
    assert first.startswith("Error: netadapt adapt works in one process, and 2 were started")
    assert second == ""
    assert not list(tmp_path.iterdir())

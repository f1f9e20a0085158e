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

from netadapt.cli import main, voice
from netadapt.cli.voice import GRACE_S, speaks, spoken_once
from netadapt.data import DatasetSplit, FileSplit, View, skipped
from netadapt.data.batches import Share
from netadapt.data.splits import ArraySplit, Pixels
from netadapt.errors import UsageError, WorkerError
from netadapt.ranks import ALONE, Rank
from netadapt.training.team import SOLO, Team
from tests import teamwork
from tests.children import Child


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


def meeting():
    """What torchrun would tell each of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [environment(RANK=n, LOCAL_RANK=n, **both) for n in range(2)]


def started(folder, *words):
    """Two processes of one training, and what each says in a folder of its own."""
    team = []
    for number, told in enumerate(meeting()):
        (folder / f"said-{number}").mkdir()
        team.append(Child(folder / f"said-{number}", [str(word) for word in words], told))
    return team


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one process and two come to, each in its own folder of results; and what was told."""
    folder = tmp_path_factory.mktemp("team")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one = teamwork.work(folder, SOLO)
    ended = [child.ended() for child in started(folder, "tests.teamwork", folder)]
    assert [code for code, _, _ in ended] == [0, 0], ended
    one["continued"] = teamwork.continued(folder, SOLO)
    torch.set_num_threads(threads)
    two = {name: load_file(folder / f"{name}-0.safetensors") for name in one}
    other = {name: load_file(folder / f"{name}-1.safetensors") for name in one}
    told = [(folder / f"{name}-{n}").read_text() for name in ("told", "differing") for n in (0, 1)]
    return one, two, other, told


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
    assert set(results[3][:2]) == {
        "A step of 3 images cannot be shared by 2 processes, which need 2 each; take larger "
        "batches, or fewer processes."
    }


@pytest.mark.slow
def test_processes_with_other_settings_are_refused_by_all(results):
    (said,) = set(results[3][2:])
    assert said.startswith("Process 1 of 2 has other settings or another number of images")


@pytest.mark.parametrize(("number", "heard"), [(None, "said"), ("0", "said"), ("1", "")])
def test_the_first_process_alone_is_heard(capsys, number, heard):
    with spoken_once({} if number is None else {"RANK": number}):
        print("said")
        print("said", file=sys.stderr)
    assert [text.strip() for text in capsys.readouterr()] == [heard, heard]


def test_who_only_saw_others_end_lets_them_say_why(monkeypatch):
    waited = []
    monkeypatch.setattr(voice.time, "sleep", waited.append)
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert speaks(UsageError("a reason"))
    assert not waited
    assert speaks(WorkerError("others have ended"))
    assert waited == [GRACE_S]


TRAIN = ["train", "mobilenet_v1", "-a", "width=0.25", "--input-size", "16", "--data", "digits",
         "--epochs", "2", "--checkpoint-every", "0.01s", "-o"]  # fmt: skip


def ours(said: str) -> list[str]:
    """The lines that are not torch's own."""
    begins = ("Error:", "Interrupted.", "Internal error", "top-1 accuracy")
    return [line for line in said.splitlines() if line.startswith(begins)]


def wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_with_one_sentence_and_the_command_goes_on(
    tmp_path, capsys
):
    out, partial = tmp_path / "w.safetensors", tmp_path / "w.safetensors.partial"
    first, second = started(tmp_path, "netadapt", *TRAIN, out)
    wait_for(partial)
    second.process.kill()
    code, _, said = first.ended()
    assert second.ended()[0] == -signal.SIGKILL
    assert code == WorkerError.exit_code
    assert ours(said) == [
        "Error: Another process of this training has ended before its time, and so do all; the "
        "same command goes on from the last checkpoint, if there was one yet."
    ]
    assert partial.exists()
    assert not out.exists()
    with pytest.raises(SystemExit) as end:
        main([*TRAIN, str(out)])
    assert end.value.code == 0
    assert len(ours(capsys.readouterr().out)) == 1
    assert load_file(out)
    assert not partial.exists()


@pytest.mark.slow
def test_bad_use_is_told_by_the_first_process_alone(tmp_path):
    out = tmp_path / "w.safetensors"
    out.write_text("theirs")
    ended = [child.ended() for child in started(tmp_path, "netadapt", *TRAIN, out)]
    assert all(code > 0 for code, _, _ in ended)
    first, second = (said for _, _, said in ended)
    (line,) = ours(first)
    assert "is there already and is a file of another kind" in line
    assert ours(second) == []
    assert out.read_text() == "theirs"


@pytest.mark.slow
def test_torchrun_trains_and_an_interrupt_is_told_once(tmp_path):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    keeper = subprocess.Popen(
        [sys.executable, *launch, "-m", "netadapt", *TRAIN, str(tmp_path / "w.safetensors")],
        env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_for(tmp_path / "w.safetensors.partial")
    keeper.send_signal(signal.SIGTERM)
    said, _ = keeper.communicate(timeout=120)
    assert ours(said) == [
        "Interrupted. The same command continues from the last checkpoint, if there was one yet."
    ]


def test_a_command_that_cannot_be_shared_is_told_so_by_the_first_process_alone(tmp_path):
    words = ["adapt", "mobilenet_v1", "--data", "digits", "--budget", "60%"]
    command = [sys.executable, "-m", "netadapt", *words, "--run", tmp_path / "run"]
    team = [
        subprocess.Popen(command, env=told, stderr=subprocess.PIPE, text=True) for told in meeting()
    ]
    first, second = (process.communicate(timeout=60)[1] for process in team)
    assert [process.returncode for process in team] == [2, 2]
    assert first.startswith("Error: netadapt adapt works in one process, and 2 were started")
    assert second == ""
    assert not list(tmp_path.iterdir())

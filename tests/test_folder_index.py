"""A folder of images is looked through once; every later change to it is noticed all the same."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netadapt import data
from netadapt.data import cache, folder, folder_task, index, repeats
from netadapt.data.cache import cache_folder, read_arrays, read_bytes, write_arrays, write_bytes
from netadapt.data.file_split import FileSplit
from netadapt.data.images import suffixes
from netadapt.data.splits import Pixels
from netadapt.errors import DataError, NetAdaptError
from tests.children import CONTEXT


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """Where indexes are kept, of the smallest and newest folders too."""
    monkeypatch.setenv("NETADAPT_CACHE", str(tmp_path / "cache"))
    for module in (index, folder_task):
        monkeypatch.setattr(module, "FEWEST", 0)
        monkeypatch.setattr(module, "SETTLED_NS", 0)
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path) -> Path:
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for number in range(6):
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / part / name / f"{number}.png")
    return tmp_path / "set"


def never(*_: object) -> None:
    raise AssertionError("it was looked at again")


def told(root: Path) -> tuple[object, ...]:
    """All there is to know of a task, images included."""
    task = data.load(str(root))
    batches = [batch for name in ("train", "holdout", "test")
               for batch in task.batches(name, batch_size=4)]  # fmt: skip
    return task.describe(), [inputs.tolist() for inputs, _ in batches]


def test_a_second_start_neither_looks_at_the_files_nor_decodes_them(root, kept, monkeypatch):
    first = told(root)
    monkeypatch.setattr(index, "scan", never)
    monkeypatch.setattr(folder_task, "decode_all", never)
    assert told(root) == first


def test_what_was_remarked_once_is_remarked_at_every_start(root, kept, monkeypatch, caplog):
    (root / "train" / "list.csv").write_text("")
    data.load(str(root))
    caplog.clear()
    monkeypatch.setattr(index, "scan", never)
    data.load(str(root))
    assert "1 file(s) are no images of a class and left out (.csv), such as list.csv" in caplog.text


def add(root: Path) -> None:
    shutil.copy(root / "train" / "a" / "0.png", root / "train" / "b" / "new.png")


def add_deeper(root: Path) -> None:
    (root / "train" / "b" / "deeper" / "still").mkdir(parents=True)
    shutil.copy(root / "train" / "a" / "0.png", root / "train" / "b" / "deeper" / "still" / "x.png")


def remove(root: Path) -> None:
    (root / "test" / "a" / "3.png").unlink()


def rename(root: Path) -> None:
    (root / "test" / "a" / "3.png").rename(root / "test" / "a" / "9.png")


def rewrite(root: Path) -> None:
    """As many bytes, in the same file, said to be as old as before."""
    path = root / "train" / "b" / "2.png"
    before, content = path.stat(), bytearray(path.read_bytes())
    other = (root / "train" / "b" / "3.png").read_bytes()
    path.write_bytes(other.ljust(len(content), b"\0")[: len(content)])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def add_class(root: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(root / part / "a", root / part / "c")


@pytest.mark.parametrize("change", [add, add_deeper, remove, rename, rewrite, add_class])
def test_a_change_of_the_folder_is_noticed(root, kept, monkeypatch, change):
    told(root)
    change(root)
    known = told(root)
    monkeypatch.setenv("NETADAPT_CACHE", "")
    assert known == told(root)


def test_a_pipe_that_came_since_is_never_opened(root, kept):
    told(root)
    os.mkfifo(root / "train" / "a" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png is no file but a pipe, socket or device"):
        data.load(str(root))


def test_damaged_and_foreign_files_of_the_cache_are_made_anew(root, kept):
    first = told(root)
    for path in sorted(kept.iterdir()):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for content in (b"", whole[:-1], whole[: len(whole) // 2], b"PK\x03\x04", bytes(flipped)):
            path.write_bytes(content)
            assert told(root) == first
    for path in sorted(kept.iterdir()):
        path.unlink()
        path.mkdir()
    assert told(root) == first


def test_an_index_of_another_folder_is_not_taken(root, kept, tmp_path):
    first = told(root)
    shutil.copytree(root, tmp_path / "other")
    (tmp_path / "other" / "train" / "a" / "0.png").unlink()
    told(tmp_path / "other")
    ours = {path: path.read_bytes() for path in kept.glob("*index*")}
    for path, content in zip(ours, reversed(ours.values()), strict=True):
        path.write_bytes(content)
    assert told(root) == first


def test_without_a_place_for_the_cache_all_works(root, kept, tmp_path, monkeypatch):
    first = told(root)
    (tmp_path / "file").write_text("")
    for place in ("", str(tmp_path / "file"), str(tmp_path / "file" / "below"), "/dev/null"):
        monkeypatch.setenv("NETADAPT_CACHE", place)
        assert told(root) == first
    assert (tmp_path / "file").read_text() == ""


def test_what_changed_a_moment_ago_is_not_kept(root, kept, monkeypatch):
    for module in (index, folder_task):
        monkeypatch.setattr(module, "SETTLED_NS", 3600 * 10**9)
    told(root)
    assert not kept.exists()


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("NETADAPT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/mine")
    assert cache_folder() == Path("/var/mine/netadapt")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard says to ignore
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache_folder() == Path("/home/me/.cache/netadapt")
    monkeypatch.setenv("NETADAPT_CACHE", "here")
    assert cache_folder() == Path("here")
    monkeypatch.setenv("NETADAPT_CACHE", "")
    assert cache_folder() is None


def test_what_was_not_used_for_longest_goes_first_and_only_what_is_ours(kept, monkeypatch):
    kept.mkdir()
    (kept / "mine.npy").write_bytes(bytes(5000))
    old = kept / "netadapt-abc.part"
    old.write_bytes(bytes(10))
    os.utime(old, (1, 1))
    contents = [np.full(1000, number, np.uint8) for number in range(3)]
    monkeypatch.setattr(cache, "LIMIT_BYTES", 2 * (1000 + 128))  # numpy's header has 128 bytes
    for number, content in enumerate(contents):
        write_bytes(f"decoded-{number}", content)
        for path in kept.glob(f"netadapt-decoded-{number}-*"):
            os.utime(path, (10 + number, 10 + number))
        if number == 1:
            assert read_bytes("decoded-0", (1000,)) is not None  # used just now
    there = [read_bytes(f"decoded-{number}", (1000,)) for number in range(3)]
    assert there[1] is None
    assert there[0] is not None
    assert there[2] is not None
    assert there[2].tolist() == contents[2].tolist()
    assert read_bytes("decoded-2", (999,)) is None
    assert (kept / "mine.npy").stat().st_size == 5000
    assert not old.exists()


def test_arrays_come_back_as_they_were(kept):
    write_arrays("index-x", {"a": np.arange(5), "b": np.frombuffer(b"text", np.uint8)})
    read = read_arrays("index-x")
    assert read is not None
    assert read["a"].tolist() == [0, 1, 2, 3, 4]
    assert read["b"].tobytes() == b"text"
    assert read_arrays("index-y") is None


def test_files_are_told_in_few_bytes_and_read_as_paths(root):
    folder = index.scan(root / "train", suffixes())
    files = folder.files
    expected = [root / "train" / name / f"{number}.png" for name in "ab" for number in range(6)]
    assert list(files) == expected
    assert files.names == b"".join(f"{p.parent.name}/{p.name}".encode() for p in expected)
    assert folder.labels.tolist() == [0] * 6 + [1] * 6
    some = files.taken(np.array([11, 0]))
    assert list(some) == [expected[11], expected[0]]
    assert list(some[1:]) == [expected[0]]
    assert some.size(0) == expected[11].stat().st_size
    assert files.digest != some.digest


def test_the_fingerprint_is_of_class_name_and_size_however_the_files_are_listed(root):
    files = index.scan(root / "train", suffixes()).files.taken(np.array([2, 7]))
    targets = torch.tensor([0, 1])
    lines = f"0/2.png/{files[0].stat().st_size}\n1/1.png/{files[1].stat().st_size}\n"
    expected = hashlib.sha256(f"8{Pixels()}{lines}".encode()).hexdigest()
    assert FileSplit(files, targets, 8).fingerprint() == expected
    assert FileSplit(tuple(files), targets, 8).fingerprint() == expected


def test_a_name_that_is_no_text_is_a_file_like_any_other(root, kept):
    path = os.fsencode(root / "train" / "a") + b"/\xff.png"
    shutil.move(root / "train" / "a" / "0.png", path)
    first = told(root)
    assert first == told(root)
    assert first[0]["images"] == {"train": 11, "holdout": 1, "test": 12}


def test_a_link_in_a_circle_and_what_goes_while_it_is_looked_at_are_told(root, kept, monkeypatch):
    link = root / "train" / "a" / "circle"
    link.symlink_to("circle")
    with pytest.raises(DataError, match=r"circle: Too many levels of symbolic links"):
        data.load(str(root))
    link.unlink()

    def gone(path: Path, entries=folder._entries):
        for entry in entries(path):
            if entry.name == "3.png":
                os.unlink(entry.path)
            yield entry

    monkeypatch.setattr(folder, "_entries", lambda path: list(gone(path)))
    with pytest.raises(DataError, match=r"3\.png is no file|3\.png: No such file"):
        data.load(str(root))


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "/" + "a" * 300])
def test_a_name_of_any_length_is_no_folder(name):
    with pytest.raises(NetAdaptError, match="There is no"):
        data.load(name)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "images.tar").write_bytes(bytes(1024))
    with pytest.raises(DataError, match=r"images\.tar is a file; expected is a folder"):
        data.load(str(tmp_path / "images.tar"))


@pytest.mark.parametrize("where", ["a" * 300, "a/" * 3000])
def test_a_cache_that_can_be_nowhere_is_none(root, kept, monkeypatch, where):
    first = told(root)
    monkeypatch.setenv("NETADAPT_CACHE", str(root / where))
    assert told(root) == first


def test_what_others_put_into_the_cache_stays_and_keeps_nothing_from_going(kept, monkeypatch):
    kept.mkdir()
    (kept / "netadapt-thesis.npy").write_bytes(bytes(5000))
    (kept / "netadapt-index-link.npz").symlink_to("nowhere")
    (kept / "netadapt-index-folder.npz").mkdir()
    monkeypatch.setattr(cache, "LIMIT_BYTES", 2 * (1000 + 128))
    for number in range(4):
        write_bytes(f"decoded-{number}", np.full(1000, number, np.uint8))
    ours = sorted(path.name for path in kept.glob("netadapt-decoded-*"))
    assert len(ours) == 2
    assert (kept / "netadapt-thesis.npy").stat().st_size == 5000
    assert (kept / "netadapt-index-folder.npz").is_dir()


def test_pairs_of_files_that_are_not_there_are_found_anew(root, kept, monkeypatch):
    monkeypatch.setattr(repeats, "FEWEST", 0)
    monkeypatch.setattr(repeats, "SETTLED_NS", 0)
    shutil.copy2(root / "train" / "a" / "4.png", root / "test" / "b" / "1.png")
    splits = []
    for part in ("train", "test"):
        found = index.scan(root / part, suffixes())
        splits.append(FileSplit(found.files, torch.from_numpy(found.labels), 8))
    assert repeats.repeated(*splits) == [(4, 7)]
    (stored,) = kept.glob("netadapt-repeats-*.npz")
    name = stored.stem.removeprefix("netadapt-")
    for pairs in ([[0, 99]], [[-1, 0]], [[0.0, 1.0]], [[0]]):
        write_arrays(name, {"pairs": np.array(pairs)})
        assert repeats.repeated(*splits) == [(4, 7)]


def look(root, kept, told):
    """In a process that does not inherit what a fixture set."""
    os.environ["NETADAPT_CACHE"] = str(kept)
    for module in (index, folder_task):
        module.FEWEST = module.SETTLED_NS = 0
    told.write_text(data.load(str(root)).describe()["fingerprint"])


def test_two_processes_that_look_at_one_folder_at_once_see_the_same(root, kept, tmp_path):
    saying = [tmp_path / "first", tmp_path / "second"]
    looking = [CONTEXT.Process(target=look, args=(root, kept, path)) for path in saying]
    for process in looking:
        process.start()
    for process in looking:
        process.join()
    assert [process.exitcode for process in looking] == [0, 0]
    told_by = [path.read_text() for path in saying]
    assert told_by == [data.load(str(root)).describe()["fingerprint"]] * 2
    assert not list(kept.glob("*.part"))

"""Image files and folders from the field: read right, or refused in one true sentence."""

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from netadapt import data
from netadapt.data import folder_task
from netadapt.data.division import stratified
from netadapt.data.file_split import FileSplit
from netadapt.data.images import decode
from netadapt.data.repeats import repeated
from netadapt.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
"""Every value of 8 bits once."""


def read(image: Image.Image, path: Path) -> np.ndarray:
    image.save(path)
    return decode(path, image.size[0])


def grey(values: np.ndarray) -> list[list[list[int]]]:
    """As it is to be read: the same in all three colours."""
    return np.repeat(values[:, :, None], 3, axis=2).tolist()


def pgm(values: np.ndarray, path: Path, top: int) -> np.ndarray:
    head = f"P5\n{values.shape[1]} {values.shape[0]}\n{top}\n".encode()
    path.write_bytes(head + values.astype(">u2").tobytes())
    return decode(path, len(values))


def test_sixteen_bits_keep_their_eight_most_significant_ones(tmp_path):
    deep = RAMP.astype(np.uint16) * 257  # 255 * 257 == 65535
    assert read(Image.fromarray(deep), tmp_path / "a.png").tolist() == grey(RAMP)
    assert read(Image.fromarray(deep), tmp_path / "a.tif").tolist() == grey(RAMP)
    assert read(Image.fromarray(deep.astype(np.int32)), tmp_path / "b.tif").tolist() == grey(RAMP)
    assert pgm(deep, tmp_path / "a.pgm", 65535).tolist() == grey(RAMP)
    swapped = Image.frombytes("I;16B", (16, 16), deep.astype(">u2").tobytes())
    assert read(swapped, tmp_path / "c.tif").tolist() == grey(RAMP)


def test_a_format_that_states_its_range_is_believed(tmp_path):
    assert pgm(RAMP.astype(np.uint16), tmp_path / "a.pgm", 1020).max() == 64  # 255 / 1020 * 255
    dark = Image.fromarray(RAMP.astype(np.uint16))
    assert read(dark, tmp_path / "a.png").max() == 1  # 255 / 257


def test_floating_point_values_from_0_to_1_are_read(tmp_path):
    image = Image.fromarray(RAMP.astype(np.float32) / 255)
    assert read(image, tmp_path / "a.tif").tolist() == grey(RAMP)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (RAMP.astype(np.float32), "floating point values go from 0 to 255"),
        (RAMP.astype(np.float32) / 255 - 0.5, "from -0.5 to 0.5"),
        (np.full((4, 4), np.nan, np.float32), "from nan to nan"),
        (RAMP.astype(np.int32) * 2**20, "integer values go from 0 to 2.67"),
        (RAMP.astype(np.int32) - 9, "integer values go from -9"),
        (RAMP.astype(np.int32), "no value above 255"),
    ],
)
def test_values_of_unknown_range_are_refused(tmp_path, values, says):
    with pytest.raises(DataError, match=says) as caught:
        read(Image.fromarray(values), tmp_path / "a.tif")
    assert str(caught.value).startswith(f"Image {tmp_path / 'a.tif'} cannot be read: it")


def test_other_modes_have_the_colours_that_were_saved(tmp_path):
    orange = (255, 128, 0)
    assert read(Image.new("1", (2, 2), 1), tmp_path / "a.png").tolist() == [[[255] * 3] * 2] * 2
    assert read(Image.new("LA", (2, 2), (9, 0)), tmp_path / "b.png")[0, 0].tolist() == [9] * 3
    assert read(Image.new("RGBA", (2, 2), (*orange, 0)), tmp_path / "c.png")[0, 0].tolist() == [
        *orange
    ]
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([1, 2, 3, *orange])
    palette.save(tmp_path / "d.png", transparency=bytes([0, 255]))
    assert decode(tmp_path / "d.png", 2)[1, 1].tolist() == [*orange]
    inks = Image.new("CMYK", (2, 2), (0, 127, 255, 0))  # inks are what the light lacks
    assert read(inks, tmp_path / "e.tif")[0, 0].tolist() == [*orange]


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (7, 7)), (6, (0, 7)), (8, (7, 0))]
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_pictures_are_turned_upright(tmp_path, orientation, corner, suffix):
    """Orientation 6 is that of a camera turned left: its first row is the right side."""
    image = Image.new("RGB", (8, 8))
    image.paste((255, 255, 255), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    pixels = decode(tmp_path / f"a.{suffix}", 8)[:, :, 0]
    assert pixels[corner] > 200
    assert (pixels > 128).sum() == 16


def test_a_damaged_exif_block_turns_nothing(tmp_path):
    image = Image.new("RGB", (8, 8), (9, 9, 9))
    image.save(tmp_path / "a.png", exif=b"Exif\x00\x00nonsense")
    assert decode(tmp_path / "a.png", 8).tolist() == [[[9, 9, 9]] * 8] * 8


def enormous(path: Path) -> None:
    """A PNG of a few bytes that says it has 400 million pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(
        b"IEND", b""))  # fmt: skip


def test_files_that_are_no_images_are_told_for_what_they_are(tmp_path):
    path = tmp_path / "a.png"
    for content, says in [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<html>", "it is a web page"),
        (b"nothing", "it is damaged, or no image"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=says):
            decode(path, 8)
    enormous(path)
    with pytest.raises(DataError, match="more than 178 million pixels"):
        decode(path, 8)
    with pytest.raises(DataError, match="a folder"):
        decode(tmp_path, 8)


def plain(root: Path, classes: tuple[str, ...] = ("a", "b"), count: int = 6) -> Path:
    """No image is like another: random, but the same each time."""
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    return root


def test_what_systems_leave_beside_images_is_not_data(tmp_path, caplog):
    root = plain(tmp_path)
    for folder in (root, root / "train", root / "train" / "a", root / "test" / "b"):
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".thumbnails/deeper"):
            (folder / name).mkdir(parents=True)
            shutil.copy(root / "train" / "a" / "0.png", folder / name / "0-checkpoint.png")
        for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"\0")
    assert data.load(str(root)).describe()["images"] == {"train": 11, "holdout": 1, "test": 12}
    assert data.load(str(root)).class_names == ("a", "b")
    assert not caplog.records


def test_a_data_set_inside_a_hidden_folder_is_read(tmp_path):
    assert len(data.load(str(plain(tmp_path / ".cache" / "set"))).test) == 12


def test_suffixes_may_be_written_in_upper_case(tmp_path):
    root = plain(tmp_path)
    (root / "train" / "a" / "0.png").rename(root / "train" / "a" / "0.PNG")
    assert len(data.load(str(root)).train) == 11


def test_files_that_are_no_images_are_told(tmp_path, caplog):
    root = plain(tmp_path)
    (root / "train" / "a" / "photo.heic").write_bytes(b"?")
    (root / "train" / "list.csv").write_text("")
    data.load(str(root))
    assert "2 file(s) are no images of a class and left out (.csv, .heic)" in caplog.text


def test_classes_one_level_too_deep_are_told(tmp_path, caplog):
    root = plain(tmp_path / "set")
    with pytest.raises(DataError, match=r"set has a train/: give that folder"):
        data.load(str(tmp_path))
    (root / "deeper").mkdir()
    (root / "train").rename(root / "deeper" / "images")
    (root / "deeper").rename(root / "train")
    with pytest.raises(DataError, match=r"images holds folders itself \(a, b\)"):
        data.load(str(root))
    (root / "train" / "images" / "a").rename(root / "train" / "a")
    (root / "train" / "images" / "b").rename(root / "train" / "images" / "left")
    (root / "train" / "images").rename(root / "train" / "b")
    assert len(data.load(str(root)).train) == 11
    assert "folders inside class folders, such as b/left, count as of their class" in caplog.text


def test_a_class_without_a_readable_image_is_told_with_what_is_there(tmp_path):
    root = plain(tmp_path)
    for path in (root / "train" / "a").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"train/a has no images; .*not \.heic"):
        data.load(str(root))


def test_pipes_and_links_to_nothing_do_not_hang(tmp_path):
    root = plain(tmp_path)
    os.mkfifo(root / "train" / "a" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png is no file but a pipe, socket or device"):
        data.load(str(root))
    with pytest.raises(DataError, match="no regular file"):
        decode(root / "train" / "a" / "pipe.png", 8)
    (root / "train" / "a" / "pipe.png").unlink()
    (root / "train" / "a" / "link.png").symlink_to(root / "nowhere.png")
    with pytest.raises(DataError, match=r"link\.png is no file but a link to nothing"):
        data.load(str(root))


def test_linked_folders_are_read_once(tmp_path):
    root = plain(tmp_path)
    (root / "train" / "a").rename(tmp_path / "elsewhere")
    (root / "train" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "elsewhere")
    assert data.load(str(root)).describe()["images"]["train"] == 11


@pytest.mark.parametrize("limit_bytes", [0, 10**9])
def test_a_class_of_one_image_is_learned_from(tmp_path, monkeypatch, limit_bytes):
    root = plain(tmp_path, count=20)
    monkeypatch.setattr(folder_task, "DECODED_LIMIT_BYTES", limit_bytes)
    for number in range(4):
        for part in ("train", "test"):
            (root / part / f"rare{number}").mkdir()
            shutil.copy(root / part / "a" / f"{number}.png", root / part / f"rare{number}")
    task = data.load(str(root))
    assert torch.bincount(task.train.targets).tolist() == [18, 18, 1, 1, 1, 1]
    assert len(task.holdout) == 4


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.data())
def test_a_holdout_of_any_size_leaves_an_image_of_each_class(counts, draw):
    labels = torch.tensor([label for label, count in enumerate(counts) for _ in range(count)])
    most = len(labels) - len(counts)
    if most:
        wanted = draw.draw(st.integers(1, most))
        first, second = stratified(labels, wanted, seed=0)
        assert len(second) == wanted
        assert set(labels[first].tolist()) == set(range(len(counts)))
        assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(labels)))
    with pytest.raises(DataError, match="nothing to learn from"):
        stratified(labels, most + 1, seed=0)


@pytest.mark.parametrize("limit_bytes", [0, 10**9])
def test_images_that_are_in_two_splits_are_told(tmp_path, monkeypatch, caplog, limit_bytes):
    root = plain(tmp_path)
    monkeypatch.setattr(folder_task, "DECODED_LIMIT_BYTES", limit_bytes)
    data.load(str(root))
    assert not caplog.records
    shutil.copy(root / "train" / "a" / "3.png", root / "test" / "a" / "copy.png")
    data.load(str(root), holdout=1)
    assert "1 of 13 test images are training images too, such as" in caplog.text
    assert str(root / "test" / "a" / "copy.png") in caplog.text


def test_files_are_the_same_if_all_their_bytes_are(tmp_path):
    end = bytes(5000)
    contents = [b"a" + end, b"b" + end, b"a" + end, b"c", b"d" + end + b"e", b"a" + end]
    files = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    targets = torch.zeros(3, dtype=torch.long)
    known, others = FileSplit(tuple(files[:3]), targets, 8), FileSplit(tuple(files[3:]), targets, 8)
    assert repeated(known, others) == [(0, 2)]
    assert repeated(known, known) == [(0, 0), (1, 1), (0, 2)]

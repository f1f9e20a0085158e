import json
import math
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netadapt import data
from netadapt.data import folder_task
from netadapt.data.division import limited, stratified
from netadapt.data.file_split import FileSplit, decode_all
from netadapt.data.splits import ArraySplit, DatasetSplit, Pixels
from netadapt.errors import DataError, UnknownName


@pytest.fixture(scope="module")
def digits() -> data.Task:
    return data.load("digits")


def test_digits_are_real_images_in_disjoint_splits(digits):
    images = torch.cat([digits.train.images, digits.holdout.images, digits.test.images])
    assert images.shape == (1797, 3, 32, 32)
    assert images.dtype == torch.uint8
    # scikit-learn's digits are 1797 different images, so disjoint splits share none.
    assert len(torch.unique(images, dim=0)) == 1797
    assert digits.describe()["images"] == {"train": 1078, "holdout": 360, "test": 359}
    for split in (digits.train, digits.holdout, digits.test):
        counts = torch.bincount(split.targets, minlength=10) / len(split)
        assert counts.min() > 0.085  # each class has about a tenth
        assert counts.max() < 0.115


def test_normalized_digits_have_mean_zero_and_deviation_one(digits):
    inputs = torch.cat([x for x, _ in digits.batches("train", batch_size=500)])
    assert inputs.mean().abs() < 0.02
    assert abs(inputs.std() - 1) < 0.02


def test_the_seed_changes_the_holdout_and_never_the_test(digits):
    other = data.load("digits", seed=1, holdout=100)
    assert len(other.holdout) == 100
    assert len(other.train) == 1338
    assert torch.equal(other.test.images, digits.test.images)
    assert not torch.equal(other.holdout.images, digits.holdout.images[:100])


def test_the_description_is_json_and_changes_with_the_data(digits):
    described = json.loads(json.dumps(digits.describe()))
    assert described == data.load("digits").describe()
    assert described["fingerprint"] != data.load("digits", seed=1).describe()["fingerprint"]
    assert described["fingerprint"] != data.load("digits", input_size=16).describe()["fingerprint"]


@pytest.mark.parametrize("part", [math.nan, math.inf, 0, -1, 1797])
def test_a_part_that_cannot_be_is_refused(part):
    with pytest.raises(DataError, match="A holdout of"):
        stratified(torch.tensor([0, 1] * 10), part, seed=0)
    if not part > 0:
        with pytest.raises(DataError, match="A limit of"):
            limited(torch.tensor([0, 1] * 10), part, seed=0, what="photos")


def test_stratified_divides_each_class_alike_and_adds_up():
    labels = torch.tensor([0] * 10 + [1] * 5 + [2] * 5)
    first, second = stratified(labels, 4, seed=0)
    assert torch.bincount(labels[second]).tolist() == [2, 1, 1]
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(20))
    # A tenth of 20 is 2: one of the class of 10, and half an image of each other; one gets it.
    assert torch.bincount(labels[stratified(labels, 0.1, seed=0)[1]]).tolist()[0] == 1
    assert torch.equal(stratified(labels, 4, seed=3)[1], stratified(labels, 4, seed=3)[1])


@pytest.mark.parametrize("part", [0, -1, 20, 21, 0.99])
def test_a_holdout_that_leaves_nothing_is_refused(part):
    with pytest.raises(DataError, match="nothing to learn from"):
        stratified(torch.zeros(20, dtype=torch.int64), part, seed=0)


def numbered(count: int, *, pixels: Pixels | None = None) -> ArraySplit:
    """Images whose every pixel is their number, which is also their target."""
    numbers = torch.arange(count)
    images = numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    plain = Pixels(mean=(0, 0, 0), std=(1 / 255,) * 3, pad=2)
    return ArraySplit(images.contiguous(), numbers, pixels or plain)


def test_batches_in_order_are_whole_and_exact():
    batches = list(numbered(10).batches(4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    inputs = torch.cat([x for x, _ in batches])
    assert torch.allclose(inputs[:, 0, 0, 0], torch.arange(10.0))


def test_shuffled_batches_are_full_seeded_and_differ_by_epoch():
    split = numbered(10)

    def targets(**arguments: int) -> list[int]:
        parts = [y for _, y in split.batches(4, shuffle=True, augment=True, **arguments)]
        return torch.cat(parts).tolist()

    assert len(targets(seed=1)) == len(set(targets(seed=1))) == 8
    assert targets(seed=1) == targets(seed=1)
    assert targets(seed=1) != targets(seed=2)
    assert targets(seed=1) != targets(seed=1, epoch=1)
    assert len(list(split.batches(64, shuffle=True))) == 1  # the only batch is kept


def test_augmentation_moves_each_image_and_mirrors_half():
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    image[..., 4, 2] = 255
    split = ArraySplit(
        image.expand(200, -1, -1, -1), torch.zeros(200), Pixels((0.0,), (1.0,), pad=2, flip=True)
    )
    inputs, _ = next(iter(split.batches(200, augment=True)))
    assert inputs.shape == (200, 1, 8, 8)
    places = {tuple(p) for p in torch.nonzero(inputs[:, 0])[:, 1:].tolist()}
    # A dot at (4, 2), or mirrored at (4, 5), moved by up to 2 in both directions.
    columns = set(range(5)) | set(range(3, 8))
    assert places == {(row, column) for row in range(2, 7) for column in columns}
    again, _ = next(iter(split.batches(200, augment=True)))
    assert torch.equal(inputs, again)


def write_folder(root: Path, *, classes: int = 2, count: int = 10, test: str = "test") -> Path:
    """Each image is of one colour: its class in the red channel, its number in the green one."""
    for part in ("train", test):
        for label in range(classes):
            (root / part / f"class{label}").mkdir(parents=True)
            for number in range(count):
                color = (label * 100, number * 10, 200 if part == "train" else 0)
                image = Image.new("RGB", (20, 16), color)
                image.save(root / part / f"class{label}" / f"{number:02d}.png")
    return root


def test_a_folder_is_a_task(tmp_path):
    root = write_folder(tmp_path, test="val")
    (root / "train" / "class0" / "notes.txt").write_text("not an image")
    (root / "train" / ".cache").mkdir()
    task = data.load(str(root), holdout=4)
    assert task.class_names == ("class0", "class1")
    assert task.input_shape == (3, 16, 16)  # the shorter side
    assert task.describe()["images"] == {"train": 16, "holdout": 4, "test": 20}
    for split, blue in ((task.train, 200), (task.holdout, 200), (task.test, 0)):
        assert torch.equal(split.images[:, 0, 0, 0], (split.targets * 100).to(torch.uint8))
        assert set(split.images[:, 2].flatten().tolist()) == {blue}
    assert torch.bincount(task.holdout.targets).tolist() == [2, 2]
    assert data.load(str(root), input_size=8).input_shape == (3, 8, 8)


def test_a_folder_too_large_for_memory_is_decoded_batch_by_batch(tmp_path, monkeypatch):
    root = str(write_folder(tmp_path))
    cached = data.load(root)
    monkeypatch.setattr(folder_task, "DECODED_LIMIT_BYTES", 1000)
    lazy = data.load(root)
    assert isinstance(lazy.train, FileSplit)
    arguments = {"batch_size": 4, "seed": 3, "shuffle": True, "augment": True}
    pairs = zip(
        cached.batches("train", **arguments), lazy.batches("train", **arguments), strict=True
    )
    for (x, y), (lazy_x, lazy_y) in pairs:
        assert torch.equal(x, lazy_x)
        assert torch.equal(y, lazy_y)
    before = lazy.describe()
    assert before == data.load(root).describe()
    Image.new("RGB", (30, 30)).save(tmp_path / "test" / "class0" / "00.png")
    assert before["fingerprint"] != data.load(root).describe()["fingerprint"]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "I;16"])
def test_images_of_any_mode_become_rgb(tmp_path, mode):
    grey = np.full((4, 4), 128, np.uint8)
    image = Image.fromarray(grey)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 256)
    elif mode != "L":
        image = image.convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path)
    pixels = decode_all([path], 4)
    assert pixels.shape == (1, 3, 4, 4)
    if mode != "1":  # which dithers
        assert (pixels.int() - 128).abs().max() <= 1


def test_folders_that_cannot_be_learned_from(tmp_path):
    with pytest.raises(DataError, match="has no folder train"):
        data.load(str(tmp_path))
    write_folder(tmp_path / "one", classes=1)
    with pytest.raises(DataError, match="has 1 class folders; at least two"):
        data.load(str(tmp_path / "one"))
    root = write_folder(tmp_path / "two")
    (root / "test" / "class9").mkdir()
    with pytest.raises(DataError, match="class9 has no images"):
        data.load(str(root))
    (root / "test" / "class1").rename(tmp_path / "away")
    Image.new("RGB", (8, 8)).save(root / "test" / "class9" / "a.png")
    with pytest.raises(DataError, match=r"different classes; only one of them has class1, class9"):
        data.load(str(root))


@pytest.mark.parametrize("limit_bytes", [0, 10**9])
def test_an_unreadable_image_is_named(tmp_path, monkeypatch, limit_bytes):
    root = write_folder(tmp_path)
    monkeypatch.setattr(folder_task, "DECODED_LIMIT_BYTES", limit_bytes)
    path = root / "test" / "class1" / "03.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"Image .*class1/03.png cannot be read"):
        list(data.load(str(root)).batches("test", batch_size=4))
    (root / "train" / "class0" / "00.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"Image .*class0/00.png cannot be read"):
        data.load(str(root))


def test_unknown_data_sets():
    with pytest.raises(UnknownName, match="did you mean digits"):
        data.load("digit")
    with pytest.raises(DataError, match="There is no folder no/such"):
        data.load("no/such")


def test_cifar10_without_a_network(monkeypatch, tmp_path):
    def offline(*_args: object, **_kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", offline)
    with pytest.raises(DataError, match=r"cannot be downloaded .*no route to host"):
        data.load("cifar10", root=tmp_path)


def test_cifar10_is_resized_and_its_own_test_images_are_the_test(monkeypatch, tmp_path):
    class Tiny:
        classes = ("cat", "dog")

        def __init__(self, _root: Path, *, train: bool, download: bool) -> None:
            assert download
            self.data = np.full((20, 32, 32, 3), 50 if train else 90, np.uint8)
            self.targets = [0, 1] * 10

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Tiny)
    task = data.load("cifar10", root=tmp_path, input_size=48)
    assert task.describe()["images"] == {"train": 18, "holdout": 2, "test": 20}
    assert task.input_shape == (3, 48, 48)
    assert set(task.test.images.flatten().tolist()) == {90}
    assert set(task.train.images.flatten().tolist()) == {50}


class Line:
    """A regression data set: the input is three times the target."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[torch.Tensor, float]:
        return torch.full((1, 2, 2), 3.0 * index), float(index)


def own_task(seed: int = 0) -> data.Task:
    split = DatasetSplit(Line(), augment=lambda x, y, random: (x + 1, y), version="1")
    return data.Task(
        name="line", train=split, holdout=split, test=split, num_classes=1, input_shape=(1, 2, 2),
        loss=lambda out, y: (out.flatten() - y).square().mean(), metric=lambda _: 1.0, seed=seed,
    )  # fmt: skip


def no_task() -> int:
    return 3


def test_a_users_own_task():
    task = data.load("tests.test_data:own_task", seed=5)
    assert task.seed == 5
    inputs, targets = next(iter(task.batches("train", batch_size=4)))
    assert inputs[:, 0, 0, 0].tolist() == [0, 3, 6, 9]
    assert targets.tolist() == [0, 1, 2, 3]
    moved, _ = next(iter(task.batches("train", batch_size=4, augment=True)))
    assert moved[:, 0, 0, 0].tolist() == [1, 4, 7, 10]
    with pytest.raises(DataError, match=r"gave a int; it must return a netadapt\.data\.Task"):
        data.load("tests.test_data:no_task")


def test_cross_entropy_adds_auxiliary_outputs_with_their_weights():
    targets = torch.tensor([0, 1])
    main, first, second = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    losses = [torch.nn.functional.cross_entropy(x, targets) for x in (main, first, second)]
    assert data.cross_entropy(main, targets) == losses[0]
    assert data.cross_entropy((main, first), targets) == losses[0] + 0.4 * losses[1]
    assert data.cross_entropy((main, first, second), targets) == (
        losses[0] + 0.3 * losses[1] + 0.3 * losses[2]
    )
    assert data.cross_entropy((main, None, None), targets) == losses[0]


def test_top1_counts_over_batches_of_different_size():
    right, wrong = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    one = torch.ones(1, dtype=torch.int64)
    pairs = [(right, one), (torch.cat([wrong, wrong, right]), one.expand(3))]
    assert data.top1(pairs) == 0.5
    assert data.top1([((right, wrong), one)]) == 1  # auxiliary outputs do not count

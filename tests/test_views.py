"""What a network sees of an image: as torchvision's transforms have it, and published weights."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from netadapt import data
from netadapt.assembly import Source, assemble
from netadapt.data import Preset, Reading, View, folder_task
from netadapt.data.division import divided, limited
from netadapt.data.file_split import FileSplit
from netadapt.data.images import decode, decode_part, shorter_side
from netadapt.data.splits import ArraySplit, Pixels
from netadapt.errors import DataError
from netadapt.models import known_models
from netadapt.models.presets import preset_of


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 131, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def photos(root, pixels=70, count=12):
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                image = random.integers(0, 256, (pixels, pixels + 5, 3), dtype=np.uint8)
                Image.fromarray(image).save(root / part / name / f"{number}.png")
    return str(root)


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        ("resnet18", "pretrained", Preset(224, 256)),
        ("resnet50", "IMAGENET1K_V1", Preset(224, 256)),
        ("resnet50", "DEFAULT", Preset(224, 232)),
        ("inception_v3", "pretrained", Preset(299, 342)),
        ("efficientnet_b3", "pretrained", Preset(300, 320, "bicubic")),
        ("resnet18", "weights.safetensors", None),
        ("resnet18", None, None),
        ("resnet18", "IMAGENET1K_V9", None),
        ("mobilenet_v1", "pretrained", None),
        ("tests.examples:small", "pretrained", None),
        ("timm:resnet18.a1_in1k", "pretrained", Preset(224, 235, "bicubic")),  # 224 / 0.95
        ("timm:mobilenetv2_100", None, None),
    ],
)
def test_published_weights_have_the_preset_that_they_were_published_with(model, weights, expected):
    assert preset_of(model, weights) == expected


def test_all_of_torchvisions_weights_have_a_preset():
    for name in known_models()[1:]:
        for weights in torchvision.models.get_model_weights(name).__members__:
            assert preset_of(name, weights) is not None


@pytest.mark.parametrize("model", ["resnet50", "efficientnet_b3"])
def test_an_input_is_what_the_transforms_of_the_weights_give(photo, model):
    weights = torchvision.models.get_model_weights(model).DEFAULT
    preset = preset_of(model, "pretrained")
    assert preset is not None
    decoded = decode(photo, preset.size, View(preset.resize, preset.interpolation))
    stored = torch.from_numpy(decoded.transpose(2, 0, 1).copy()).unsqueeze(0)
    inputs = Pixels(preset.mean, preset.std).normalized(stored)[0]
    expected = weights.transforms()(Image.open(photo))
    assert torch.allclose(inputs, expected, atol=1e-5)


def test_parts_are_drawn_as_torchvision_draws_them(photo):
    for seed in range(5):
        torch.manual_seed(seed)
        part = decode_part(photo, 64, View(interpolation="bicubic", parts=True))
        torch.manual_seed(seed)
        crop = v2.RandomResizedCrop(64, interpolation=InterpolationMode.BICUBIC)
        expected = v2.Compose([crop, v2.RandomHorizontalFlip()])(Image.open(photo))
        assert np.array_equal(part, np.asarray(expected))


def test_other_sizes_see_the_same_share_of_an_image():
    preset = Preset(224, 256)
    assert preset.at(None) == preset.at(224) == preset
    assert preset.at(112) == Preset(112, 128)
    assert Preset(300, 300).at(97) == Preset(97, 97)


def test_from_64_pixels_on_training_sees_parts_and_scoring_the_middle(tmp_path):
    task = data.load(photos(tmp_path), input_size=64)
    assert isinstance(task.train, FileSplit)
    assert task.holdout.hold
    assert not task.test.hold
    (plain, _), (moved, _) = (next(task.batches("train", batch_size=9, augment=a)) for a in (0, 1))
    stored = np.stack([decode(path, 64).transpose(2, 0, 1) for path in task.train.paths[:9]])
    assert torch.equal(plain, task.train.pixels.normalized(torch.from_numpy(stored)))
    assert not torch.equal(plain, moved)
    small = data.load(str(tmp_path), input_size=63)
    assert isinstance(small.train, ArraySplit)
    assert small.train.pixels.pad == 7


def test_published_weights_decide_how_the_images_of_a_folder_are_seen(tmp_path):
    root = photos(tmp_path)
    preset = Preset(48, 56, "bicubic", (0.5,) * 3, (0.25,) * 3)
    task = data.load(root, reading=Reading(preset=preset))
    assert task.input_shape == (3, 48, 48)
    assert task.test.view == View(56, "bicubic", parts=True)
    assert task.preprocessing == {
        "resize_shorter_side": 56, "center_crop": 48, "interpolation": "bicubic",
        "antialias": True, "channels": "RGB", "scale": "0..255 to 0..1",
        "mean": [0.5] * 3, "std": [0.25] * 3,
    }  # fmt: skip
    plain = data.load(root)
    assert plain.describe()["fingerprint"] != task.describe()["fingerprint"]
    assert plain.preprocessing["resize_shorter_side"] == plain.preprocessing["center_crop"] == 70
    # Small images are seen whole whatever the weights saw; only their scale is of the weights.
    small = data.load(photos(tmp_path / "small", 16), reading=Reading(preset=preset))
    assert small.input_shape == (3, 16, 16)
    assert small.train.pixels.mean == (0.5,) * 3


def test_a_model_brings_its_preset_to_the_data(tmp_path, monkeypatch):
    published = torchvision.models.squeezenet1_1(num_classes=1000)
    monkeypatch.setattr(
        torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: published.state_dict()
    )
    source = Source("squeezenet1_1", weights="pretrained", data=photos(tmp_path))
    subject = assemble(source)
    assert subject.spec.input_shape == (3, 224, 224)
    assert subject.data.test.view.resize == 256
    # What only exports a run builds no weights, and sees the same images.
    again = assemble(Source("squeezenet1_1", data=str(tmp_path), seen_by="pretrained"))
    assert again.data.describe() == subject.data.describe()


def test_images_held_in_memory_are_bounded(tmp_path, monkeypatch):
    root = photos(tmp_path)
    monkeypatch.setattr(folder_task, "DECODED_LIMIT_BYTES", 3 * 70 * 70 * 2 - 1)
    assert not data.load(root).holdout.hold  # two images, a byte too large
    monkeypatch.setattr(folder_task, "DECODED_LIMIT_BYTES", 3 * 70 * 70 * 2)
    assert data.load(root).holdout.hold
    monkeypatch.setattr(folder_task, "_memory_bytes", lambda: 4 * 3 * 70 * 70 * 2 - 4)
    assert not data.load(root).holdout.hold  # more than a quarter of the machine's memory


def test_what_stays_in_memory_is_told_once(tmp_path, caplog):
    caplog.set_level("INFO", "netadapt")
    data.load(photos(tmp_path / "small", 8))
    data.load(photos(tmp_path / "large", 64))
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "48 images of 8 pixels are held in memory, in 0 MiB.",
        "48 images are decoded as they are due; those of the holdout (2) then stay in memory, in "
        "0 MiB.",
    ]


def test_a_holdout_by_default_is_a_tenth_but_ten_thousand_at_most():
    labels = torch.arange(200_000) % 1000
    for holdout, count in ((None, 10_000), (0.1, 20_000), (300, 300)):
        train, chosen = divided(labels, holdout, 0.1, limit=None, seed=0, what="x")
        assert (len(train), len(chosen)) == (200_000 - count, count)
        assert holdout or torch.bincount(labels[chosen]).tolist() == [10] * 1000


def test_a_limit_keeps_the_proportions_of_the_classes():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 9 + [3])
    all_of_them = [60, 30, 9, 1]
    cases = ((10, [6, 3, 1, 1]), (0.2, [12, 6, 2, 1]), (100, all_of_them), (1, all_of_them))
    for limit, counts in cases:
        chosen = limited(labels, limit, seed=0, what="x")
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        drawn = torch.bincount(labels[chosen], minlength=4)
        assert drawn.sum() == min(100, limit * 100 if limit <= 1 else limit)
        assert (drawn - torch.tensor(counts)).abs().max() <= 1
        assert drawn.min() >= 1
    assert limited(labels, None, seed=0, what="x").tolist() == list(range(100))
    one, other = (limited(labels, 10, seed=seed, what="x").tolist() for seed in (0, 1))
    assert one != other
    with pytest.raises(DataError, match="leaves 3 of the 100 images of photos, which are of 4 "):
        limited(labels, 3, seed=0, what="photos")


def test_a_limited_task_is_another_task(tmp_path):
    limit = Reading(limit=100)
    digits = data.load("digits", reading=limit)
    assert digits.describe()["images"] == {"train": 75, "holdout": 25, "test": 100}
    assert digits.describe()["fingerprint"] != data.load("digits").describe()["fingerprint"]
    other = data.load("digits", seed=1, reading=limit)
    assert torch.equal(other.test.images, digits.test.images)
    assert not torch.equal(other.train.images, digits.train.images)
    folder = data.load(photos(tmp_path), reading=Reading(limit=0.5))
    assert folder.describe()["images"] == {"train": 11, "holdout": 1, "test": 12}


def test_a_decompression_bomb_is_named_and_not_unpacked(photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000_000)
    Image.new("1", (4000, 3000)).save(photo)
    for read in (lambda: decode(photo, 8), lambda: shorter_side(photo)):
        with pytest.raises(DataError, match=r"photo\.png .* more than 10 million pixels"):
            read()

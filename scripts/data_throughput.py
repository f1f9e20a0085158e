"""How fast images come from disk, beside a bare DataLoader: results/data_throughput.csv.

Run as ``python scripts/data_throughput.py``; some ten minutes on two cores. 20,000 JPEGs of 256
pixels (noise and shapes, 20 classes, seeded) are written into a temporary folder. Their folder is
then looked through, and once more by its index. Our batches for training (parts at random,
mirrored) and for scoring (resize 256, middle 224) and those of torchvision's ImageFolder in a
DataLoader with the same transforms and number of workers take turns over a few batches at a time;
what counts is the median ratio of neighbours, on which other work on the machine weighs alike.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image, ImageDraw
from provenance import write_csv
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from netadapt import data
from netadapt.data.views import IMAGENET_MEAN, IMAGENET_STD

CLASSES, PIXELS, BATCH = 20, 256, 128
PRESET = data.Preset(size=224, resize=256)
AT_LEAST = 0.9
"""Of a bare DataLoader's images per second."""

_START = """
import resource, sys, time
from netadapt import data
def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
data.load("digits")  # so that all is imported
began_s, before_mb = time.process_time(), peak_mb()
task = data.load(sys.argv[1], reading=data.Reading(preset=data.Preset(224, 256)))
task.describe()
print(time.process_time() - began_s, peak_mb() - before_mb)
"""


def write_images(root: Path, count: int) -> None:
    """Write so many JPEGs, a tenth of them to test on."""
    for number in range(count):
        random = np.random.default_rng(number)
        noise = random.integers(0, 48, (PIXELS, PIXELS, 3), dtype=np.uint8)
        image = Image.fromarray(noise + random.integers(0, 200, 3, dtype=np.uint8))
        label = number % CLASSES
        draw = ImageDraw.Draw(image)
        corners = np.sort(random.integers(0, PIXELS, (4, 2, 2)), axis=1)
        for shape, (low, high) in enumerate(corners.tolist()):
            kind = draw.ellipse if (label + shape) % 2 else draw.rectangle
            kind([*low, *high], fill=tuple(random.integers(0, 256, 3).tolist()))
        part = "test" if number // CLASSES % 10 == 0 else "train"
        folder = root / part / f"class{label:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number:06d}.jpg", quality=85)


def bare(root: Path, what: str, workers: int) -> Callable[[int], Iterator[data.Batch]]:
    """Batches of a bare DataLoader, by the number of the pass."""
    learn = what == "training"
    seen = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
    seen = seen if learn else [v2.Resize(256), v2.CenterCrop(224)]
    inputs = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    transform = v2.Compose([*seen, *inputs, v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    images = ImageFolder(root / ("train" if learn else "test"), transform)

    def batches(epoch: int) -> Iterator[data.Batch]:
        random = torch.Generator().manual_seed(epoch)
        return iter(
            DataLoader(
                images, BATCH, shuffle=learn, num_workers=workers, generator=random, drop_last=learn
            )
        )

    return batches


def ours(root: Path, what: str, workers: int) -> Callable[[int], Iterator[data.Batch]]:
    """Our batches, by the number of the pass."""
    task = data.load(str(root), reading=data.Reading(preset=PRESET, workers=workers))
    learn = what == "training"

    def batches(epoch: int) -> Iterator[data.Batch]:
        return task.batches(
            "train" if learn else "test", batch_size=BATCH, epoch=epoch, shuffle=learn,
            augment=learn,
        )  # fmt: skip

    return batches


def per_second(batches: Iterator[data.Batch], count: int) -> float:
    """Images per second, from the beginning of the pass to so many batches."""
    began_s = time.perf_counter()
    seen = sum(len(targets) for _, targets in itertools.islice(batches, count))
    return seen / (time.perf_counter() - began_s)


def compared(root: Path, what: str, workers: int, rounds: int, count: int) -> Mapping[str, object]:
    """Both in alternation, in turned order from round to round."""
    ways = {"ours": ours(root, what, workers), "bare": bare(root, what, workers)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(rounds):
        for name in sorted(ways, reverse=epoch % 2 == 1):
            rates[name].append(per_second(ways[name](epoch), count))
    ratios = sorted(a / b for a, b in zip(rates["ours"], rates["bare"], strict=True))
    return {
        "what": what, "workers": workers, "images": rounds * count * BATCH,
        "ours_per_s": round(median(rates["ours"]), 1),
        "bare_per_s": round(median(rates["bare"]), 1),
        "ratio": round(median(ratios), 3),
        "ratio_low": round(ratios[0], 3), "ratio_high": round(ratios[-1], 3),
    }  # fmt: skip


def start(root: Path) -> tuple[float, float]:
    """Processor seconds of a new process to load the task, and MB that this adds to its peak."""
    command = [sys.executable, "-c", _START, str(root)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, added_mb = map(float, out.split())
    return round(seconds, 2), round(added_mb, 1)


def main() -> int:
    """Write the table; 1 if one of the ratios is below its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/data_throughput.csv"))
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=4, help="of 128, per round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        os.environ["NETADAPT_CACHE"] = str(Path(folder) / "cache")
        write_images(root, arguments.images)
        time.sleep(3)  # an index is not kept of what changed a moment ago
        (first_s, first_mb), (second_s, second_mb) = start(root), start(root)
        print(f"start {first_s} s, {first_mb} MB; again {second_s} s, {second_mb} MB", flush=True)
        rows = [
            {
                **compared(root, what, workers, arguments.rounds, arguments.batches),
                "files": arguments.images,
                "first_start_cpu_s": first_s, "second_start_cpu_s": second_s,
                "start_mb": max(first_mb, second_mb), "load": round(os.getloadavg()[0], 1),
            }
            for what in ("training", "scoring") for workers in (0, 1, 2)
        ]  # fmt: skip
    write_csv(arguments.out, rows, sys.argv)
    for row in rows:
        print(row)
    return 0 if all(float(str(row["ratio"])) >= AT_LEAST for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

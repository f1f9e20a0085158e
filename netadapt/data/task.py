"""What is to be learned: three disjoint splits, a loss, and a metric."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Batch = tuple[Any, Any]
"""``(inputs, targets)``: for classification a [N, C, H, W] float tensor and [N] class indices."""

Loss = Callable[[Any, Any], Tensor]
"""``(outputs, targets)`` of one batch in training mode -> the mean loss, a scalar to minimize."""

Metric = Callable[[Iterable[tuple[Any, Any]]], float]
"""All ``(outputs, targets)`` of a split, batch by batch -> one number, of which more is better."""

SplitName = Literal["train", "holdout", "test"]


class Split(Protocol):
    """Examples that are used for one purpose. Implementations need not inherit."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = False,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """One pass over the examples, on the CPU; the same for the same arguments.

        With ``shuffle``, a last batch that is not full is left out, unless it is the only one:
        batch normalization cannot learn from one image.
        """
        ...

    def fingerprint(self) -> str:
        """Changes when the examples do, so that a resumed run can refuse other data."""
        ...


def logits(outputs: Any) -> Any:
    """The main output of a model that may also return those of auxiliary heads, after it."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def cross_entropy(outputs: Any, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy; each auxiliary output counts 0.4 if alone, and 0.3 otherwise.

    These are the weights of Inception v3 in torchvision's and of GoogLeNet in the paper's training
    (Szegedy et al. 2014, arXiv:1409.4842, section 5).

    Args:
        outputs: logits [N, classes], or a tuple of them with the main ones first; None is left out.
        targets: class indices [N].
        label_smoothing: share of the target that goes evenly to all classes.
    """
    if not isinstance(outputs, tuple):
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)
    losses = [
        F.cross_entropy(output, targets, label_smoothing=label_smoothing)
        for output in outputs
        if output is not None
    ]
    weight = 0.4 if len(losses) == 2 else 0.3
    total = losses[0]
    for auxiliary in losses[1:]:
        total = total + weight * auxiliary
    return total


def top1(pairs: Iterable[tuple[Any, Any]]) -> float:
    """Share of examples whose highest logit is that of their class, in 0..1."""
    right = torch.zeros((), dtype=torch.int64)
    total = 0
    for outputs, targets in pairs:
        # Summed where the outputs are: a GPU is waited for once, at the end.
        right = right.to(targets.device) + (logits(outputs).argmax(1) == targets).sum()
        total += len(targets)
    return int(right) / total


@dataclass(frozen=True)
class Task:
    """A data set and what counts as doing well on it.

    Classification is the default; with another loss and metric, and splits whose targets suit
    them, it may be anything that a model can be trained for.

    Attributes:
        name: what it was loaded by.
        train: learned from.
        holdout: what choices are made on; taken out of the training images.
        test: used once, at the end; no choice ever sees it.
        num_classes: outputs of the model.
        input_shape: ``(channels, height, width)`` of one image.
        class_names: by class index; empty where there are no classes.
        loss: minimized in training.
        metric: what an accuracy is; higher is better.
        metric_name: what to call it.
        metric_is_share: whether it lies in 0..1 and reads as a percentage.
        seed: of the division into splits.
        preprocessing: what is done to an image file before it is an input, as plain JSON values;
            empty where that is not known.
    """

    name: str
    train: Split
    holdout: Split
    test: Split
    num_classes: int
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...] = ()
    loss: Loss = cross_entropy
    metric: Metric = top1
    metric_name: str = "top-1 accuracy"
    metric_is_share: bool = True
    seed: int = 0
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pixels(self) -> int:
        """The shorter side of an image."""
        return min(self.input_shape[1:])

    def split(self, name: SplitName) -> Split:
        """One of the three splits."""
        return {"train": self.train, "holdout": self.holdout, "test": self.test}[name]

    def batches(
        self,
        name: SplitName,
        *,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = False,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """One pass over a split; see :meth:`Split.batches`."""
        return self.split(name).batches(
            batch_size, seed=seed, epoch=epoch, shuffle=shuffle, augment=augment
        )

    def describe(self) -> dict[str, Any]:
        """Its provenance as plain JSON values; equal if and only if the data are the same."""
        prints = {name: self.split(name).fingerprint() for name in ("train", "holdout", "test")}
        return {
            "name": self.name,
            "images": {
                "train": len(self.train),
                "holdout": len(self.holdout),
                "test": len(self.test),
            },
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "input_shape": list(self.input_shape),
            "metric": self.metric_name,
            "seed": self.seed,
            "fingerprint": hashlib.sha256("".join(prints.values()).encode()).hexdigest()[:16],
        }

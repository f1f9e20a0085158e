"""How to train, and for how long."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train: SGD with Nesterov momentum, linear warmup, and cosine decay to zero.

    Attributes:
        lr: highest learning rate.
        batch_size: images per step.
        momentum: momentum of the gradients (Nesterov's).
        weight_decay: decay of weights with two dimensions or more; biases and normalization get
            none.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: share of the target that goes to all classes; cross entropy only.
        clip_norm: bound on the norm of all gradients together; ``None`` sets no bound.
        augment: whether training images are moved and mirrored at random.
        bf16: whether to compute in bfloat16 where that is safe (autocast).
        noise_aware: whether fine-tuning meets the weights of another chip at each step, on a device
            whose weights are analog.
    """

    lr: float = 0.045
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 4e-5
    warmup: float = 0.05
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    augment: bool = True
    bf16: bool = False
    noise_aware: bool = False

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of one step, counted from 0, of so many."""
        rising = self.warmup * steps
        if step < rising:
            return self.lr * (step + 1) / (rising + 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


# NetAdapt (Yang et al. 2018, section 4.1): 0.045 for the long-term and a tenth of it for the
# short-term fine-tune, with 128 images per step.
SHORT = Recipe(lr=0.0045)
LONG = Recipe(lr=0.045)

SHORT_LIMIT = 500
"""Most steps of a short-term fine-tune by default; more change the choice little (Howard et al.,
"Searching for MobileNetV3", ICCV 2019, section 4.2)."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How long each kind of training lasts.

    Attributes:
        train_epochs: epochs over the training images of a model that has no weights.
        short_steps: optimizer steps of each candidate's short-term fine-tune; ``None`` takes two
            epochs, but no more than 500 steps.
        long_epochs: epochs of the long-term fine-tune at the end.
        screen_batches: training batches that re-estimate batch normalization at screening.
        recipe: settings of training and of the long-term fine-tune.
        short: settings of the short-term fine-tune.
    """

    train_epochs: float = 30
    short_steps: int | None = None
    long_epochs: float = 15
    screen_batches: int = 4
    recipe: Recipe = LONG
    short: Recipe = SHORT

    def steps_for(self, images: int) -> int:
        """Steps of a short-term fine-tune on so many training images."""
        if self.short_steps is not None:
            return self.short_steps
        return min(SHORT_LIMIT, 2 * max(1, images // self.short.batch_size))

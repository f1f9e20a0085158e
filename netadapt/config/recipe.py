"""How to train, and for how long; what is left open follows from the size of the images."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train: SGD with Nesterov momentum, linear warmup, and cosine decay to zero.

    Attributes:
        lr: highest learning rate; ``None`` takes 0.1 for images of up to 64 pixels, 0.045 for
            larger ones, and a tenth of it in a short-term fine-tune.
        batch_size: images per step.
        momentum: momentum of the gradients (Nesterov's).
        weight_decay: decay of weights with two dimensions or more; biases and normalization get
            none. ``None`` takes 5e-4 for images of up to 64 pixels, and 4e-5 for larger ones.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: share of the target that goes to all classes; cross entropy only.
        clip_norm: bound on the norm of all gradients together; ``None`` sets no bound.
        augment: whether training images are moved and mirrored at random.
        bf16: whether to compute in bfloat16 where that is safe (autocast).
        distill: whether a fine-tune of a pruned network learns from the outputs of the unpruned one
            too, and not from labels alone; ``None`` does where the task's outputs are logits of
            classes. The unpruned network itself has no teacher.
        distill_weight: share of the loss that is the distance from the teacher's outputs.
        temperature: what logits are divided by before they are compared with the teacher's.
        ema: share of a running average of the weights that stays at each step; the average is what
            the training results in. 0 averages nothing.
        accumulate: in how many parts the images of a step go through the network, so that more of
            them fit into memory; gradients are added up. Batch normalization sees each part alone.
        noise_aware: whether fine-tuning meets the weights of another chip at each step, on a device
            whose weights are analog.
    """

    lr: float | None = None
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float | None = None
    warmup: float = 0.05
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    augment: bool = True
    bf16: bool = False
    distill: bool | None = None
    distill_weight: float = 0.5
    temperature: float = 4.0
    ema: float = 0.0
    accumulate: int = 1
    noise_aware: bool = False

    def suited(self, pixels: int, share: float = 1.0) -> "Recipe":
        """The same, with what was left open set as suits images of so many pixels.

        Args:
            pixels: the shorter side of the images.
            share: of the learning rate of a training at length.
        """
        usual = SMALL_IMAGES if pixels <= SMALL_PIXELS else LARGE_IMAGES
        return replace(
            self,
            lr=usual.peak_lr * share if self.lr is None else self.lr,
            weight_decay=usual.decay if self.weight_decay is None else self.weight_decay,
        )

    @property
    def peak_lr(self) -> float:
        """The highest learning rate; where it was left open, that of large images."""
        return 0.045 if self.lr is None else self.lr

    @property
    def decay(self) -> float:
        """The weight decay; where it was left open, that of large images."""
        return 4e-5 if self.weight_decay is None else self.weight_decay

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of one step, counted from 0, of so many."""
        rising = self.warmup * steps
        if step < rising:
            return self.peak_lr * (step + 1) / (rising + 1)
        return self.peak_lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


SMALL_PIXELS = 64
"""Images of up to so many pixels are small."""

SMALL_IMAGES = Recipe(lr=0.1, weight_decay=5e-4)
"""What is usual for CIFAR (Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, section 3:
0.1, 128 images per step, 5e-4, Nesterov)."""

LARGE_IMAGES = Recipe(lr=0.045, weight_decay=4e-5)
"""For ImageNet: NetAdapt's learning rate (Yang et al. 2018, section 4.1), with 128 images per step;
the weight decay of TF-slim's MobileNet."""

SHORT_SHARE = 0.1
"""A short-term fine-tune's learning rate beside the long-term one (the same section)."""

LONG_SHARE = 0.3
"""A long-term fine-tune's learning rate beside that of a training from new weights: by measurement
(``results/teaching.csv``). The paper takes the same for both, and trains for far longer."""

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
        long_lr: highest learning rate of the long-term fine-tune; ``None`` takes 0.3 times that of
            the recipe.
        screen_batches: training batches that re-estimate batch normalization at screening.
        recipe: settings of training and, but for the learning rate, of the long-term fine-tune.
        short: settings of the short-term fine-tune.
    """

    train_epochs: float = 30
    short_steps: int | None = None
    long_epochs: float = 15
    long_lr: float | None = None
    screen_batches: int = 4
    recipe: Recipe = Recipe()
    short: Recipe = Recipe()

    @property
    def long(self) -> Recipe:
        """Settings of the long-term fine-tune."""
        lr = LONG_SHARE * self.recipe.peak_lr if self.long_lr is None else self.long_lr
        return replace(self.recipe, lr=lr)

    def steps_for(self, images: int) -> int:
        """Steps of a short-term fine-tune on so many training images."""
        if self.short_steps is not None:
            return self.short_steps
        return min(SHORT_LIMIT, 2 * max(1, images // self.short.batch_size))

    def suited(self, pixels: int) -> "Tuning":
        """The same, with what the recipes left open set as suits images of so many pixels."""
        return replace(
            self,
            recipe=self.recipe.suited(pixels),
            short=self.short.suited(pixels, SHORT_SHARE),
        )

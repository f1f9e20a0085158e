"""How much each unit of a network matters, by an importance and what it asks to know."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.errors import UsageError
from netadapt.network import ChannelGroup, Network, shrinkable
from netadapt.plugins import accepted, lookup
from netadapt.pruning.importance import IMPORTANCES
from netadapt.pruning.moments import Moments
from netadapt.training import samples

Passed = Callable[[int, int], None]
"""Told how many images went forward and back, and how many only forward."""


@dataclass
class Scoring:
    """What is known of the units of one network; each part is worked out once, when asked for.

    Attributes:
        model: the network; not changed.
        network: describes it.
        images: to look at it with.
        passed: told of images that went through it.
    """

    model: nn.Module
    network: Network
    images: samples.Samples
    passed: Passed = lambda trained, scored: None
    _moments: Moments | None = field(default=None, init=False, repr=False)
    _scores: dict[str, dict[str, Tensor]] = field(default_factory=dict, init=False, repr=False)

    @property
    def moments(self) -> Moments:
        """What its layers read."""
        if self._moments is None:
            self._moments = samples.moments(self.model, self.network, self.images)
            self.passed(0, self.images.images)
        return self._moments

    def scores(self, importance: str) -> Mapping[str, Tensor]:
        """The importance of every unit, for each group that may shrink.

        Raises:
            UsageError: the importance does not give one number for each unit.
        """
        if importance not in self._scores:
            function = lookup("importance", importance, IMPORTANCES)
            totals: dict[str, Tensor] = {}
            passes = 0
            for known in self._known(function):
                passes += 1
                for group in shrinkable(self.network):
                    given = function(self._tensors(), group, **known)
                    scores = checked_scores(importance, given, group)
                    totals[group.id] = totals.get(group.id, torch.zeros(())) + scores
            self._scores[importance] = {group: total / passes for group, total in totals.items()}
        return self._scores[importance]

    def _known(self, function: Callable[..., Any]) -> Iterator[dict[str, Any]]:
        """What an importance asks to know, once, or once for each batch of gradients."""
        asked = accepted(function, gradients=None, moments=None)
        known = {"moments": self.moments} if "moments" in asked else {}
        if "gradients" not in asked:
            yield known
            return
        for gradients in samples.gradients(self.model, self.images):
            yield {**known, "gradients": gradients}
        self.passed(self.images.images, 0)

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters(remove_duplicate=False))


def checked_scores(importance: str, given: Any, group: ChannelGroup) -> Tensor:
    """What an importance gave as a number for each unit of a group.

    Raises:
        UsageError: it gave something else.
    """
    try:
        scores = torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        scores = torch.empty(0)
    if scores.shape != (group.size,) or not bool(scores.isfinite().all()):
        shown = f"shape {list(given.shape)}" if isinstance(given, Tensor) else f"{given!r:.80}"
        raise UsageError(
            f"The importance {importance!r} must give one finite number for each of the "
            f"{group.size} units of group {group.id!r}; it gave {shown}."
        )
    return scores

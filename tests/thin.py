"""Networks as their code builds them, with a part of their channels: the same graph, sooner."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from torch import nn

WIDTHS = {nn.Conv2d: 2, nn.Linear: 2, nn.BatchNorm2d: 1}
"""How many of the first arguments are numbers of channels."""


@contextmanager
def thin(by: int = 4) -> Iterator[None]:
    """Layers made within have the ``by``-th part of every width that can be divided so.

    One number becomes the same number wherever it stands, so that what fitted together still does;
    images keep their three channels. Convolutions must be dense or depthwise: where they are
    grouped, fewer channels to a group would be another structure.
    """

    def less(width: int) -> int:
        return width if width % by else width // by

    def made(init: Callable[..., None], widths: int) -> Callable[..., None]:
        def narrower(layer: nn.Module, *args: Any, groups: int = 1, **rest: Any) -> None:
            assert groups in (1, args[0])
            if groups > 1:
                rest["groups"] = less(groups)
            init(layer, *map(less, args[:widths]), *args[widths:], **rest)

        return narrower

    with pytest.MonkeyPatch.context() as patch:
        for kind, widths in WIDTHS.items():
            patch.setattr(kind, "__init__", made(kind.__init__, widths))
        yield

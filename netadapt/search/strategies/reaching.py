"""Along a path of networks that get smaller and smaller, the first that is within every target."""

from collections.abc import Callable

from netadapt.network import Sizes, nearest_choice, shrinkable
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.situation import Situation

HALVINGS = 20
"""How often the part of the path in question is halved; a millionth of it is left then."""

Path = Callable[[float], Sizes]
"""How far, from 0 for the present network to 1 -> the size wanted of each group."""


def along(situation: Situation, name: str, path: Path) -> Proposal | None:
    """The network least far along the path that is within every target, found by halving.

    Each size is rounded down to one that the group may take. The end of the path stands for the
    smallest sizes of all, whatever the path says there; if even they miss a target they are
    proposed, as the furthest that one can go.

    Latency may rise somewhere while widths fall, and then a network nearer than the one returned
    may be within the targets too; the one returned always is.

    Returns:
        The proposal; None if nothing can be shrunk, or the smallest sizes lower no load.
    """
    far = _proposal(situation, name, dict.fromkeys(situation.sizes, 0))
    if not far.reaches:
        return far if far.changes and far.load < situation.loads.present else None
    near_at, far_at = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (near_at + far_at) / 2
        tried = _proposal(situation, name, path(middle))
        if tried.reaches and tried.changes:
            far, far_at = tried, middle
        else:
            near_at = middle
    return far if far.changes else None


def _proposal(situation: Situation, name: str, wanted: Sizes) -> Proposal:
    changes = {}
    for group in shrinkable(situation.network):
        present = situation.sizes[group.id]
        size = nearest_choice(group, wanted[group.id], situation.multiple, present)
        if size < present:
            changes[group.id] = size
    return Proposal(name, changes, situation.loads.changed(changes))

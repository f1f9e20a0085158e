"""What strategies propose, refused where a search could not go on from it."""

from collections.abc import Mapping
from inspect import signature

from netadapt.errors import UsageError
from netadapt.network import Sizes, shrinkable
from netadapt.search.strategies import Proposal, Situation, Strategy


def proposed(strategy: Strategy, situation: Situation) -> list[Proposal]:
    """What the strategy proposes, refused where the loop could not go on from it.

    Raises:
        UsageError: it is no list of proposals, or one of them shrinks nothing, enlarges a group, or
            names one that may not shrink; or it takes something else than a situation.
    """
    try:
        signature(strategy).bind(situation)
    except TypeError as error:
        raise UsageError(
            f"The strategy must take one Situation, and it does not ({error}); what a situation "
            "holds is described in netadapt.search.strategies.situation."
        ) from error
    proposals = strategy(situation)
    if not isinstance(proposals, list) or not all(isinstance(p, Proposal) for p in proposals):
        raise UsageError(
            "The strategy must return a list of Proposal, empty if nothing can lower the load; it "
            f"returned {proposals!r:.80}."
        )
    sizes = {group.id: situation.sizes[group.id] for group in shrinkable(situation.network)}
    for proposal in proposals:
        if not _shrinks(proposal, sizes):
            raise UsageError(
                f"The strategy proposed {proposal.changes!r:.200} as {proposal.name!r}; a proposal "
                "must give groups that may shrink sizes from 1 to the present ones, as int, and "
                "make at least one smaller."
            )
    return proposals


def _shrinks(proposal: Proposal, sizes: Sizes) -> bool:
    """Whether it gives such groups sizes up to the present ones, and one of them a smaller one."""
    changes = proposal.changes
    fits = isinstance(changes, Mapping) and all(
        type(size) is int and 1 <= size <= sizes.get(group, 0) for group, size in changes.items()
    )
    return fits and any(size < sizes[group] for group, size in changes.items())

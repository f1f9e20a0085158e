"""What decides the course of a search, from the settings, the model and the devices of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from netadapt.assembly import Assembly
from netadapt.config import RunConfig
from netadapt.errors import UsageError
from netadapt.network import Network, exact_alone, shrinkable
from netadapt.platforms.accelerators.platform import ModelledPlatform
from netadapt.plugins import lookup
from netadapt.pruning.importance import COMPARABLE
from netadapt.search.budgets import bounds, meters
from netadapt.search.fleet import Device
from netadapt.search.loop import Space
from netadapt.search.race import Race, looks
from netadapt.search.selection import SELECTIONS, highest_accuracy, lowest_loss
from netadapt.search.strategies import ROUNDS, STRATEGIES


def space_of(
    config: RunConfig,
    subject: Assembly,
    devices: Sequence[Device],
    originals: Mapping[str, float],
) -> Space:
    """What decides the course of the search, for what the unpruned network measured, by key.

    Raises:
        UsageError: a name is unknown, or the unpruned network is within all budgets.
    """
    asked = meters(config.budgets, [device.name for device in devices])
    return Space(
        network=as_preferred(config, asked_of(config, subject), devices[0]),
        bounds=bounds(asked, originals),
        strategy=lookup("strategy", config.strategy, STRATEGIES),
        schedule=config.schedule,
        multiple=multiple_of(config, devices),
        rungs=config.ladder,
        seed=config.seed,
        rounds=ROUNDS.get(config.strategy, 0),
        comparable=config.importance in COMPARABLE,
        **_picking(config, len(subject.data.holdout)),
    )


def _picking(config: RunConfig, images: int) -> dict[str, Any]:
    """What ranks candidates, and on which of so many holdout images."""
    selection = lookup("selection", config.selection, SELECTIONS)
    by_loss = config.screening == "loss" and selection in (highest_accuracy, lowest_loss)
    if not by_loss:
        return {"selection": selection}
    # One chance of error for an iteration, shared by all of its races.
    error = config.screening_error / max(1, len(config.ladder))
    return {
        "selection": selection,
        "screening": lowest_loss,
        "race": Race(looks(images), error) if error else None,
    }


def check_finalists(config: RunConfig, network: Network) -> None:
    """Refuse more finalists than there can be proposals of one group each.

    Raises:
        UsageError: there are more; where other strategies propose fewer, all are fine-tuned.
    """
    able = len(list(shrinkable(network)))
    if config.finalists is not None and config.finalists > able:
        raise UsageError(
            f"{config.finalists} finalists are more than the {able} channel groups that can "
            f"shrink; ask for at most {able}, or for 0 to fine-tune every proposal."
        )


def asked_of(config: RunConfig, subject: Assembly) -> Network:
    """The network, of which every group may shrink or those alone that are exact."""
    return subject.network if config.inexact else exact_alone(subject.network)


def as_preferred(config: RunConfig, network: Network, device: Device) -> Network:
    """The network whose groups shrink to sizes that a device prefers, unless multiples are asked.

    Such as those that fill the arrays of a crossbar: each layer has its own.
    """
    platform = device.platform
    if config.multiple or not isinstance(platform, ModelledPlatform):
        return network
    groups = {
        name: replace(group, preferred=platform.filling_sizes(network, name) or ())
        for name, group in network.groups.items()
    }
    return replace(network, groups=groups)


def multiple_of(config: RunConfig, devices: Sequence[Device]) -> int:
    """What widths become multiples of: as asked, or what suits every device."""
    return config.multiple or max(device.info.multiple for device in devices)

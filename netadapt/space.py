"""What decides the course of a search, and what all its trials share.

From the settings, the model and the devices of a run.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from netadapt import training
from netadapt.assembly import Assembly
from netadapt.config import RunConfig
from netadapt.errors import UsageError
from netadapt.export.analog import training_on
from netadapt.inherit import origin
from netadapt.network import Network, exact_alone, shrinkable
from netadapt.platforms.accelerators.loops import has_product
from netadapt.platforms.accelerators.platform import ModelledPlatform
from netadapt.plugins import lookup
from netadapt.pruning.importance import COMPARABLE
from netadapt.runs import Job, Run, Step
from netadapt.search.budgets import Bound, binding, bounds, meters
from netadapt.search.fleet import Device, infos, scored_as
from netadapt.search.loop import Space
from netadapt.search.race import Race, looks
from netadapt.search.selection import SELECTIONS, highest_accuracy, lowest_loss
from netadapt.search.strategies import ROUNDS, STRATEGIES
from netadapt.tracing.zeros import ifmap_zeros

ZEROS_FROM = 256
"""Holdout images that zeros are counted in."""


def space_of(
    config: RunConfig,
    subject: Assembly,
    devices: Sequence[Device],
    originals: Mapping[str, float],
    begun: Step | None = None,
) -> Space:
    """What decides the course of the search.

    Args:
        config: all settings.
        subject: the model with its task.
        devices: of the run; the first decides where something is to be decided for all.
        originals: what the unpruned network measured, by key.
        begun: the step of an earlier run that this one goes on from.

    Raises:
        UsageError: a name is unknown, or the unpruned network is within all budgets.
    """
    asked = meters(config.budgets, [device.name for device in devices])
    allowed = bounds(asked, originals)
    return Space(
        network=as_preferred(config, asked_of(config, subject), devices[0]),
        bounds=allowed,
        strategy=lookup("strategy", config.strategy, STRATEGIES),
        schedule=config.schedule,
        multiple=multiple_of(config, devices),
        rungs=config.ladder,
        seed=config.seed,
        rounds=_rounds(ROUNDS.get(config.strategy, 0), allowed, begun),
        comparable=config.importance in COMPARABLE,
        **_picking(config, len(subject.data.holdout)),
    )


def settings_of(
    config: RunConfig, subject: Assembly, devices: Sequence[Device], folder: Path, *, fresh: bool
) -> dict[str, Any]:
    """What decides the result of the run in a folder, as plain JSON values.

    Raises:
        UsageError: it cannot go on from the run that it is to go on from.
    """
    settings: dict[str, Any] = {
        "config": config.result_json(), "model": subject.spec.to_json(),
        "data": subject.data.describe(), "devices": infos(devices),
    }  # fmt: skip
    if subject.seen_by not in (None, config.weights):
        settings["seen_by"] = subject.seen_by  # the file that they are in need not stay
    if config.after is not None:
        asked = meters(config.budgets, list(config.devices))
        settings["after"] = origin(config.after, folder, settings, asked, fresh=fresh)
    return settings


def _rounds(whole: int, allowed: Sequence[Bound], begun: Step | None) -> int:
    """By which iteration to be within the budgets, if the whole way takes so many.

    A run that goes on from another has a part of the way left, by the logarithm of the load.
    """
    if begun is None or not whole:
        return whole
    binds = binding(begun.measured, allowed)
    left = math.log(begun.measured[binds.key] / binds.limit)
    return begun.iteration + math.ceil(whole * left / math.log(binds.original / binds.limit))


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


def told_zeros(platform: ModelledPlatform, subject: Assembly) -> ModelledPlatform:
    """Hardware that asks for the zeros of each layer, told them; other as it is.

    Where they are to be measured, they are counted in holdout images, by the weights as they stand.

    Raises:
        UsageError: no data set was named to count in, or a file tells of layers of another network.
    """
    if platform.sparsity is None:
        return platform
    network, shares = subject.network, platform.sparsity.shares
    names = [layer.name for layer in network.costed if has_product(layer)]
    if shares is None:
        if subject.task is None:
            raise UsageError(
                f"{platform.uri} counts zeros in holdout images, and no data set was named; name "
                "one, or give a share for all layers, like zeros=0.5."
            )
        images, _ = next(iter(subject.task.batches("holdout", batch_size=ZEROS_FROM)))
        counted = ifmap_zeros(subject.module, network, [images])
        shares = {name: share for name, share in counted.items() if name in names}
    return platform.with_zeros(names, shares)


def job_of(config: RunConfig, subject: Assembly, devices: Sequence[Device], run: Run) -> Job:
    """What all trials of a run share."""
    tuning, info = config.tuning, scored_as(devices)
    for recipe in (tuning.recipe, tuning.short):
        training_on(info, subject.module, recipe, config.seed)  # refuse before hours are spent
    assert config.importance is not None  # chosen before there is a run
    taught = training.distils(tuning.short, subject.module, subject.data)
    return Job(
        model=subject.spec.to_json(),
        data=config.data,
        input_size=config.input_size,
        importance=config.importance,
        repair=config.repair,
        short=tuning.short,
        steps=tuning.steps_for(len(subject.data.train)),
        screen_batches=tuning.screen_batches,
        seed=config.seed,
        trainer=config.execution.trainer,
        device=info.to_json(),
        teacher=str(run.weights_path("original")) if taught else "",
        limit=config.limit, seen_by=subject.seen_by, data_workers=config.execution.data_workers,
        threads=torch.get_num_threads(),
        images=subject.data.describe()["fingerprint"],
    )  # fmt: skip

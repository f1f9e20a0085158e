"""Train a model on a data set and write its weights: ``netadapt train``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from netadapt import training
from netadapt.assembly import Source, assemble
from netadapt.config import RunConfig
from netadapt.files import check_output, sole_writer
from netadapt.models.weights import WEIGHTS_BEGIN, save_weights
from netadapt.ranks import ALONE, Rank
from netadapt.runs import Listener, silent
from netadapt.runs.progress import TrainingNews
from netadapt.training.team import Team, joined


def train(
    config: RunConfig, out: Path, *, notify: Listener = silent, rank: Rank = ALONE
) -> dict[str, Any]:
    """Train the model of a run, from scratch or from its weights, and write what it has learned.

    Its place is kept in ``OUT.partial`` beside the weights; called again with the same settings, a
    training that was cut off goes on there. Several processes may call it at once to train
    together; the first of them alone writes.

    Args:
        config: the settings; those of searching, and the budgets, are not read.
        out: where to write the weights.
        notify: called with events that tell how far it has come, in the first process.
        rank: which process this is, see :meth:`Rank.from_environment`.

    Returns:
        ``metric``, ``accuracy`` (on test images, in [0, 1]), ``test_images``, ``seconds``,
        ``weights``; of a process that is not the first, nothing.
    """
    with joined(rank, config.execution.trainer) as (team, trainer):
        execution = replace(config.execution, trainer=trainer)
        return _trained(replace(config, execution=execution), out, team, notify)


def _trained(config: RunConfig, out: Path, team: Team, notify: Listener) -> dict[str, Any]:
    """The same by one process of a team."""
    source = Source(
        config.model, config.model_args, config.weights, config.input_size, data=config.data,
        seed=config.seed, limit=config.limit, data_workers=config.execution.data_workers,
    )  # fmt: skip
    assembly, trainer = team.in_turn(lambda: assemble(source)), config.execution.trainer
    task, module, first = assembly.data, assembly.module, team.rank.first
    config = config.suited(task.pixels)
    if first:
        check_output(out, begins=WEIGHTS_BEGIN)
    training.rehearse(module, task, config.tuning.recipe, trainer=trainer)
    place = training.Checkpoint(
        out.with_name(f"{out.name}.partial"), config.execution.checkpoint_every_s
    )
    course = training.Course(
        config.tuning.recipe,
        epochs=config.tuning.train_epochs,
        seed=config.seed,
        trainer=trainer,
        checkpoint=place if first else None,
        team=team,
    )
    if not first:
        training.fine_tune(module, task, course)
        return {}
    news = TrainingNews(notify, "train", config.tuning.recipe.batch_size)
    with sole_writer(out):
        result = training.fine_tune(module, task, course, progress=news.step, glance=news.glance)
        save_weights(module, out)
        place.discard()
    return {
        "metric": task.metric_name,
        "metric_is_share": task.metric_is_share,
        "accuracy": training.accuracy(module, task, "test", trainer=trainer),
        "test_images": len(task.test),
        "seconds": result.seconds,
        "weights": str(out),
    }

"""Train a model on a data set and write its weights: ``netadapt train``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netadapt import training
from netadapt.assembly import Source, assemble
from netadapt.config import Tuning
from netadapt.models.weights import save_weights
from netadapt.runs import Listener, silent
from netadapt.runs.events import training_progress


def train(
    model: str,
    data_name: str,
    out: Path,
    *,
    model_args: Mapping[str, Any],
    weights: str | None,
    input_size: int | None,
    tuning: Tuning,
    seed: int,
    trainer: str,
    notify: Listener = silent,
) -> dict[str, Any]:
    """Train from scratch, or from ``weights``; write the result and report the test metric.

    Returns:
        ``metric``, ``accuracy`` (in [0, 1]), ``test_images``, ``seconds``, ``weights``.
    """
    source = Source(model, model_args, weights, input_size, data=data_name, seed=seed)
    assembly = assemble(source)
    task, module = assembly.data, assembly.module
    result = training.fine_tune(
        module,
        task,
        recipe=tuning.recipe,
        epochs=tuning.train_epochs,
        seed=seed,
        trainer=trainer,
        progress=training_progress(notify, "train"),
    )
    save_weights(module, out)
    return {
        "metric": task.metric_name,
        "metric_is_share": task.metric_is_share,
        "accuracy": training.accuracy(module, task, "test", trainer=trainer),
        "test_images": len(task.test),
        "seconds": result.seconds,
        "weights": str(out),
    }

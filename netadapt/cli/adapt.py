"""``netadapt adapt`` and ``netadapt train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netadapt.cli.options import (
    existing_file,
    json_option,
    model_options,
    platform_option,
    quiet_option,
    step_option,
    trainer_option,
)
from netadapt.cli.outcome import result_text
from netadapt.cli.text import echo_json
from netadapt.units import (
    format_metric,
    parse_budget,
    parse_share,
)

if TYPE_CHECKING:
    from netadapt.config import Tuning

_ADAPT_EPILOG = """\b
Examples:
  # the embedded data set, an untrained zoo model: trains first, then adapts
  netadapt adapt mobilenet_v1 --data digits --budget 60%
\b
  # your own images (train/CLASS/*.jpg, test/CLASS/*.jpg) and weights
  netadapt adapt mobilenet_v2 --weights v2.safetensors --data photos/ --budget 12ms
\b
  # your own model and task, on a Raspberry Pi
  netadapt adapt mypkg.nets:small --task mypkg.tasks:defects --budget 40% --on ssh://pi@raspberrypi
\b
Repeating a command continues its run; --fresh starts over.
"""


def _training_options(function: Any) -> Any:
    for option in reversed(
        [
            click.option("--data", metavar="NAME|FOLDER",
                         help="digits, cifar10, or a folder with train/ and test/."),
            click.option("--task", metavar="MODULE:CALLABLE",
                         help="Your own images, loss and metric, instead of --data."),
            click.option("--epochs", type=click.FloatRange(0, min_open=True),
                         help="Epochs of training from scratch.  [default: 30]"),
            click.option("--lr", type=click.FloatRange(0, min_open=True),
                         help="Highest learning rate.  [default: 0.045]"),
            click.option("--batch-size", type=click.IntRange(2),
                         help="Images per step.  [default: 128]"),
            click.option("--bf16", is_flag=True, help="Train in bfloat16 where that is safe."),
            click.option("--seed", type=int, default=0, show_default=True,
                         help="Of splits, weights and image order."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def _source(data: str | None, task: str | None) -> str:
    """The one data set that was asked for."""
    from netadapt.errors import UsageError

    if (data is None) == (task is None):
        raise UsageError(
            "Give one of --data (digits, cifar10 or a folder) and --task (module:callable)."
        )
    if task is not None and ":" not in task:
        raise UsageError(f"--task {task} must be written package.module:callable.")
    return data or task or ""


def _tuning(
    *, epochs: float | None, lr: float | None, batch_size: int | None, bf16: bool,
    short_steps: int | None = None, short_lr: float | None = None,
    long_epochs: float | None = None,
) -> "Tuning":  # fmt: skip
    """The default lengths and recipes, with what the user asked for in place."""
    from dataclasses import replace

    from netadapt.config import Tuning

    default = Tuning()

    def given(**values: Any) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    shared = given(batch_size=batch_size, bf16=bf16 or None)
    return replace(
        default,
        recipe=replace(default.recipe, **given(lr=lr), **shared),
        short=replace(default.short, **given(lr=short_lr), **shared),
        **given(train_epochs=epochs, short_steps=short_steps, long_epochs=long_epochs),
    )


@click.command(epilog=_ADAPT_EPILOG)
@model_options
@_training_options
@click.option("--budget", required=True, help="Such as 12ms, or 60% of the measured original.")
@click.option(
    "--run",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Run folder.  [default: runs/MODEL-DATA-BUDGET]",
)
@click.option("--fresh", is_flag=True, help="Start over; the old run is kept as FOLDER.old.")
@platform_option
@click.option("--table", type=existing_file(), help="Start from this lookup table.")
@step_option
@click.option("--strategy", default="one_group", show_default=True, help="one_group or uniform.")
@click.option(
    "--select",
    "selection",
    default="accuracy",
    show_default=True,
    help="Keep the candidate of highest accuracy, or of least accuracy lost per saved "
    "cost: accuracy or ratio.",
)
@click.option("--importance", default="l2", show_default=True, help="Which channels to keep.")
@click.option(
    "--initial-reduction",
    type=str,
    metavar="PERCENT",
    help="Cost cut of the first iteration.  [default: 5%, less for deep networks]",
)
@click.option(
    "--decay",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.96,
    show_default=True,
    help="Factor on the cut, per iteration.",
)
@click.option(
    "--finalists",
    type=click.IntRange(0),
    metavar="N",
    help="Fine-tune only the N best of each iteration's proposals; 0 for all.  [default: 3]",
)
@click.option(
    "--short-steps",
    type=click.IntRange(1),
    help="Steps of each short-term fine-tune.  [default: two epochs, at most 500]",
)
@click.option(
    "--short-lr",
    type=click.FloatRange(0, min_open=True),
    help="Its learning rate.  [default: 0.0045]",
)
@click.option(
    "--long-epochs",
    type=click.FloatRange(0, min_open=True),
    help="Epochs of the long-term fine-tune at the end.  [default: 15]",
)
@trainer_option
@json_option
@quiet_option
def adapt(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, data: str | None, task: str | None, epochs: float | None,
    lr: float | None, batch_size: int | None, bf16: bool, seed: int, budget: str,
    folder: Path | None, fresh: bool,
    platform: str, table: Path | None, multiple: int | None, strategy: str, selection: str,
    importance: str, initial_reduction: str | None, decay: float, finalists: int | None,
    short_steps: int | None, short_lr: float | None, long_epochs: float | None, trainer: str,
    as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Shrink MODEL until its latency, measured on a device, is within the budget."""
    wanted = parse_budget(budget)
    schedule = _schedule(initial_reduction, decay)
    from netadapt.adapt import adapt as run_adapt
    from netadapt.config import Execution, RunConfig

    config = RunConfig(
        model=model,
        data=_source(data, task),
        budgets=(wanted,),
        model_args=dict(model_args),
        weights=weights,
        input_size=input_size,
        devices={platform: platform},
        table=table,
        strategy=strategy,
        selection=selection,
        importance=importance,
        schedule=schedule,
        multiple=multiple or 0,
        tuning=_tuning(
            epochs=epochs, lr=lr, batch_size=batch_size, bf16=bf16, short_steps=short_steps,
            short_lr=short_lr, long_epochs=long_epochs,
        ),
        seed=seed,
        execution=Execution(trainer),
        **({} if finalists is None else {"finalists": finalists}),
    )  # fmt: skip
    folder = folder or Path("runs") / config.run_name
    from netadapt.cli.console import Console

    with Console(quiet=quiet) as console:
        result = run_adapt(config, folder, fresh=fresh, notify=console)
    if as_json:
        echo_json(result.to_json())
    else:
        click.echo(result_text(result))
    return 0 if result.met else 1


def _schedule(initial: str | None, decay: float) -> Any:
    from netadapt.search.schedule import Schedule

    if initial is None:
        return Schedule(decay=decay)
    return Schedule(parse_share(initial, "--initial-reduction"), decay)


_TRAIN_EPILOG = """\b
Examples:
  netadapt train mobilenet_v1 --data digits -o digits.safetensors
  netadapt train mobilenet_v1 -a width=0.5 -a stem=cifar --data cifar10 --epochs 60 -o v1.pt
"""


@click.command(epilog=_TRAIN_EPILOG)
@model_options
@_training_options
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to write the weights (.safetensors).",
)
@trainer_option
@json_option
@quiet_option
def train(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, data: str | None, task: str | None, epochs: float | None,
    lr: float | None, batch_size: int | None, bf16: bool, seed: int, out: Path, trainer: str,
    as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Train MODEL on a data set and write its weights; what adapt does if it is given none."""
    from netadapt.train import train as run_train

    tuning = _tuning(epochs=epochs, lr=lr, batch_size=batch_size, bf16=bf16)
    from netadapt.cli.console import Console

    with Console(quiet=quiet) as console:
        report = run_train(
            model, _source(data, task), out, model_args=dict(model_args), weights=weights,
            input_size=input_size, tuning=tuning, seed=seed, trainer=trainer, notify=console,
        )  # fmt: skip
    if as_json:
        echo_json(report)
    else:
        score = format_metric(report["accuracy"], share=report["metric_is_share"])
        click.echo(
            f"{report['metric']} on {report['test_images']} test images: {score} "
            f"after {report['seconds']:.0f} s of training. Weights: {out}"
        )
    return 0

"""``netadapt adapt``: the main job."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netadapt.cli.completion import platform_uris
from netadapt.cli.options import (
    Duration,
    console_options,
    existing_file,
    json_option,
    run_options,
)
from netadapt.cli.outcome import family_text, result_text
from netadapt.cli.preview import preview_text
from netadapt.cli.settings import resolved_family
from netadapt.cli.text import echo_json
from netadapt.errors import AlreadyMet, BudgetUnreachable, UsageError

if TYPE_CHECKING:
    from netadapt.adapt import Result
    from netadapt.config import RunConfig

_EPILOG = """\b
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
  # several budgets on several devices; one for a device replaces the general one
  netadapt adapt mobilenet_v2 --weights v2.pt --data photos/ --on ort:cpu \\
    --on phone=ssh://pi@raspberrypi --budget phone:12ms --budget 60% --budget size=2MB
\b
  # three networks from one search, each fine-tuned at length; later one more
  netadapt adapt mobilenet_v1 --data digits --budget 80%,60%,40%
  netadapt adapt mobilenet_v1 --data digits --budget 30% --after runs/mobilenet_v1-digits-40pct
\b
  # candidates tried on two GPUs at once
  netadapt adapt resnet50 --weights pretrained --data imagenet/ --budget 60% \\
    --workers cuda:0,cuda:1
\b
  # settings in a file; flags override it
  netadapt init > run.toml
  netadapt adapt --config run.toml --seed 1
\b
Repeating a command continues its run; --fresh starts over.
"""

_STRATEGIES = """What to try; docs/search.md says what each costs.  [default: one_group]

\b
one_group  one channel group in each iteration, as in NetAdapt
several    all groups at once, by how much each alone loses
knapsack   all groups at once, by importance per cost
magnitude  the least important units of all groups
uniform    all groups by one factor
random     random widths, the best of several
energy_ordered  the costliest layer first; with --importance output_error --repair
M:F        your own function F of module M
"""


@click.command(epilog=_EPILOG)
@run_options
@click.option(
    "--budget",
    multiple=True,
    help="Such as 12ms, 60% of the measured original, energy=50%, size=2MB, macs=50%, params=1.5M, "
    "or phone:12ms for one device. Repeatable: all must hold. One may be a list such as "
    "80%,60%,40%: a run for each, that goes on from the one before.",
)
@click.option(
    "--on",
    multiple=True,
    metavar="[NAME=]URI",
    shell_complete=platform_uris,
    help="A device to measure on, such as ort:cpu, 'ort:cpu?threads=4', ssh://pi@host, "
    "replay:table.csv, or phone=ssh://pi@host to give it a name. Repeatable.  [default: ort:cpu]",
)
@click.option(
    "--run",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Run folder; of a list of budgets, where their run folders are.  [default: "
    "runs/MODEL-DATA-BUDGET]",
)
@click.option(
    "--after",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="RUN",
    help="Go on from where the search of this finished run ended, to a smaller budget.",
)
@click.option("--fresh", is_flag=True, help="Start over; the old run is kept as FOLDER.old.")
@click.option("--dry-run", is_flag=True, help="Say what would be measured and tried, and stop.")
@click.option("--table", type=existing_file(), help="Start from this table of the first device.")
@click.option(
    "--multiple",
    type=int,
    metavar="CHANNELS",
    help="Widths are multiples of it.  [default: the device's block, or 8]",
)
@click.option("--strategy", metavar="NAME", help=_STRATEGIES)
@click.option(
    "--select",
    help="Keep the candidate of highest accuracy, lowest loss, or least accuracy lost per saved "
    "cost: accuracy, loss, ratio or mobilenet_v3.  [default: accuracy]",
)
@click.option(
    "--importance",
    help="Which channels to keep: l2, bn_scale, taylor, output_error or random.  [default: l2; for "
    "strategy knapsack taylor]",
)
@click.option(
    "--repair/--no-repair",
    default=None,
    help="Refit, by least squares on training images, what reads the channels that went.  "
    "[default: no]",
)
@click.option(
    "--initial-reduction",
    metavar="PERCENT",
    help="Cost cut of the first iteration.  [default: 5%, less for deep networks; strategies "
    "that change many groups get to the budget in 4 iterations]",
)
@click.option("--decay", type=float, help="Factor on the cut, per iteration.  [default: 0.96]")
@click.option(
    "--rungs",
    metavar="RUNGS",
    help="How proposals are thinned out: after screening, the best 4 do a tenth of the short "
    "fine-tune, and the best 2 of them all of it.  [default: 4:10%,2:100%; for strategy several "
    "4:10%,1:100%]",
)
@click.option(
    "--finalists",
    type=int,
    metavar="N",
    help="In place of rungs, fine-tune the N best of each iteration to the end; 0 for all.",
)
@click.option(
    "--exhaustive", is_flag=True, help="Fine-tune every proposal, as the paper does: --finalists 0."
)
@click.option(
    "--screening",
    help="Who goes on: those of the lowest loss, on as few holdout images as tell, or those of "
    "the best --select on all: loss or selection.  [default: loss]",
)
@click.option(
    "--screening-error",
    metavar="PERCENT",
    help="Chance per iteration that the loss of few images misses one of the best; 0 scores all "
    "images.  [default: 5%]",
)
@click.option(
    "--inexact/--no-inexact",
    default=None,
    help="Whether to shrink groups that inspect names as taking part in what others compute, as "
    "under LayerNorm; each is scored as it computes then.  [default: inexact]",
)
@click.option(
    "--short-steps",
    type=int,
    help="Steps of each short-term fine-tune.  [default: two epochs, at most 500]",
)
@click.option(
    "--short-lr",
    type=float,
    help="Its learning rate.  [default: 0.01 for images of up to 64 pixels, 0.0045 for larger]",
)
@click.option(
    "--long-epochs",
    type=float,
    help="Epochs of the long-term fine-tune at the end.  [default: 15]",
)
@click.option(
    "--long-lr",
    type=float,
    help="Its highest learning rate.  [default: 0.3 of --lr]",
)
@click.option(
    "--distill/--no-distill",
    default=None,
    help="Whether fine-tunes learn from the unpruned network's outputs too.  [default: where they "
    "are logits of classes]",
)
@click.option(
    "--noise-aware-training",
    is_flag=True,
    default=None,
    help="Fine-tune with the noise of the first device's weights, such as crossbar:?noise=pcm.",
)
@click.option(
    "--workers",
    metavar="WHO",
    help="Who tries candidates side by side: a number of processes, GPUs such as cuda:0,cuda:1, "
    "ray for the Ray cluster that runs here, or ray://head:10001. On CPUs the result is the same, "
    "bit for bit.  [default: 1]",
)
@click.option(
    "--trial-limit",
    type=Duration(),
    help="Time without news after which a worker is ended and its trial is run elsewhere.  "
    "[default: ten times what such a trial took]",
)
@click.option(
    "--codecarbon",
    metavar="COUNTRY",
    help="Have codecarbon tell the energy of the run too, offline, as in SWE; needs "
    "netadapt[codecarbon].",
)
@json_option
@console_options
def adapt(
    config: Path | None, folder: Path | None, fresh: bool, dry_run: bool, codecarbon: str | None,
    as_json: bool, quiet: bool, verbose: bool, json_lines: bool, exhaustive: bool, **given: Any,
) -> int:  # fmt: skip
    """Shrink MODEL until what it costs, measured on a device, is within every budget."""
    if exhaustive:
        if given["finalists"] or given["rungs"]:
            raise UsageError("--exhaustive fine-tunes every proposal; give no rungs or finalists.")
        given["finalists"] = 0
    family = resolved_family(config, given)
    if dry_run:
        return _preview(family, as_json=as_json)
    from netadapt.adapt import adapt as run_adapt
    from netadapt.cli.console import Console
    from netadapt.runs import read_journal

    command = shlex.join(["netadapt", *(click.get_current_context().find_root().obj or ())])
    results: list[Result] = []
    try:
        for settings, place in zip(family, _folders(family, folder), strict=True):
            if results:
                settings = replace(settings, after=results[-1].folder)
            with Console(quiet=quiet, verbose=verbose, json_lines=json_lines) as console:
                if not fresh:
                    console.recall(read_journal(place))
                try:
                    result = run_adapt(
                        settings, place, fresh=fresh, notify=console, command=command,
                        codecarbon=codecarbon,
                    )  # fmt: skip
                except AlreadyMet as met:
                    if not results and settings is family[-1]:
                        raise
                    asked = " and ".join(map(str, settings.budgets))
                    click.echo(f"No run is needed for {asked}: {met}", err=True)
                    continue
            results.append(result)
            if not (as_json or json_lines):
                click.echo(result_text(result))
    except BudgetUnreachable:
        if results and not json_lines:
            _tell(results, as_json=as_json, family=True)
        raise
    if not json_lines:
        _tell(results, as_json=as_json, family=len(family) > 1)
    return 0 if all(result.met for result in results) else 1


def _tell(results: Sequence["Result"], *, as_json: bool, family: bool) -> None:
    """Tell of all runs together."""
    if as_json:
        told = [result.to_json() for result in results]
        echo_json({"schema": 1, "family": told} if family else told[0])
    elif family:
        click.echo(family_text(results))


def _folders(family: Sequence["RunConfig"], folder: Path | None) -> list[Path]:
    """Where each member of a family goes."""
    if folder is None:
        return [Path("runs") / settings.run_name for settings in family]
    if len(family) == 1:
        return [folder]
    return [folder / settings.budget_name for settings in family]


def _preview(family: Sequence["RunConfig"], *, as_json: bool) -> int:
    """Say what a run would do; of a family, its last, whose search is that of all."""
    from netadapt.dry_run import plan_run

    preview = plan_run(family[-1])
    if as_json:
        echo_json(preview.to_json())
        return 0
    click.echo(preview_text(preview))
    if len(family) > 1:
        click.echo(
            f"This is the search of all {len(family)} runs with one long fine-tune; each run has "
            "its own."
        )
    if family[-1].after is not None:
        click.echo(f"What {family[-1].after} has done already is counted, and is not done again.")
    return 0

"""Write the network of a run, or of one of its steps: ``netadapt export``."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from netadapt import export
from netadapt.assembly import Source, assemble
from netadapt.errors import UsageError
from netadapt.export.deployment import calibration_images, deployable
from netadapt.files import size_of, write_atomically
from netadapt.models import restore
from netadapt.platforms.measurement import DeviceInfo
from netadapt.pruning.surgery import shrink
from netadapt.runs import (
    Record,
    Run,
    Step,
    check_weights,
    last,
    read_journal,
    steps_of,
    weights_path,
)
from netadapt.runs.events import Exported, Started, Trained, Warned
from netadapt.workbench import INT8_NAME


def export_run(run: Path, out: Path, *, step: int | None = None) -> dict[str, Any]:
    """Write the network of a run, finished or not, in every format.

    Args:
        run: the run folder; only read.
        out: where to write.
        step: which iteration; ``None`` takes the result, or the last step of an unfinished run.

    Raises:
        UsageError: the folder holds no run, or no such step.
    """
    records = read_journal(run)
    chosen, weights = _chosen(run, records, step)
    started = last(records, Started)
    assert started is not None  # the first line of every journal
    config = started.settings["config"]
    subject = assemble(
        Source(
            config["model"],
            started.settings["model"]["args"],
            input_size=config["input_size"],
            data=config["data"],
            seed=config["seed"],
            limit=config.get("limit"),
            seen_by=started.settings.get("seen_by", config["weights"]),
        )
    )
    model = shrink(subject.module, subject.network, chosen.keep)
    check_weights(run, records, (weights,))
    restore(model, weights_path(run, weights))
    images = next(iter(subject.data.batches("holdout", batch_size=4)))[0]
    written = export.write_result(
        out, model, spec=subject.spec, network=subject.network, sizes=chosen.sizes, images=images
    )
    written["files"] |= export.write_preprocessing(out, subject.data.preprocessing)
    devices: Mapping[str, Any] = started.settings["devices"]
    for values in devices.values():
        info = replace(DeviceInfo.from_json(values), batch=1)
        if info.precision == "int8":
            onnx = deployable(
                model, subject.spec.input_shape, info, calibration_images(subject.data)
            )
            write_atomically(out / INT8_NAME, onnx)
            written["files"][INT8_NAME] = len(onnx)
    return written


def _chosen(run: Path, records: list[Record], step: int | None) -> tuple[Step, str]:
    """The step to write, and the name of its weights."""
    steps = steps_of(records)
    if not steps:
        raise UsageError(f"{run} holds no finished step to export; continue its run first.")
    if step is None:
        final = last(records, Trained, what="adapted", iteration=steps[-1].iteration)
        return steps[-1], "adapted" if final else steps[-1].weights
    if step > steps[-1].iteration:
        raise UsageError(f"{run} has steps 0 to {steps[-1].iteration}; there is no step {step}.")
    return steps[step], steps[step].weights


def write_missing(run: Run) -> None:
    """Write the files of a finished run anew, if some were deleted or cut."""
    exported = run.last(Exported)
    sizes = dict(exported.files) if exported else {}
    gone = [name for name, size in sizes.items() if size_of(run.folder / name) != size]
    if gone:
        run.append(Warned(f"{', '.join(gone)} had been deleted or changed: written anew."))
        export_run(run.folder, run.folder)

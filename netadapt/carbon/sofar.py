"""The energy of a run while it goes on, in a few words."""

from netadapt.carbon.footprint import footprint
from netadapt.carbon.phrases import NOT_MEASURED, amount_in_words
from netadapt.carbon.run import trainer_of
from netadapt.carbon.use import Phase, RunUse
from netadapt.runs.watch import Watch


def energy_so_far(watch: Watch) -> str:
    """Measured, estimated from the trainer's power and the time, or ``not measured``.

    Of work that a sensor has told only part of, and nothing estimates the rest, the part is told
    as a lower bound.
    """
    phases = []
    if watch.measured_s > 0:
        phases.append(Phase("measured", watch.measured_s, energy_j=watch.measured_j))
    rest_s = max(0.0, watch.worked_s - watch.measured_s)
    if rest_s > 0:
        phases.append(Phase("the rest", rest_s))
    started = watch.started
    trainer = trainer_of(started, watch.execution) if started else None
    energy = footprint(RunUse("", tuple(phases), trainer))
    if energy.known is None:
        return NOT_MEASURED
    return ("" if energy.total else "at least ") + amount_in_words(energy.known)

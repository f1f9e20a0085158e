"""The work that an event tells of: how long it took, and what it drew."""

from netadapt.runs.events import Event, Exported, Measured, Scored, TableMeasured, Trained, Tried
from netadapt.runs.trial import Phase


def works(event: Event) -> tuple[Phase, ...]:
    """What was done, by kind; empty for an event that stands for no work."""
    if isinstance(event, Tried):
        return event.outcome.phases
    if isinstance(event, Trained | Scored | Measured | Exported):
        return (event.phase,)
    if isinstance(event, TableMeasured):
        return (Phase("measuring", event.seconds, energy_j=event.energy_j, sensor=event.sensor),)
    return ()

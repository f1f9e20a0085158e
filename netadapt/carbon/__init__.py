"""What a run cost in energy and carbon, when it has paid for itself, and where and when to run.

Everything here is arithmetic on :class:`~netadapt.carbon.footprint.RunUse`, offline, with the
standard library alone. Three rules hold throughout: what was not measured is None and never 0; an
estimate says that it is one, from what, and with which range; and the year, basis and source of a
carbon intensity travel with its value.
"""

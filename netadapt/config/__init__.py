"""Every setting of a run: what decides its result, and apart from that how it is executed."""

from netadapt.config.check import check, checked
from netadapt.config.reading import load_toml, read_config
from netadapt.config.recipe import LARGE_IMAGES, SHORT_LIMIT, SMALL_IMAGES, Recipe, Tuning
from netadapt.config.run import Execution, RunConfig
from netadapt.config.rungs import RUNGS, Rung
from netadapt.config.starter import starter
from netadapt.config.workers import Workers, parse_workers

__all__ = [
    "LARGE_IMAGES",
    "RUNGS",
    "SHORT_LIMIT",
    "SMALL_IMAGES",
    "Execution",
    "Recipe",
    "RunConfig",
    "Rung",
    "Tuning",
    "Workers",
    "check",
    "checked",
    "load_toml",
    "parse_workers",
    "read_config",
    "starter",
]

"""netadapt: shrink a trained CNN until it meets budgets measured on a real device.

Every public name is here, and is imported when it is first asked for: ``import netadapt`` alone
loads neither torch nor anything else that is large.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netadapt.adapt import Result, adapt
    from netadapt.config import Execution, Recipe, RunConfig, Tuning, load_toml, read_config
    from netadapt.data import Task
    from netadapt.errors import (
        BudgetUnreachable,
        CheckFailed,
        DataError,
        DeviceError,
        ModelError,
        NetAdaptError,
        RunError,
        SettingsChanged,
        SettingsError,
        TableError,
        TrainingError,
        UnknownName,
        UsageError,
    )
    from netadapt.export import load
    from netadapt.network import Cost, Network
    from netadapt.platforms import LayerTimer, Modelled, Platform, open_platform
    from netadapt.platforms.measurement import Measurement
    from netadapt.pruning.surgery import shrink
    from netadapt.search.schedule import Schedule
    from netadapt.search.strategies import Proposal, Strategy
    from netadapt.tables.lookup import LookupTable
    from netadapt.tracing import trace
    from netadapt.units import Budget, parse_budget

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "BudgetUnreachable",
    "CheckFailed",
    "Cost",
    "DataError",
    "DeviceError",
    "Execution",
    "LayerTimer",
    "LookupTable",
    "Measurement",
    "ModelError",
    "Modelled",
    "NetAdaptError",
    "Network",
    "Platform",
    "Proposal",
    "Recipe",
    "Result",
    "RunConfig",
    "RunError",
    "Schedule",
    "SettingsChanged",
    "SettingsError",
    "Strategy",
    "TableError",
    "Task",
    "TrainingError",
    "Tuning",
    "UnknownName",
    "UsageError",
    "__version__",
    "adapt",
    "load",
    "load_toml",
    "open_platform",
    "parse_budget",
    "read_config",
    "shrink",
    "trace",
]

_HOMES = {
    "adapt": "adapt Result",
    "config": "Execution Recipe RunConfig Tuning load_toml read_config",
    "data": "Task",
    "errors": "BudgetUnreachable CheckFailed DataError DeviceError ModelError NetAdaptError "
    "RunError SettingsChanged SettingsError TableError TrainingError UnknownName UsageError",
    "export": "load",
    "network": "Cost Network",
    "platforms": "LayerTimer Modelled Platform open_platform",
    "platforms.measurement": "Measurement",
    "pruning.surgery": "shrink",
    "search.schedule": "Schedule",
    "search.strategies": "Proposal Strategy",
    "tables.lookup": "LookupTable",
    "tracing": "trace",
    "units": "Budget parse_budget",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'netadapt' has no attribute {name!r}")
    return getattr(import_module(f"netadapt.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """The package: ``netadapt.adapt`` is the function, though a module has the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

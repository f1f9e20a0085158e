"""netadapt: shrink a trained CNN until it meets a budget measured on a real device."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netadapt.export import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> object:
    """Import torch only when :func:`netadapt.export.load` is asked for."""
    if name == "load":
        from netadapt.export import load

        return load
    raise AttributeError(f"module 'netadapt' has no attribute {name!r}")

"""netadapt: shrink a trained CNN until it meets a budget measured on a real device."""

__version__ = "0.1.0"

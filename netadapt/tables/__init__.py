"""Lookup tables: what each layer costs on a device."""

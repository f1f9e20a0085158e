"""Removing channels: which, how, and the check that it was right."""

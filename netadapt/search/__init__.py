"""The search: what to try, what to keep, when to stop; without torch."""

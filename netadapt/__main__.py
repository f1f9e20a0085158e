"""``python -m netadapt``."""

from netadapt.cli import main

main()

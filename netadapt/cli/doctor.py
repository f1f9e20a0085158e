"""``netadapt doctor``."""

import click

from netadapt.cli.options import json_option, platform_option
from netadapt.cli.text import echo_json

_EPILOG = """\b
Examples:
  netadapt doctor
  netadapt doctor --on ssh://pi@raspberrypi
  netadapt doctor --json | jq '.checks[] | select(.ok | not)'
\b
Exit code 1: something without which nothing can be measured is missing.
"""


@click.command(epilog=_EPILOG)
@platform_option
@json_option
def doctor(platform: str, as_json: bool) -> int:
    """Look at what measuring needs, here and on a device, and name a remedy for what lacks."""
    from netadapt.doctor import examine, passed, report

    checks = examine(platform)
    if as_json:
        echo_json(report(checks))
        return 0 if passed(checks) else 1
    width = max(len(check.name) for check in checks)
    for check in checks:
        sign = "ok  " if check.ok else "FAIL" if check.matters else "note"
        click.echo(f"{sign}  {check.name:<{width}}  {check.found}")
        if check.remedy:
            click.echo(f"{'':6}{'':{width}}  -> {check.remedy}")
    return 0 if passed(checks) else 1

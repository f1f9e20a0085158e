"""What the shell completes besides names of commands and options: runs and platform URIs."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from netadapt.errors import UsageError

_MORE_URIS = ("ort:cpu", "ort:cpu?threads=", "ort:cpu?precision=int8", "ssh://", "replay:")


class RunFolder(click.Path):
    """A folder that holds a run; the shell is told those below ``runs`` and any folder."""

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False, path_type=Path)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Its path; of a folder of runs, as a family is in, the runs are told."""
        path = super().convert(value, param, ctx)
        if isinstance(path, Path) and not (path / "journal.jsonl").exists():
            runs = [str(journal.parent) for journal in sorted(path.glob("*/journal.jsonl"))]
            if runs:
                more = ", ..." if len(runs) > 3 else ""
                raise UsageError(f"{path} holds runs, and is none: {', '.join(runs[:3])}{more}.")
        return path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The runs below what is typed, or below ``runs``; where there is none, folders."""
        typed = Path(incomplete)
        parent = typed if incomplete.endswith("/") else typed.parent
        parents = dict.fromkeys((parent, *(() if incomplete else (Path("runs"),))))
        found = [
            CompletionItem(str(journal.parent))
            for folder in parents
            for journal in sorted(folder.glob("*/journal.jsonl"))
            if str(journal.parent).startswith(incomplete)
        ]
        return found or super().shell_complete(ctx, param, incomplete)


def platform_uris(_ctx: Any, _param: Any, incomplete: str) -> list[str]:
    """Beginnings of URIs, also behind the name that a device is given."""
    from netadapt.platforms import PLATFORMS

    name, sign, typed = (
        incomplete.rpartition("=") if "?" not in incomplete else ("", "", incomplete)
    )
    schemes = {f"{scheme}:" for scheme in PLATFORMS} - {"ssh:"}
    known = sorted(schemes | set(_MORE_URIS))
    return [name + sign + uri for uri in known if uri.startswith(typed)]

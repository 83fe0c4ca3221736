"""``luthier report``: a run's folder as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(run: Annotated[Path, typer.Argument(help="A run's folder.", metavar="RUN")]) -> None:
    """Write the report of a run, finished or not, as one HTML file."""
    from luthier.record.folder import RunFolder
    from luthier.report import write_report

    typer.echo(write_report(RunFolder(run)))

"""``luthier push``: a run's result, on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.arguments import Json, print_json


def command(
    run: Annotated[Path, typer.Argument(help="A run's folder.", metavar="RUN")],
    to: Annotated[str, typer.Option("--to", help="Repository, as OWNER/NAME; it is made where it is not there.")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="For a new repository; the hub's own choice otherwise.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch to write to.")] = None,
    as_json: Json = False,
) -> None:
    """Upload a result with its model card, fetch it again and compare."""
    from dataclasses import asdict

    from luthier.publish.push import push
    from luthier.record.folder import RunFolder

    done = push(RunFolder(run), to, private=private, revision=revision)
    if as_json:
        print_json(asdict(done))
        return
    typer.echo(f"{done.files} files in {done.repository}, branch {done.revision}, commit {done.commit}")
    typer.echo(f"checked: fetched again, its hashes are the same and its logits {done.error:.1e} of their size away")

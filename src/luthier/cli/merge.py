"""``luthier merge``: an adapter and its base as one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.arguments import Json, print_json


def command(
    adapter: Annotated[str, typer.Argument(help="A run's folder, or an adapter's.", metavar="RUN|ADAPTER")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write the whole model to; it must be empty.")],
    base: Annotated[str | None, typer.Option("--base", help="The base model, if it lies elsewhere now.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="fp32, bf16 or fp16; auto keeps the base's.")] = "auto",
    as_json: Json = False,
) -> None:
    """Merge an adapter into its base, file by file, and compare the logits before calling it done."""
    from dataclasses import asdict

    from luthier.errors import ModelError
    from luthier.model.adapter_files import adapter_directory

    if dtype not in ("auto", "fp32", "bf16", "fp16"):
        raise ModelError(f"{dtype!r} is no type of weights", place="--dtype", remedy="use auto, fp32, bf16 or fp16")
    directory = adapter_directory(adapter)
    from luthier.model.merge import merge

    done = merge(directory, out, base=base, dtype=dtype)
    if as_json:
        print_json(asdict(done))
        return
    typer.echo(f"merged into {done.directory}: {done.files} weight files in {done.dtype}")
    typer.echo(
        f"checked: its logits are {done.error:.1e} of their size away from the adapter's, which moves them by "
        f"{done.effect:.1e}"
    )

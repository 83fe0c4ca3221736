"""``luthier export``: a result, written for others to use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.arguments import Json, print_json


def command(
    model: Annotated[
        Path, typer.Argument(help="A run's folder, or a model or adapter directory.", metavar="RUN|MODEL")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to; it must be empty.")],
    kind: Annotated[
        str, typer.Option("--kind", help="full, adapter, or merged (an adapter in its base); auto is what there is.")
    ] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="fp32, bf16 or fp16; auto keeps the types there are.")] = "auto",
    shard: Annotated[str, typer.Option("--shard-size", help="Largest weight file.")] = "5GB",
    base: Annotated[str | None, typer.Option("--base", help="The base model, if it lies elsewhere now.")] = None,
    ollama: Annotated[bool, typer.Option("--ollama", help="Write an Ollama Modelfile with the chat template.")] = False,
    as_json: Json = False,
) -> None:
    """Write a model whole, as an adapter, or merged; its logits are compared before it is called done."""
    from dataclasses import asdict

    from luthier.model.adapter_files import result_directory
    from luthier.model.export import check_words, export

    directory = result_directory(model)
    check_words(kind, dtype, shard)
    text = ""
    if ollama:
        from luthier.serve.ollama import modelfile

        has_adapter = (directory / "adapter_config.json").exists()
        text = modelfile(directory, adapter=has_adapter and kind != "merged", base=base)
    done = export(directory, out, kind=kind, base=base, dtype=dtype, shard=shard)  # type: ignore[arg-type]
    if ollama:
        (out / "Modelfile").write_text(text, encoding="utf-8")
    if as_json:
        print_json(asdict(done))
        return
    typer.echo(f"{done.kind} model in {done.directory}: {done.files} weight files in {done.dtype}")
    moved = "" if done.effect is None else f", which its adapter moves by {done.effect:.1e}"
    typer.echo(f"checked: its logits are {done.error:.1e} of their size away from the result's{moved}")
    if ollama:
        typer.echo(f"for Ollama: ollama create NAME -f {done.directory / 'Modelfile'}")

"""``luthier generate``: what a trained model says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luthier.cli.arguments import Json, print_json
from luthier.cli.generation import (
    Adapter,
    Beams,
    MaxNewTokens,
    RepetitionPenalty,
    Result,
    Seed,
    System,
    Temperature,
    Template,
    TopK,
    TopP,
    settings_of,
)
from luthier.cli.imports import staying
from luthier.errors import DataError, RunError
from luthier.terminal import visible_lines

if TYPE_CHECKING:
    from luthier.recipe.evaluate import Generation
    from luthier.use.conversation import Speaker


def command(
    model: Result,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", help="What to say to it; may be given several times.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Prompts: one a line, or in .jsonl the column prompt.", metavar="FILE"),
    ] = None,
    system: System = "",
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    repetition_penalty: RepetitionPenalty = None,
    beams: Beams = None,
    seed: Seed = None,
    adapter: Adapter = True,
    template: Template = "auto",
    raw: Annotated[bool, typer.Option(help="Go on from the prompt as plain text, without a template.")] = False,
    as_json: Json = False,
) -> None:
    """Generate answers, or go on from a text; one answer appears as it is made, several are made together."""
    asked = [*(prompt or ()), *(_prompts(file) if file is not None else ())]
    if not asked:
        raise RunError("nothing is asked", place="luthier generate", remedy="give --prompt TEXT or --file FILE")
    settings = settings_of(
        model,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
        beams=beams,
    )
    with staying():
        import torch

        from luthier.data.example import Message
        from luthier.use.conversation import Speaker
        from luthier.use.result import open_to_answer

    result = open_to_answer(model)
    plain = raw or (template == "auto" and result.encoder.chat_template is None)
    if plain and system:
        raise RunError("a plain text has no system prompt", place="--system", remedy="name a --template")
    speaker = Speaker(result, None if plain else template)
    if seed is not None:
        torch.manual_seed(seed)
    before = (Message("system", system),) if system else ()
    ids = [speaker.go_on(text) if plain else speaker.prompt((*before, Message("user", text))) for text in asked]
    begun = asked if plain else [""] * len(asked)
    if len(asked) == 1 and not as_json:
        _stream(speaker, ids[0], settings, adapter, begun[0])
        return
    said = [
        first + text if plain else text.strip()
        for first, text in zip(begun, speaker.all(ids, settings, adapter=adapter), strict=True)
    ]
    if as_json:
        print_json([{"prompt": text, "answer": one} for text, one in zip(asked, said, strict=True)])
        return
    for one in said:
        typer.echo(visible_lines(one))


def _stream(speaker: Speaker, prompt: list[int], settings: Generation, adapter: bool, begun: str) -> None:
    """Print one answer as it comes, without the white space around it where it answers a question."""
    typer.echo(visible_lines(begun), nl=False)
    space, spoken = "", bool(begun)
    for piece in speaker.reply(prompt, settings, adapter=adapter):
        if not isinstance(piece, str):
            break
        text = space + piece if spoken else piece.lstrip()
        said = text.rstrip()
        space, spoken = text[len(said) :], spoken or bool(said)
        typer.echo(visible_lines(said), nl=False)
    typer.echo(visible_lines(space) if begun else "")


def _prompts(file: Path) -> Iterator[str]:
    """The prompts of a file.

    Raises:
        DataError: it cannot be read, or a line of it is no row with a prompt.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", place=str(file), remedy="give a text file in UTF-8") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _prompt(line, f"{file}:{number}") if file.suffix == ".jsonl" else line


def _prompt(line: str, place: str) -> str:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"is not JSON: {error}", place=place, remedy='write {"prompt": "..."}') from error
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
        raise DataError("has no prompt", place=place, remedy='write {"prompt": "..."}')
    return str(row["prompt"])

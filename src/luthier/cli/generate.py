"""``luthier generate``: what a trained model says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a model directory.", metavar="RUN|MODEL")],
    prompt: Annotated[list[str], typer.Option("--prompt", "-p", help="What to say to it; may be given several times.")],
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.0,
    template: Annotated[str, typer.Option(help="Chat template; auto is the model's own.")] = "auto",
    raw: Annotated[bool, typer.Option(help="Go on from the prompt as plain text, without a template.")] = False,
) -> None:
    """Generate answers, or go on from a text."""
    from luthier.evaluate.use import continuations, open_result, replies
    from luthier.recipe.evaluate import Generation

    result = open_result(model)
    settings = Generation(max_new_tokens=max_new_tokens, temperature=temperature)
    plain = raw or (template == "auto" and result.encoder.chat_template is None)
    said = continuations(result, prompt, settings) if plain else replies(result, prompt, settings, template)
    for text in said:
        typer.echo(text)

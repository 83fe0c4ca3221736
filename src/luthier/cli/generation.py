"""How answers are generated: the options of every command that makes some, on top of the run's own settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from luthier.recipe.evaluate import Generation

MaxNewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", help="Longest answer, in tokens; otherwise the run's.", min=1)
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", help="0 takes the likeliest token; otherwise the run's.", min=0, max=10),
]
TopP = Annotated[
    float | None, typer.Option("--top-p", help="Sample from the likeliest tokens of this share.", min=1e-6, max=1)
]
TopK = Annotated[int | None, typer.Option("--top-k", help="Sample from so many likeliest tokens; 0 is all.", min=0)]
RepetitionPenalty = Annotated[
    float | None, typer.Option("--repetition-penalty", help="Above 1 says less what was said.", min=1e-6)
]
Beams = Annotated[int | None, typer.Option("--beams", help="Beams of beam search.", min=1)]
Seed = Annotated[int | None, typer.Option("--seed", help="Sample the same again.", min=0)]
Result = Annotated[Path, typer.Argument(help="A run's folder, or a model directory.", metavar="RUN|MODEL")]
System = Annotated[str, typer.Option("--system", help="System prompt.")]
Template = Annotated[str, typer.Option("--template", help="Chat template; auto is the model's own.")]
Adapter = Annotated[bool, typer.Option("--adapter/--no-adapter", help="With the adapter, or the base alone.")]


def settings_of(
    model: Path,
    *,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    repetition_penalty: float | None = None,
    beams: int | None = None,
) -> Generation:
    """``evaluate.generation`` of a run, or of no recipe where there is a model alone, and what is given over it.

    Raises:
        RecipeError: the run's recipe cannot be read.
    """
    from luthier.use.recipe import generation_of

    given = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "repetition_penalty": repetition_penalty,
        "beams": beams,
    }
    return generation_of(model).model_copy(update={name: value for name, value in given.items() if value is not None})

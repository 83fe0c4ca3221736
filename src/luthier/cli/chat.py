"""``luthier chat``: a conversation with a trained model in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from luthier.cli.generation import (
    Adapter,
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
from luthier.errors import LuthierError
from luthier.terminal import visible_lines

if TYPE_CHECKING:
    from luthier.use.conversation import Conversation, Speaker

HELP = """\
/system TEXT   set the system prompt (empty: none)
/clear         begin anew, with the same system prompt
/undo          take the last question and its answer back
/retry         answer the last question once more
/adapter on|off  with the adapter or as the base model was
/temperature N   0 takes the likeliest token
/help, /quit"""


def command(
    model: Result,
    system: System = "",
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    repetition_penalty: RepetitionPenalty = None,
    seed: Seed = None,
    template: Template = "auto",
    adapter: Adapter = True,
) -> None:
    """Talk with a model: answers appear as they are made; /help tells the commands."""
    with staying():
        from luthier.use.conversation import Conversation, Speaker
        from luthier.use.result import open_to_answer

    settings = settings_of(
        model,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
        beams=1,
    )
    speaker = Speaker(open_to_answer(model), template)
    if seed is not None:
        import torch

        torch.manual_seed(seed)
    talk = Conversation(settings=settings, adapter=adapter).with_system(system)
    if sys.stdin.isatty():
        typer.echo("/help tells the commands; Ctrl-C stops an answer, Ctrl-D ends.")
    while (line := _line()) is not None:
        try:
            talk = _turn(talk, line, speaker)
        except LuthierError as error:
            for fault in error.faults:
                typer.echo(visible_lines(str(fault)), err=True)
        except EOFError:
            return


def _line() -> str | None:
    """The next line; None at the end."""
    if sys.stdin.isatty():
        typer.echo("> ", nl=False)
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None


def _turn(talk: Conversation, line: str, speaker: Speaker) -> Conversation:
    word, _, rest = line.strip().partition(" ")
    if not word:
        return talk
    if not word.startswith("/"):
        return _answered(talk.said("user", line), speaker)
    match word:
        case "/system":
            return talk.with_system(rest.strip())
        case "/clear":
            return talk.cleared()
        case "/undo":
            return talk.without_last()
        case "/retry":
            asked = [message.content for message in talk.messages if message.role == "user"]
            return _answered(talk.without_last().said("user", asked[-1]), speaker) if asked else talk
        case "/adapter":
            return _switched(talk, rest.strip(), speaker)
        case "/temperature":
            return _warmed(talk, rest.strip())
        case "/quit" | "/exit":
            raise EOFError
    typer.echo(HELP, err=word != "/help")
    return talk


def _answered(talk: Conversation, speaker: Speaker) -> Conversation:
    """With the model's answer, which is printed as it comes; Ctrl-C keeps what was said."""
    from luthier.use.conversation import Reply

    said = ""
    try:
        for piece in speaker.reply(speaker.prompt(talk.messages), talk.settings, adapter=talk.adapter):
            if isinstance(piece, Reply):
                break
            said += piece
            typer.echo(visible_lines(piece), nl=False)
    except KeyboardInterrupt:
        typer.echo(" [stopped]", nl=False, err=True)
    typer.echo()
    return talk.said("assistant", said)


def _switched(talk: Conversation, word: str, speaker: Speaker) -> Conversation:
    from dataclasses import replace

    if word not in ("on", "off") or not speaker.has_adapter:
        typer.echo(
            "write /adapter on or /adapter off" if speaker.has_adapter else "this model has no adapter", err=True
        )
        return talk
    return replace(talk, adapter=word == "on")


def _warmed(talk: Conversation, word: str) -> Conversation:
    from dataclasses import replace

    try:
        temperature = float(word)
    except ValueError:
        temperature = -1.0
    if not 0 <= temperature <= 10:
        typer.echo("write a number from 0 to 10", err=True)
        return talk
    return replace(talk, settings=talk.settings.model_copy(update={"temperature": temperature}))

"""A Modelfile, by which Ollama serves an exported model with the chat template that it was trained on.

The template's text is Go's and not Jinja's. It is taken only when it writes of several conversations, letter by letter,
what the model's own template writes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.data.encoder import Encoder
from luthier.data.jinja import compile_template
from luthier.data.template import ChatTemplate
from luthier.data.turn_format import FOLDER, PLACES, TurnFormat
from luthier.data.turn_jinja import format_of, prefix_of
from luthier.errors import ModelError, TemplateError
from luthier.evaluate.generate import stop_ids
from luthier.model.adapter_files import adapter_settings
from luthier.model.save import base_of
from luthier.model.tokenizer import local_directory
from luthier.serve.go_template import render

Talk = tuple[tuple[str, str], ...]

_SHORT: Talk = (("user", "Where is Mira?"),)
_LONG: Talk = (*_SHORT, ("assistant", "In the mill."), ("user", "And Tom?"), ("assistant", "There."), ("user", "Why?"))
TALKS: tuple[Talk, ...] = (_SHORT, _LONG, (("system", "Be brief."), *_SHORT), (("system", "Be brief."), *_LONG))
"""Conversations that a template is tried on, each up to the answer that is to come."""


def modelfile(directory: Path, *, adapter: bool, base: str | None = None) -> str:
    """The Modelfile of a model that will lie beside it.

    Args:
        directory: where the model lies now.
        adapter: whether an adapter is exported as it is, and not in its base.
        base: another place of the base model than the adapter names.

    Raises:
        ModelError: no template of Go writes what the model's own does, or Ollama cannot apply the adapter.
    """
    encoder = Encoder.open(directory)
    if encoder.chat_template is None:
        raise ModelError("has no chat template", place=str(directory), remedy="leave out --ollama")
    origin = _from_adapter(directory, base) if adapter else ["FROM ."]
    chat = ChatTemplate(encoder.chat_template, encoder)
    stops = (str(encoder.tokenizer.id_to_token(one)) for one in stop_ids(chat, encoder))
    text = go_template(encoder.chat_template, encoder)
    return "\n".join([*origin, f'TEMPLATE """{text}"""', *(f"PARAMETER stop {_quoted(one)}" for one in stops), ""])


def _from_adapter(directory: Path, base: str | None) -> list[str]:
    """The lines that name the base and lay the adapter on it.

    Raises:
        ModelError: it is more than plain LoRA.
    """
    settings = adapter_settings(directory)
    more = [name for name in ("use_dora", "modules_to_save", "trainable_token_indices") if settings.get(name)]
    if settings.get("peft_type") != "LORA" or more:
        what = ", ".join(more) or str(settings.get("peft_type"))
        raise ModelError(f"Ollama applies plain LoRA alone, not {what}", place=str(directory), remedy="--kind merged")
    under = local_directory(base, None) if base is not None else base_of(directory)
    return [f"FROM {under.resolve()}", "ADAPTER ."]


def go_template(source: str, encoder: Encoder) -> str:
    """The template of Go that writes what this Jinja template writes.

    Raises:
        ModelError: none is known.
    """
    wanted = {talk: _jinja(source, encoder, talk) for talk in TALKS}
    wanted = {talk: text for talk, text in wanted.items() if text is not None}
    for candidate in _candidates(source, encoder) if wanted else ():
        if all(_go(candidate, talk) == text for talk, text in wanted.items()):
            return candidate
    named = ", ".join(_templates())
    raise ModelError(
        "Ollama needs a template of Go, and none is known that writes what this chat template writes",
        place="chat_template",
        remedy=f"leave out --ollama and write TEMPLATE yourself; those of {named} are known",
    )


def _templates() -> dict[str, str]:
    return tomllib.loads((FOLDER / "ollama.toml").read_text(encoding="utf-8"))


def _candidates(source: str, encoder: Encoder) -> Iterator[str]:
    form = format_of(source, encoder)
    if form is not None:
        yield _of_turns(form, encoder)
        return
    tokens = {"bos": encoder.tokens.get("bos_token", ""), "eos": encoder.tokens.get("eos_token", "")}
    for text in _templates().values():
        for name, token in tokens.items():
            text = text.replace(f"[[{name}]]", token)
        if '"""' not in text:
            yield text


def _of_turns(form: TurnFormat, encoder: Encoder) -> str:
    """A turn format as a template of Go; the question's number and a folded system message have no place in it."""
    values = {
        "content": "{{ .Content }}",
        "eos": encoder.tokens.get("eos_token", ""),
        "bos": encoder.tokens.get("bos_token", ""),
        "prefix": prefix_of(encoder),
    }

    def shown(pieces: tuple[str, ...], **others: str) -> str:
        return PLACES.sub(lambda found: {**values, **others}.get(found[1], ""), "".join(pieces))

    def first(pieces: tuple[str, ...], **others: str) -> str:
        return shown(pieces, **others).removeprefix(values["bos"])

    default = ""
    if form.default_system is not None and form.system:
        default = f"{{{{ if not .System }}}}{first(form.system, content=form.default_system)}{{{{ end }}}}"
    turns = "{{ else }}".join(
        f'{{{{ if eq .Role "{role}" }}}}{(first if role == "system" else shown)(pieces)}'
        for role, pieces in form.roles.items()
        if role != "observation"
    ).replace("{{ else }}{{ if", "{{ else if")
    begin, ask = first(form.begin), shown(form.assistant[: form.header])
    return f"{begin}{default}{{{{ range .Messages }}}}{turns}{{{{ end }}}}{{{{ end }}}}{ask}"


def _jinja(source: str, encoder: Encoder, talk: Talk) -> str | None:
    """What the model's own template writes, without the token that Ollama puts first; None where it refuses."""
    tokens = {"bos_token": "", "eos_token": "", **encoder.tokens}
    messages: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in talk]
    try:
        text = compile_template(source)(
            messages=messages, tools=None, documents=None, add_generation_prompt=True, **tokens
        )
    except TemplateError:
        return None
    return text.removeprefix(tokens["bos_token"])


def _go(source: str, talk: Talk) -> str:
    system = "\n\n".join(content for role, content in talk if role == "system")
    return render(source, {"System": system, "Messages": [{"Role": role, "Content": text} for role, text in talk]})


def _quoted(word: str) -> str:
    return f'"""{word}"""' if '"' in word else json.dumps(word, ensure_ascii=False)

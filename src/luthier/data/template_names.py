"""What ``data.template`` may name, the Jinja text behind it, and whether a tokenizer knows its tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from luthier.data.encoder import Encoder
from luthier.data.turn_format import FOLDER, formats
from luthier.data.turn_jinja import format_of, jinja_of
from luthier.errors import TemplateError, nearest

AUTO_ELSE = "auto/"
"""What stands before the template to take where the tokenizer has none."""

_LISTED = re.compile(r"\{#- control:(.*?)-#\}")
_LIKELY = re.compile(r"<\|[^|<>{}\s'\"]+\|>")


def template_source(name: str, encoder: Encoder, arguments: Mapping[str, object] | None = None) -> str:
    """The Jinja text behind ``data.template``; ``arguments`` are set at its beginning, so that it is saved with them.

    Raises:
        TemplateError: an unknown name, a missing file, ``auto`` where the tokenizer has no template, or arguments that
            the template does not read.
    """
    source = _source(name, encoder)
    unread = [one for one in arguments or () if not re.search(rf"\b{re.escape(one)}\b", source)]
    if unread or (arguments and format_of(source, encoder) is not None):
        raise TemplateError(
            f"the template {name} does not read {', '.join(unread or arguments or ())}",
            place="data.template_arguments",
            remedy="leave it out, or use a template that does",
        )
    said = (
        f"{{% set {one} = {json.dumps(value, ensure_ascii=False)} %}}\n" for one, value in (arguments or {}).items()
    )
    return "".join(said) + source


def _source(name: str, encoder: Encoder) -> str:
    if name.startswith(AUTO_ELSE):
        return encoder.chat_template or _source(name.removeprefix(AUTO_ELSE), encoder)
    if name == "auto":
        if encoder.chat_template is None:
            raise TemplateError(
                "the tokenizer has no chat template", place="data.template", remedy=f"name one: {_named()}"
            )
        return encoder.chat_template
    if name in formats():
        return jinja_of(formats()[name], encoder)
    path = FOLDER / f"{name}.jinja" if "/" not in name and "." not in name else Path(name)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        near = nearest(name, template_names())
        remedy = f"did you mean {near}?" if near else f"name a .jinja file or one of: {_named()}"
        raise TemplateError(f"{name!r} is not a chat template", place="data.template", remedy=remedy) from error


def template_names() -> list[str]:
    """The names that ``data.template`` knows, besides ``auto`` and files."""
    return sorted({*formats(), *(path.stem for path in FOLDER.glob("*.jinja"))})


def _named() -> str:
    ours = [name for name in template_names() if "/" not in name]
    return ", ".join([*ours, "firefly/ and a name of Firefly's", "fastchat/ and a name of FastChat's"])


def missing_tokens(name: str, encoder: Encoder) -> list[str]:
    """The control tokens of a template that the tokenizer does not know, so that it reads them as ordinary text.

    ``eos_token`` stands for an end token that the template writes and the tokenizer does not have. Of a template that
    is not ours, only tokens of the form ``<|name|>`` are found.

    Raises:
        TemplateError: there is no such template.
    """
    source = template_source(name, encoder)
    form, listed = format_of(source, encoder), _LISTED.search(source)
    if form is not None:
        wanted = list(form.control)
    else:
        wanted = listed[1].split() if listed else list(dict.fromkeys(_LIKELY.findall(source)))
    missing = [token for token in wanted if not _is_one(token, encoder)]
    return [*missing, "eos_token"] if "eos_token" in source and encoder.id_of("eos_token") is None else missing


def _is_one(token: str, encoder: Encoder) -> bool:
    return encoder.encode([token]) == [[encoder.tokenizer.token_to_id(token)]]

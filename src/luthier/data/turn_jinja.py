"""A turn format as a Jinja chat template, so that a saved tokenizer renders the same text without Luthier."""

from __future__ import annotations

import re

from luthier.data.encoder import Encoder
from luthier.data.turn_format import PLACES, TurnFormat, formats

_MARK = re.compile(r"\{#- luthier turns: (\S+) -#\}")
_OPENS = "messages[0]['role'] == 'system'"
_CONTENT = "{%- set content = message['content'] STRIP -%}"
_ARGUMENTS = (
    "{%- set written = namespace(text='') -%}"
    "{%- for key, value in call['function']['arguments'].items() -%}"
    "{%- set written.text = written.text ~ (', ' if not loop.first else '') ~ key ~ '=' ~ '%r' | format(value) -%}"
    "{%- endfor -%}"
)


def jinja_of(form: TurnFormat, encoder: Encoder) -> str:
    """The template's text. It depends on the encoder only where a format asks for the tokenizer's own prefix."""
    prefix = prefix_of(encoder)
    lines = [f"{{#- luthier turns: {form.name} -#}}", _show(form.begin, prefix)]
    if form.tools is not None:
        lines += ["{%- if tools -%}", *_tools(form), _show(form.system, prefix), "{%- endif -%}"]
    lines += [*_system(form, prefix), "{%- set count = namespace(user=0) -%}", "{%- for message in messages -%}"]
    lines += [_CONTENT.replace(" STRIP", " | trim" if form.strip else "")]
    for number, (role, pieces) in enumerate(form.roles.items()):
        lines.append(f"{{%- {'elif' if number else 'if'} message['role'] == {role!r} -%}}")
        lines += _turn(form, role, pieces, prefix)
    lines += [
        "{%- else -%}",
        f"{{{{- raise_exception({form.name + ' has no place for the role '!r} ~ message['role']) -}}}}",
        "{%- endif -%}",
        "{%- endfor -%}",
    ]
    ask, end = _show(form.assistant[: form.header], prefix), _show(form.end, prefix)
    if ask or end:
        lines.append(f"{{%- if add_generation_prompt -%}}{ask}{{%- else -%}}{end}{{%- endif -%}}")
    return "\n".join(line for line in lines if line) + "\n"


def format_of(source: str, encoder: Encoder) -> TurnFormat | None:
    """The format that a Jinja text was made from; None when it is another's, or was changed since."""
    mark = _MARK.match(source)
    form = formats().get(mark[1]) if mark else None
    return form if form is not None and source.strip() == jinja_of(form, encoder).strip() else None


def prefix_of(encoder: Encoder) -> str:
    """The text of the control tokens that the tokenizer itself puts before a text."""
    return "".join(str(encoder.tokenizer.id_to_token(one)) for one in encoder.prefix)


def _tools(form: TurnFormat) -> list[str]:
    """What makes ``content`` the list of tools."""
    if not form.tool_entry:
        return [f"{{%- set content = {form.tools!r} ~ (tools | tojson(indent=4)) -%}}"]
    parts = re.split(r"\{(name|json)\}", form.tool_entry)
    values = {"name": "function['name']", "json": "(function | tojson(indent=4))"}
    entry = " ~ ".join(values[part] if number % 2 else repr(part) for number, part in enumerate(parts) if part)
    return [
        f"{{%- set listed = namespace(text={form.tools!r}) -%}}",
        "{%- for tool in tools -%}",
        "{%- set function = tool['function'] or tool -%}",
        f"{{%- set listed.text = listed.text ~ {entry} -%}}",
        "{%- endfor -%}",
        "{%- set content = listed.text -%}",
    ]


def _turn(form: TurnFormat, role: str, pieces: tuple[str, ...], prefix: str) -> list[str]:
    if role == "system" and form.folds_system:
        return []
    if role == "user" and any("{index}" in piece for piece in pieces):
        return ["{%- set count.user = count.user + 1 -%}", _show(pieces, prefix)]
    if role == "user" and form.folds_system:
        return [_show(pieces, prefix), "{%- set folded.system = '' -%}"]
    if role != "assistant" or not form.call:
        return [_show(pieces, prefix)]
    arguments = "(call['function']['arguments'] | tojson)" if form.json_calls else "written.text"
    called = f"{form.call[0]!r} ~ {arguments} ~ {form.call[1]!r}"
    return [
        "{%- if content or not message['tool_calls'] -%}",
        _show(pieces, prefix),
        "{%- endif -%}",
        "{%- for call in message['tool_calls'] or [] -%}",
        *([] if form.json_calls else [_ARGUMENTS]),
        f"{{%- set content = {called} -%}}",
        _show(pieces, prefix, name="call['function']['name']"),
        "{%- endfor -%}",
    ]


def _system(form: TurnFormat, prefix: str) -> list[str]:
    """What comes of a system message that is not in the conversation, or that stands inside a question."""
    if form.folds_system:
        default = f"{form.default_system!r}"
        if form.system_with_input is not None:
            first = "(messages | selectattr('role', 'equalto', 'user') | first)['content']"
            default = f"({form.system_with_input!r} if {form.input_heading!r} in {first} else {default})"
        return [f"{{%- set folded = namespace(system=messages[0]['content'] if {_OPENS} else {default}) -%}}"]
    if form.default_system is None or not form.system:
        return []
    default = f"{{%- set content = {form.default_system!r} -%}}{_show(form.system, prefix)}"
    return [f"{{%- if not ({_OPENS}) -%}}{default}{{%- endif -%}}"]


def _show(pieces: tuple[str, ...], prefix: str, name: str = "''") -> str:
    values = {
        "content": "content",
        "name": name,
        "index": "count.user",
        "system": "folded.system",
        "eos": "eos_token",
        "bos": "bos_token",
        "prefix": repr(prefix),
    }
    parts = PLACES.split("".join(pieces))
    terms = [values[part] if odd else repr(part) for odd, part in zip([0, 1] * len(parts), parts, strict=False) if part]
    shown = " ~ ".join(term for term in terms if term != "''")
    return f"{{{{- {shown} -}}}}" if shown else ""

"""Axolotl's names of chat templates: which of them are there, in the same text."""

from __future__ import annotations

from luthier.dialects.table import Effect, applied, refused, replaced
from luthier.errors import nearest

_LAST_SYSTEM = "a system turn stands at the last question; there only a question without an answer had it"
_THOUGHT = "a generated answer begins its own thought here; there the prompt began it with <think>"

_CHANNEL = (
    "a generated answer may begin a thought of its own, and the last answer's is learned; there the prompt wrote an "
    "empty one, and only thoughts beside calls of tools were read"
)

SAME = {
    "chatml": "",
    "llama3": "",
    "gemma": "a system turn, which it refused there, stands before the first question",
    "phi_35": "",
    "qwen3": _THOUGHT,
    "qwen3_5": _THOUGHT,
    "qwen_25": "",
    "gemma3": "",
    "gemma3n": "",
    "falcon_h1": "",
    "llama4": "",
    "phi_3": "",
    "phi_4": "",
    "cohere": "",
    "aya": "",
    "deepseek_v2": "",
    "exaone": "",
    "mistral_v1": "",
    "mistral_v2v3": _LAST_SYSTEM,
    "mistral_v3_tekken": _LAST_SYSTEM,
    "alpaca": "questions and answers as turns under Alpaca's headings, without its preamble",
    "metharme": "white space around a system text is left out",
    "jamba": "",
    "nemotron_h": "",
    "deepseek_v3": "",
    "gemma4": _CHANNEL,
    "gemma4_unified": _CHANNEL,
}
"""Axolotl's own templates whose text one of ours has, and what is to be said of them."""

OURS = {
    "phi_35": "phi3",
    "qwen3_5": "qwen3",
    "gemma3": "gemma",
    "gemma3n": "gemma",
    "gemma4_unified": "gemma4",
    "aya": "cohere",
    "alpaca": "alpaca_chat",
    "nemotron_h": "chatml",
}
"""What ours is called where the names differ."""

FALLBACK = "tokenizer_default_fallback_"


def template_named(name: str) -> Effect:
    """What ``chat_template: name`` asks for."""
    if name == "tokenizer_default":
        return applied({"data.template": "auto"})
    other = name.removeprefix(FALLBACK)
    if name.startswith(FALLBACK) and other in SAME:
        return applied({"data.template": f"auto/{OURS.get(other, other)}"}, SAME[other])
    if name.startswith(FALLBACK):
        note = f"the tokenizer's own; {other} is not there for one that has none, and the plan then names another"
        return applied({"data.template": "auto"}, note)
    if name in SAME:
        return applied({"data.template": OURS.get(name, name)}, SAME[name])
    if name == "jinja":
        return replaced({}, "the template is the one that chat_template_jinja names")
    near = nearest(name, SAME)
    return refused(
        f"Axolotl's own copy of the template {name!r} is not there",
        (f"did you mean {near}? Otherwise " if near else "")
        + "write tokenizer_default for the tokenizer's own, or chat_template_jinja: FILE.jinja",
    )

"""Axolotl's names of chat templates: which of them are there, in the same text."""

from __future__ import annotations

from luthier.dialects.table import Effect, applied, refused, replaced

SAME = {"chatml": "", "llama3": "", "gemma": "a system turn, which it refused there, stands before the first question"}
"""Axolotl's own templates whose text ours of that name has, and what is to be said of them."""

FALLBACK = "tokenizer_default_fallback_"


def template_named(name: str) -> Effect:
    """What ``chat_template: name`` asks for; ``auto`` falls back on ChatML where the tokenizer has no template."""
    if name == "tokenizer_default":
        return applied({"data.template": "auto"})
    if name == FALLBACK + "chatml":
        return applied({"data.template": "auto"}, "the tokenizer's own, or chatml where it has none")
    if name.startswith(FALLBACK):
        other = name.removeprefix(FALLBACK)
        note = f"the tokenizer's own; where it has none, chatml takes the place of {other}"
        return applied({"data.template": "auto"}, note)
    if name in SAME:
        return applied({"data.template": name}, SAME[name])
    if name == "jinja":
        return replaced({}, "the template is the one that chat_template_jinja names")
    return refused(
        f"Axolotl's own copy of the template {name!r} is not there",
        "write tokenizer_default for the tokenizer's own, or chat_template_jinja: FILE.jinja",
    )

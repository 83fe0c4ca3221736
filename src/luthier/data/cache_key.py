"""Where prepared data lie: the hash of all that makes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from luthier.data.cache import content_key, entry
from luthier.data.encoder import Encoder
from luthier.data.hub_rows import hub_state
from luthier.data.jinja import day_in
from luthier.data.preference import prompt_limit
from luthier.data.source import files_of
from luthier.data.streaming import enough_for
from luthier.data.template_names import template_source
from luthier.recipe import Recipe
from luthier.recipe.source import Source
from luthier.registry import code_of

MADE_BY = ("max_length", "min_length", "overlong", "vanished", "bad_rows", "deduplicate", "near_duplicates")
"""Settings of data that decide which documents come out."""


def cache_entry(recipe: Recipe, sources: Sequence[Source], tokenizer: Path, encoder: Encoder) -> Path:
    """Where the prepared data of these sources lie: under the hash of all that makes them."""
    data = recipe.data
    files = [files_of(source) for source in sources]
    local = list(chain.from_iterable(files))
    chat = recipe.method.kind != "pretrain"
    codes = [code_of("formats", source.format) for source in sources if source.format != "auto"]
    states = ["" if own else hub_state(source) for source, own in zip(sources, files, strict=True)]
    enough = enough_for(recipe, sources)
    settings = {
        **({"states": states} if any(states) else {}),
        **({"enough": [enough.documents, enough.tokens]} if enough else {}),
        "sources": [
            source.model_dump(mode="json", exclude={"path", "weight"} if own else {"weight"})
            for source, own in zip(sources, files, strict=True)
        ],
        "files": list(map(len, files)),
        "names": [str(path) for path in local],
        **({"code": [version for version, _ in codes]} if any(version for version, _ in codes) else {}),
        "method": recipe.method.kind,
        **prompt_limit(recipe),
        **{name: getattr(data, name) for name in MADE_BY},
        **({name: getattr(data, name) for name in ("system", "train_on", "last_turn_only")} if chat else {}),
    }
    named = sorted(path for path in tokenizer.glob("*token*.json") if path.is_file())
    code = list(chain.from_iterable(files for _, files in codes))
    return entry(data.cache, "tokens", content_key([*local, *named, *code], template_texts(recipe, encoder), settings))


def template_texts(recipe: Recipe, encoder: Encoder) -> tuple[str, ...]:
    """What decides the text of conversations: the template, and the day where it may write that."""
    data = recipe.data
    if recipe.method.kind == "pretrain":
        return ()
    texts: tuple[str, ...] = (data.template, encoder.chat_template or "")
    if data.template != "auto" or data.template_arguments:
        texts = (template_source(data.template, encoder, data.template_arguments),)
    day = day_in("".join(texts))
    return (*texts, day) if day else texts

"""Conversations, recipes and tokenizers that the tests of the data room are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.span import Span
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.data.tokens import Tokens, tokenise
from luthier.recipe import Recipe
from luthier.recipe.source import Source
from luthier.recipe.validate import build
from tests.conftest import World


def recipe_of(world: World, **sections: Any) -> Recipe:
    return build(world.recipe(**sections), lambda path: ".".join(map(str, path)))


def source_of(path: Path | str, **settings: Any) -> Source:
    return Source(path=str(path), **settings)


def talk(*turns: tuple[str, str], origin: str = "talk.jsonl:7") -> Example:
    return Example(tuple(Message(role, content) for role, content in turns), origin)


def template_of(name: str, encoder: Encoder, **settings: Any) -> ChatTemplate:
    source = name if "{" in name else template_source(name, encoder)
    return ChatTemplate(source, encoder, **settings)


def text_of_spans(spans: Sequence[Span]) -> str:
    return "".join(span.text for span in spans)


def learned(spans: Sequence[Span]) -> list[str]:
    """The learned stretches of a rendering."""
    texts: list[str] = []
    before = False
    for span in spans:
        if span.trained and before:
            texts[-1] += span.text
        elif span.trained:
            texts.append(span.text)
        before = span.trained
    return texts


def tokens_of(spans: Sequence[Span], encoder: Encoder) -> Tokens:
    return tokenise([spans], ["talk.jsonl:7"], encoder)[0]


def learned_by_id(tokens: Tokens, encoder: Encoder) -> list[str]:
    """The learned stretches of a document, read back from its ids."""
    runs: list[list[int]] = []
    before = False
    for one, trained in zip(tokens.ids.tolist(), tokens.trained.tolist(), strict=True):
        if trained and before:
            runs[-1].append(one)
        elif trained:
            runs.append([one])
        before = trained
    return [encoder.decode(run, skip_control=False) for run in runs]


def make_tokenizer(
    directory: Path,
    *,
    special: Sequence[str] = ("<s>", "</s>", "<|im_start|>", "<|im_end|>"),
    ordinary: Sequence[str] = (),
    around: str | None = None,
    **config: Any,
) -> Path:
    """A small byte-level tokenizer; ``around`` is what its post-processor writes, such as ``<s> $A </s>``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["Where is the mill? The mill is here, user and assistant."] * 4, trainer)
    tokenizer.add_tokens([AddedToken(token, special=False) for token in ordinary])
    if around:
        named = [token for token in special if token in around.split()]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=around, special_tokens=[(token, tokenizer.token_to_id(token)) for token in named]
        )
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "</s>", **config}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return directory

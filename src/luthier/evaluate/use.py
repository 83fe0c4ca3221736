"""A saved result, opened for use: replies, continuations, figures on rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from luthier.data.encoder import Encoder
from luthier.data.example import TEXT, Example, Message
from luthier.data.pipeline import Preparation, examples
from luthier.data.store import collect
from luthier.data.template import ChatTemplate, template_source
from luthier.errors import ModelError
from luthier.evaluate.generate import answer, generate, stop_ids
from luthier.evaluate.loss import mean_loss
from luthier.methods.causal import SupervisedFineTuning
from luthier.model.attention import register
from luthier.model.save import load_result
from luthier.recipe import Recipe
from luthier.recipe.data import Data, Source
from luthier.recipe.evaluate import Generation
from luthier.recipe.method import Method


@dataclass(frozen=True, slots=True)
class Result:
    """A model and its tokenizer."""

    model: Any
    encoder: Encoder
    directory: Path


def open_result(path: Path) -> Result:
    """Open a run's folder, or a model or adapter directory.

    Raises:
        ModelError: there is neither.
    """
    directory = result_directory(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Result(load_result(directory, register()).to(device), Encoder.open(directory), directory)


def result_directory(path: Path) -> Path:
    """Where a run's result lies, or a model's or adapter's own directory.

    Raises:
        ModelError: there is neither.
    """
    directory = path / "model" if (path / "model").is_dir() else path
    if not ((directory / "config.json").exists() or (directory / "adapter_config.json").exists()):
        raise ModelError(
            "is neither a finished run nor a model directory",
            place=str(path),
            remedy="give a run's folder, or luthier train first",
        )
    return directory


def replies(result: Result, prompts: Sequence[str], settings: Generation, template: str) -> list[str]:
    """The model's reply to each prompt, as the one user turn of a conversation."""
    chat = ChatTemplate(template_source(template, result.encoder), result.encoder)
    asked = [Example((Message("user", prompt),), f"prompt {number}") for number, prompt in enumerate(prompts, 1)]
    return [one.answer for one in answer(result.model, asked, chat, result.encoder, settings)]


def continuations(result: Result, prompts: Sequence[str], settings: Generation) -> list[str]:
    """How the model goes on from each text."""
    encoder = result.encoder
    ids = [[*encoder.prefix, *one] for one in encoder.encode(prompts)]
    new = generate(result.model, ids, settings, stops=stop_ids(None, encoder), pad=encoder.id_of("pad_token") or 0)
    return [prompt + encoder.decode(one) for prompt, one in zip(prompts, new, strict=True)]


def measure(
    result: Result, data: Sequence[str], *, template: str, generate: bool, max_new_tokens: int
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """(figures, answers) on the rows of some sources.

    Raises:
        DataError: rows that cannot be read, or that hold no trained token.
    """
    sources = tuple(Source(path=path) for path in data)
    asked = list(examples(Recipe(), sources))
    plain = all(example.messages[0].role == TEXT for example in asked)
    longest = int(getattr(result.model.config, "max_position_embeddings", 0) or 1 << 20)
    recipe = Recipe(
        method=Method(kind="pretrain" if plain else "sft"),
        data=Data(template=template, max_length=longest, overlong="split" if plain else "truncate", vanished="drop"),
    )
    work = Preparation(recipe, result.encoder)
    store = collect(work.documents(asked), work.summary())
    loss, count, _ = mean_loss(
        result.model,
        SupervisedFineTuning(),
        store,
        range(len(store)),
        capacity=2048,
        device=result.model.device,
        autocast=nullcontext,
    )
    figures = {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "tokens": float(count)}
    if plain or not generate:
        return figures, []
    chat = work.template()
    answers = answer(result.model, asked, chat, result.encoder, Generation(max_new_tokens=max_new_tokens))
    rows: list[dict[str, Any]] = [
        {"question": a.question, "reference": a.reference, "answer": a.answer, "scores": a.scores(("exact_match",))}
        for a in answers
    ]
    figures["exact_match"] = sum(row["scores"]["exact_match"] for row in rows) / len(rows)
    return figures, rows

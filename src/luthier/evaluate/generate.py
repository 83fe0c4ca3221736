"""Answers by generation, from the very prompt ids that training used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.template import ChatTemplate
from luthier.data.tokens import tokenise
from luthier.recipe.evaluate import Generation
from luthier.registry import resolve

ATTENTION = "sdpa"
"""Generation fills a cache from left-padded prompts, which document-isolated attention does not do."""

Heard = Callable[[torch.Tensor], bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, the reference answer of the row, and what the model said."""

    origin: str
    question: str
    reference: str
    answer: str
    extra: dict[str, Any]

    def scores(self, metrics: Sequence[str]) -> dict[str, float]:
        """Each metric's number."""
        return {name: float(resolve("metrics", name)(self.answer, self.reference)) for name in metrics}


def prompt_ids(example: Example, template: ChatTemplate, encoder: Encoder) -> list[int]:
    """The ids before the answer: the beginning of the ids the same row has in training."""
    tokens = tokenise([template.prompt(example)], [example.origin], encoder)[0]
    return [int(one) for one in tokens.ids]


def stop_ids(template: ChatTemplate | None, encoder: Encoder) -> list[int]:
    """Ids that end an answer: the tokenizer's own end, and what ends a turn in the template."""
    written = template.terminators() if template else ()
    ends = [encoder.id_of("eos_token"), *(encoder.tokenizer.token_to_id(token) for token in written)]
    return list(dict.fromkeys(one for one in ends if one is not None))


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    *,
    stops: Sequence[int],
    pad: int,
    batch: int = 64,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    told: Callable[[int], None] | None = None,
    heard: Heard | None = None,
) -> list[list[int]]:
    """New ids for each prompt, without the stop. Prompts of similar length go together; order is kept.

    Args:
        told: is given how many prompts are answered.
        heard: is given each batch's ids [rows, so far] after each new token, and ends it by saying True.
    """
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    results: list[list[int]] = [[]] * len(prompts)
    before, training = model.config._attn_implementation, model.training
    model.set_attn_implementation(ATTENTION)
    model.eval()
    try:
        for start in range(0, len(order), batch):
            group = order[start : start + batch]
            with torch.no_grad(), autocast():
                answers = _batch(model, [prompts[index] for index in group], settings, list(stops), pad, heard)
            for index, answer in zip(group, answers, strict=True):
                results[index] = answer
            if told:
                told(start + len(group))
    finally:
        model.set_attn_implementation(before)
        model.train(training)
    return results


def _batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    stops: list[int],
    pad: int,
    heard: Heard | None = None,
) -> list[list[int]]:
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    sampled = settings.temperature > 0
    sampling: dict[str, Any] = (
        {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": settings.top_k} if sampled else {}
    )
    if heard:
        sampling["stopping_criteria"] = [lambda ids, _: torch.full((len(ids),), heard(ids), device=ids.device)]
    output = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=settings.max_new_tokens,
        do_sample=sampled,
        num_beams=settings.beams,
        repetition_penalty=settings.repetition_penalty,
        eos_token_id=stops or None,
        pad_token_id=pad,
        use_cache=True,
        **sampling,
    )
    return [_until_stop(row.tolist(), stops) for row in output[:, longest:]]


def _until_stop(ids: list[int], stops: Sequence[int]) -> list[int]:
    for position, one in enumerate(ids):
        if one in stops:
            return ids[:position]
    return ids


def answer(
    model: Any,
    examples: Sequence[Example],
    template: ChatTemplate,
    encoder: Encoder,
    settings: Generation,
    *,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    told: Callable[[int], None] | None = None,
) -> list[Answer]:
    """The model's answer to the last turn of each example."""
    pad = encoder.id_of("pad_token")
    answers = generate(
        model,
        [prompt_ids(example, template, encoder) for example in examples],
        settings,
        stops=stop_ids(template, encoder),
        pad=0 if pad is None else pad,
        autocast=autocast,
        told=told,
    )
    return [
        Answer(
            origin=example.origin,
            question=next((m.content for m in reversed(example.messages) if m.role == "user"), ""),
            reference=example.messages[-1].content if example.messages[-1].role == "assistant" else "",
            answer=encoder.decode(ids).strip(),
            extra=example.extra,
        )
        for example, ids in zip(examples, answers, strict=True)
    ]

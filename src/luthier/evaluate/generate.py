"""Answers by generation, from the very prompt ids that training used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.template import ChatTemplate
from luthier.data.tokens import tokenise
from luthier.evaluate.loss import Among
from luthier.model.attention_alone import is_alone
from luthier.model.attention_own import own_attention
from luthier.recipe.evaluate import Generation

ROWS = 64
"""Prompts that are answered together, where nobody says how many."""

Heard = Callable[[torch.Tensor], bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, the reference answer of the row, and what the model said."""

    origin: str
    question: str
    reference: str
    answer: str
    extra: dict[str, Any]


def prompt_ids(example: Example, template: ChatTemplate, encoder: Encoder) -> list[int]:
    """The ids before the answer: the beginning of the ids the same row has in training."""
    tokens = tokenise([template.prompt(example)], [example.origin], encoder)[0]
    return [int(one) for one in tokens.ids]


def stop_ids(template: ChatTemplate | None, encoder: Encoder) -> list[int]:
    """Ids that end an answer: the tokenizer's own end, and what ends a turn in the template."""
    written = template.terminators() if template else ()
    ends = [encoder.id_of("eos_token"), *(encoder.tokenizer.token_to_id(token) for token in written)]
    return list(dict.fromkeys(one for one in ends if one is not None))


def positions_of(model: Any) -> int:
    """How many tokens a model has positions for; a very large number where its config sets no limit."""
    config = model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", 0) or 1 << 20)


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    *,
    stops: Sequence[int],
    pad: int,
    rows: int = ROWS,
    tokens: int | None = None,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    told: Callable[[int], None] | None = None,
    heard: Heard | None = None,
    seed: int | None = None,
    among: Among | None = None,
    exchanges: bool = False,
) -> list[list[int]]:
    """New ids for each prompt, without the stop. Prompts of similar length go together; order is kept.

    An answer ends where the model has no more positions; to a prompt that fills them all it is empty.

    Args:
        rows: so many prompts at once, at most.
        tokens: so many tokens at once, prompts and answers, at most; a single prompt is always one batch.
        told: is given how many prompts are answered.
        heard: is given each batch's ids [rows, so far] after each new token, and ends it by saying True.
        seed: what sampling starts from in every batch, apart from the random numbers of whoever asks; without one it
            goes on where those are. With one, answers are the same whatever the number of processes.
        among: the processes that share out the batches; all of them have all answers in the end.
        exchanges: whether the processes exchange weights in every forward pass, so that each makes as many as the one
            that makes most.
    """
    results: list[list[int]] = [[]] * len(prompts)
    before, training, alone = model.config._attn_implementation, model.training, is_alone(model)
    if not alone:
        # A cache is filled from left-padded prompts, which document-isolated attention does not do.
        model.set_attn_implementation(own_attention(model))
    model.eval()
    done = 0
    try:
        mine: list[tuple[int, list[int]]] = []
        lengths = [len(one) for one in prompts]
        batches = list(groups(lengths, settings, positions_of(model), rows, tokens, alike=alone))
        for number, counts in _shared(len(batches), among, exchanges):
            group, longest = batches[number]
            own = settings.model_copy(update={"max_new_tokens": longest})
            with torch.no_grad(), autocast(), _seeded(seed, number, model.device):
                asked = [prompts[index] for index in group]
                answers = _batch(model, asked, own, list(stops), pad, heard, exchanges)
            mine += zip(group, answers, strict=True) if counts else ()
            done += len(group)
            if told:
                told(done)
        for some in among.all(mine) if among else [mine]:
            for index, answer in some:
                results[index] = answer
    finally:
        if not alone:
            model.set_attn_implementation(before)
        model.train(training)
    return results


def _shared(batches: int, among: Among | None, exchanges: bool) -> Iterator[tuple[int, bool]]:
    """(number, whether it counts) of the batches that this process answers: batch i is process i mod their number's.
    Where forward passes are exchanges, a process that has none left goes through another's once more."""
    index, count = (among.index, among.count) if among else (0, 1)
    for first in range(0, batches, count):
        if first + index < batches:
            yield first + index, True
        elif exchanges:
            yield first, False


@contextmanager
def _seeded(seed: int | None, number: int, device: torch.device) -> Iterator[None]:
    """Within: random numbers of a batch's own, if there is a seed; those outside go on as if nothing was drawn."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
        yield


def groups(
    lengths: Sequence[int],
    settings: Generation,
    positions: int,
    rows: int,
    tokens: int | None,
    *,
    alike: bool = False,
) -> Iterator[tuple[list[int], int]]:
    """(prompts that are answered together, the longest answer they may have), shortest prompts first.

    Prompts that leave less room than ``max_new_tokens`` go only with others that leave as much, so that no answer
    depends on what else is asked. ``alike``: only prompts of one length go together, so that a state runs over no
    padding.

    >>> list(groups([3, 9, 2], Generation(max_new_tokens=4), 10, 64, None))
    [([2, 0], 4), ([1], 1)]
    """
    group: list[int] = []
    last = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        longest = min(settings.max_new_tokens, positions - lengths[index])
        if longest < 1:
            continue
        held = (len(group) + 1) * (lengths[index] + longest) * settings.beams
        apart = longest != last or (alike and lengths[index] != lengths[group[-1] if group else index])
        if group and (apart or len(group) == rows or (tokens is not None and held > tokens)):
            yield group, last
            group = []
        group.append(index)
        last = longest
    if group:
        yield group, last


def _batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    stops: list[int],
    pad: int,
    heard: Heard | None = None,
    exchanges: bool = False,
) -> list[list[int]]:
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    sampled = settings.temperature > 0
    more: dict[str, Any] = (
        {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": settings.top_k} if sampled else {}
    )
    if settings.min_new_tokens:
        more["min_new_tokens"] = min(settings.min_new_tokens, settings.max_new_tokens)
    if settings.beams > 1:
        more["length_penalty"] = settings.length_penalty
    if heard:
        more["stopping_criteria"] = [lambda ids, _: torch.full((len(ids),), heard(ids), device=ids.device)]
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
        synced_gpus=exchanges,
        **more,
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
    seed: int = 0,
    rows: int = ROWS,
    tokens: int | None = None,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    told: Callable[[int], None] | None = None,
    among: Among | None = None,
    exchanges: bool = False,
) -> list[Answer]:
    """The model's answer to the last turn of each example.

    What is sampled follows from ``seed`` alone, and the random numbers of whoever asks go on as if nothing had been.
    The processes ``among`` which it is asked share out the batches, as ``generate`` says.
    """
    pad = encoder.id_of("pad_token")
    answers = generate(
        model,
        [prompt_ids(example, template, encoder) for example in examples],
        settings,
        stops=stop_ids(template, encoder),
        pad=0 if pad is None else pad,
        rows=rows,
        tokens=tokens,
        autocast=autocast,
        told=told,
        seed=seed,
        among=among,
        exchanges=exchanges,
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

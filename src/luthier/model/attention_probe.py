"""A look at a model before it trains: documents of a pack have to be isolated, and no token may see a later one.

What a kernel promises a model may undo: its layers may not hand the documents' lengths down, may mask by themselves, or
may carry a state. Three short documents go through it twice, the second time with other tokens in the second document
and another last token in the third. What stands in the first, and in the third before its last token, must not move.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from luthier.errors import ModelError
from luthier.model.reward import hidden_and_head

LENGTHS = (5, 6, 5)

ROUNDING = {True: 1e-3, False: 3e-2}
"""What counts as moved, as a share of how far the second document moves: in fp32, and not. Where experts are shared
out, products over other tokens round otherwise, and nothing is bit-identical."""


def check_isolation(
    model: Any, *, compute: torch.dtype, autocast: Callable[[], AbstractContextManager[object]] = nullcontext
) -> None:
    """Give a model two packs, without a gradient.

    Raises:
        ModelError: its documents see one another, or its tokens later ones.
    """
    vocabulary = model.config.get_text_config().vocab_size
    before = torch.arange(sum(LENGTHS)) * 7 % max(2, vocabulary - 1)
    after = before.clone()
    after[LENGTHS[0] : -LENGTHS[2]] += 1
    after[-1] += 1
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), autocast():
            one, two = (_states(model, ids) for ids in (before, after))
    finally:
        model.train(training)
    first, second, third = torch.split((one - two).abs().amax(-1), list(LENGTHS))
    exact = compute is torch.float32 and all(one.dtype is torch.float32 for one in model.parameters())
    least = ROUNDING[exact] * second.max()
    for unmoved, what in (
        (first, "a document sees one behind it"),
        (third[:-1], "a document sees one before it, or a token one behind it"),
    ):
        # Most of them, as rounding may have sent a single token to another expert.
        if unmoved.median() > least:
            kind = type(model.get_base_model() if hasattr(model, "get_base_model") else model).__name__
            raise ModelError(
                f"{kind} does not keep documents apart under this attention kernel: {what}",
                place="model.attention",
                remedy="set model.attention: alone",
            )


def _states(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """[T] -> [T, size]: what the model makes of every token: logits, or a reward model's hidden states."""
    told: dict[str, Any] = {
        "input_ids": ids[None].to(model.device),
        "position_ids": torch.cat([torch.arange(length) for length in LENGTHS])[None].to(model.device),
        "use_cache": False,
        "document_lengths": LENGTHS,
    }
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if hasattr(inner, "score"):
        body, _ = hidden_and_head(model)
        states: torch.Tensor = body(**told).last_hidden_state[0]
    else:
        states = model(**told).logits[0]
    return states.float()

"""Training tokenizers on texts, in the two forms that most models have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from luthier.recipe.tokenizer import TokenizerTraining

BLANK = "▁"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""What SentencePiece calls the bytes of a character that has no token of its own."""


def byte_level(texts: Iterable[str], spec: TokenizerTraining) -> Tokenizer:
    """Byte-level BPE (Radford et al. 2019)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocabulary,
        special_tokens=list(spec.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def with_blanks(texts: Iterable[str], spec: TokenizerTraining) -> Tokenizer:
    """BPE over characters, a blank being one of them, with bytes for characters that are not in the vocabulary (Kudo &
    Richardson 2018, sections 3 and 4), put together as Llama 2's is: control tokens, bytes, pieces.

    At most half the pieces are single characters, the most frequent ones.
    """
    pieces = max(2, spec.vocabulary - len(spec.special) - len(BYTES))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme="first", split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=len(spec.special) + pieces,
        special_tokens=list(spec.special),
        limit_alphabet=pieces // 2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    whole: dict[str, Any] = json.loads(tokenizer.to_str())
    trained = sorted(whole["model"]["vocab"], key=whole["model"]["vocab"].__getitem__)
    order = [*spec.special, *BYTES, *(piece for piece in trained if piece not in spec.special)]
    whole["model"] |= {"vocab": {token: number for number, token in enumerate(order)}, "byte_fallback": True}
    made = Tokenizer.from_str(json.dumps(whole))
    made.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return made

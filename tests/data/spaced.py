"""A tokenizer that works as SentencePiece does, for the tests of templates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers


def make_spaced_tokenizer(directory: Path, special: Sequence[str], texts: Sequence[str]) -> Path:
    """A small tokenizer like SentencePiece's: a space before every text, ``<s>`` before that, bytes for the rest.

    ``special`` has to hold ``<unk>``, ``<s>`` and ``</s>``.
    """
    tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=[*special, *tokens], show_progress=False)
    tokenizer.train_from_iterator(list(texts) * 4, trainer)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    tree = json.loads(tokenizer.to_str())
    tree["added_tokens"] = [token for token in tree["added_tokens"] if token["content"] not in tokens]
    (directory / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return directory

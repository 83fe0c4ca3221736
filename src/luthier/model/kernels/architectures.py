"""What sets architectures apart where attention is chosen, by their ``model_type``; torch is not needed to know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SOFT_CAPPED = frozenset({"gemma2", "vaultgemma"})
"""Attention holds its scores down with a tanh."""

WITH_SINKS = frozenset({"flint", "gpt_oss", "granite_swa", "granitemoe_swa", "hy_v4", "mimo_v2_flash"})
"""Attention has a score that belongs to no key."""

OWN_ATTENTION = frozenset(
    {
        *("bart", "big_bird", "bigbird_pegasus", "biogpt", "blenderbot", "blenderbot-small", "bloom", "blt", "cpmant"),
        *("falcon", "git", "gpt_neo", "gpt_neox_japanese", "inkling_text", "marian", "mbart", "megatron-bert", "mpt"),
        *(
            "musicgen",
            "musicgen_melody",
            "mvp",
            "nemotron",
            "openai-gpt",
            "pegasus",
            "plbart",
            "prophetnet",
            "reformer",
        ),
        *("rembert", "roformer", "stablelm", "trocr", "whisper", "xglm", "xlm", "xlnet"),
    }
)
"""Attention is the model's own, so that none of ours can be put in its place."""

WITH_STATE = frozenset(
    {
        *("bailing_hybrid", "bamba", "deepseek_v4", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba"),
        *("kimi_linear", "lfm2", "lfm2_moe", "lfm3", "mamba", "mamba2", "minimax", "nemotron_h", "olmo_hybrid"),
        *("qwen3_5", "qwen3_5_moe", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "recurrent_gemma", "rwkv"),
        *("xlstm", "zamba", "zamba2", "zaya"),
    }
)
"""Layers carry a state, or convolve, from token to token, which would go on into the next document of a pack."""

DROPOUTS = ("attention_dropout", "attn_pdrop", "attn_dropout", "attention_probs_dropout_prob")
"""What configs call the dropout of attention's weights."""

DROPOUT = {"gpt2": 0.1, "gpt_bigcode": 0.1, "emu3": 0.1}
"""What it is where a config does not say; else 0."""


def dropout_of(config: Mapping[str, Any]) -> float:
    """The dropout of attention's weights while a model trains.

    >>> dropout_of({"model_type": "llama", "attention_dropout": 0.05}), dropout_of({"model_type": "gpt2"})
    (0.05, 0.1)
    """
    said = next((config[name] for name in DROPOUTS if config.get(name) is not None), None)
    return float(DROPOUT.get(str(config.get("model_type")), 0.0) if said is None else said)

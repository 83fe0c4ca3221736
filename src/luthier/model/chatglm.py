"""ChatGLM3 checkpoints as the GLM models that transformers knows: the same network under other names. No torch.

The published ChatGLM3 fuses query, key and value of an attention layer in one matrix, and so their rows lie one after
another; everything else differs in its name alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from luthier.errors import ModelError
from luthier.recipe.adapter import Adapter

Parts = tuple[tuple[str, int], ...]
"""What a tensor becomes: (name in GLM, rows), from its first row to its last."""

FIXED: dict[str, tuple[Any, ...]] = {
    "rmsnorm": (True,),
    "post_layer_norm": (True,),
    "original_rope": (True,),
    "add_bias_linear": (False,),
    "apply_residual_connection_post_layernorm": (False,),
    "interleaved_qkv": (False,),
    "tie_word_embeddings": (False,),
    "hidden_dropout": (0,),
    "quantization_bit": (0, None),
    "pre_seq_len": (0, None),
}
"""Settings of its config that GLM has no place for, and the values that every published ChatGLM3 has there."""

DROPPED = re.compile(r"transformer\.rotary_pos_emb\.inv_freq")
"""Tensors that follow from the config."""

NAMES = {
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "dense_h_to_4h": ("gate_up_proj",),
    "dense_4h_to_h": ("down_proj",),
    "dense": ("o_proj",),
    "self_attention": ("self_attn",),
    "word_embeddings": ("embed_tokens",),
    "output_layer": ("lm_head",),
}
LIKE_LLAMA = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2")
"""Architectures whose layers are called as Llama's: GLM's names, but for two matrices in the place of one."""

OF_LLAMA = {**NAMES, "dense_h_to_4h": ("gate_proj", "up_proj")}
_NAME = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join(NAMES)})(?![A-Za-z0-9_])")


def is_chatglm(directory: Path) -> bool:
    """Whether a directory holds a checkpoint in ChatGLM's own layout."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "chatglm"


def glm_config(config: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The config of transformers' GLM for a ChatGLM3 config.

    Raises:
        ModelError: a setting is missing, or is one that GLM cannot express.
    """
    needed = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "padded_vocab_size")
    missing = [name for name in needed if not isinstance(config.get(name), int)]
    other = [
        f"{name}: {config[name]}" for name, values in FIXED.items() if name in config and config[name] not in values
    ]
    if missing or other:
        reason = f"has no {', '.join(missing)}" if missing else f"has {', '.join(other)}, which GLM cannot express"
        raise ModelError(
            f"its config {reason}", place=place, remedy="give a checkpoint of ChatGLM3, ChatGLM2 or GLM-4 as published"
        )
    heads = int(config["num_attention_heads"])
    theta = 10_000.0 * float(config.get("rope_ratio") or 1)
    return {
        "architectures": ["GlmForCausalLM"],
        "model_type": "glm",
        "vocab_size": config["padded_vocab_size"],
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["ffn_hidden_size"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": config.get("multi_query_group_num", 1) if config.get("multi_query_attention") else heads,
        "head_dim": config.get("kv_channels", 128),
        "hidden_act": "silu",
        "attention_bias": bool(config.get("add_qkv_bias") or False),
        "attention_dropout": config.get("attention_dropout", 0.0),
        "max_position_embeddings": config.get("seq_length", 2048),
        "rms_norm_eps": config.get("layernorm_epsilon", 1e-5),
        "rope_parameters": {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": 0.5},
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": config.get("eos_token_id", 2),
        "pad_token_id": config.get("pad_token_id", 0),
        "dtype": str(config.get("dtype") or config.get("torch_dtype") or "float32"),
    }


def layout(glm: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], Parts]]:
    """ChatGLM3's tensors for a GLM config: name -> (dimensions, what it becomes)."""
    hidden, inner, rows = glm["hidden_size"], glm["intermediate_size"], glm["vocab_size"]
    width, kv_width = (glm[name] * glm["head_dim"] for name in ("num_attention_heads", "num_key_value_heads"))
    found: dict[str, tuple[tuple[int, ...], Parts]] = {}

    def same(name: str, becomes: str, *dimensions: int) -> None:
        found[name] = (dimensions, ((becomes, dimensions[0]),))

    same("transformer.embedding.word_embeddings.weight", "model.embed_tokens.weight", rows, hidden)
    for number in range(glm["num_hidden_layers"]):
        old, new = f"transformer.encoder.layers.{number}.", f"model.layers.{number}."
        for norm in ("input_layernorm.weight", "post_attention_layernorm.weight"):
            same(old + norm, new + norm, hidden)
        for kind in ("weight", "bias") if glm["attention_bias"] else ("weight",):
            sizes = {"q": width, "k": kv_width, "v": kv_width}
            parts = tuple((f"{new}self_attn.{one}_proj.{kind}", size) for one, size in sizes.items())
            dimensions = (width + 2 * kv_width, hidden) if kind == "weight" else (width + 2 * kv_width,)
            found[f"{old}self_attention.query_key_value.{kind}"] = (dimensions, parts)
        same(old + "self_attention.dense.weight", new + "self_attn.o_proj.weight", hidden, width)
        same(old + "mlp.dense_h_to_4h.weight", new + "mlp.gate_up_proj.weight", 2 * inner, hidden)
        same(old + "mlp.dense_4h_to_h.weight", new + "mlp.down_proj.weight", hidden, inner)
    same("transformer.encoder.final_layernorm.weight", "model.norm.weight", hidden)
    same("transformer.output_layer.weight", "lm_head.weight", rows, hidden)
    return found


def check_tensors(glm: Mapping[str, Any], sizes: Mapping[str, tuple[int, ...]], place: str) -> dict[str, Parts]:
    """What each tensor of a checkpoint becomes; the dropped ones are left out.

    Args:
        sizes: name -> dimensions of every tensor that is there.

    Raises:
        ModelError: tensors are missing, unknown or of another shape; it names them.
    """
    due = layout(glm)
    found = {name: size for name, size in sizes.items() if not DROPPED.fullmatch(name)}
    wrong = [
        f"{name} is {list(found[name])}, not {list(dimensions)}"
        for name, (dimensions, _) in due.items()
        if found.get(name, dimensions) != dimensions
    ]
    told = [
        f"{what} {', '.join(names[:5])} ({len(names)} in all)"
        for what, names in (
            ("lacks", [name for name in due if name not in found]),
            ("has no place for", sorted(name for name in found if name not in due)),
            ("does not fit its config:", wrong),
        )
        if names
    ]
    if told:
        raise ModelError("; ".join(told), place=place, remedy="download it again, config.json and weights together")
    return {name: due[name][1] for name in found}


def glm_parameters(
    glm: Mapping[str, Any], parameters: Mapping[str, tuple[tuple[int, ...], int]], place: str
) -> tuple[dict[str, tuple[tuple[int, ...], int]], dict[str, tuple[str, ...]]]:
    """The parameters of a checkpoint, (dimensions, bytes per number) by name, under GLM's names; and the checkpoint's
    own name of each.

    Raises:
        ModelError: see ``check_tensors``.
    """
    becomes = check_tensors(glm, {name: dimensions for name, (dimensions, _) in parameters.items()}, place)
    named = [(name, new, rows) for name, parts in becomes.items() for new, rows in parts]
    found = {new: ((rows, *parameters[name][0][1:]), parameters[name][1]) for name, new, rows in named}
    return found, {new: (name,) for name, new, _ in named}


def native_names(adapter: Adapter, architecture: str) -> Adapter:
    """The adapter's settings with ChatGLM3's names of layers as GLM's, or as Llama's where a file of ChatGLM3's trains
    one: ``query_key_value`` is q, k and v.

    In a pattern each name becomes a choice. Another architecture's settings stay as they are.
    """
    if architecture not in ("glm", *LIKE_LLAMA):
        return adapter
    own = NAMES if architecture == "glm" else OF_LLAMA
    changed: dict[str, Any] = {
        "modules_to_save": tuple(new for name in adapter.modules_to_save for new in _names(name, own)),
        "rank_pattern": {_pattern(name, own): rank for name, rank in adapter.rank_pattern.items()},
        "alpha_pattern": {_pattern(name, own): alpha for name, alpha in adapter.alpha_pattern.items()},
    }
    if isinstance(adapter.targets, str):
        changed["targets"] = _pattern(adapter.targets, own)
    else:
        changed["targets"] = tuple(dict.fromkeys(new for name in adapter.targets for new in _names(name, own)))
    return adapter.model_copy(update=changed)


def _names(name: str, own: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    found = _NAME.search(name)
    if found is None:
        yield name
        return
    for new in own[found[1]]:
        for rest in _names(name[found.end() :], own):
            yield name[: found.start()] + new + rest


def _pattern(pattern: str, own: Mapping[str, tuple[str, ...]]) -> str:
    def choice(found: re.Match[str]) -> str:
        return own[found[1]][0] if len(own[found[1]]) == 1 else f"(?:{'|'.join(own[found[1]])})"

    return _NAME.sub(choice, pattern)

"""A checkpoint's parameters under the names and in the shapes that they have once transformers has loaded them.

Transformers renames what older checkpoints call otherwise, puts the name of the body before names that lack it, stacks
the matrices of a layer's experts, and leaves out what it computes itself. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from luthier.model.layer_names import FUSED

Parameters = dict[str, tuple[tuple[int, ...], int]]
"""Name -> (dimensions, bytes per number)."""

Sources = Mapping[str, tuple[str, ...]]
"""Name of a parameter -> the names in the checkpoint's files of what it is made of, where they are others."""

BODIES = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), "model"),
    **dict.fromkeys(("glm", "phi", "phi3", "opt"), "model"),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe", "deepseek_v3", "gpt_oss"), "model"),
    **dict.fromkeys(("gpt2", "bloom", "falcon"), "transformer"),
    **dict.fromkeys(("mamba", "mamba2"), "backbone"),
    "gpt_neox": "gpt_neox",
}
"""Architectures whose names are known before the model is there -> what transformers calls all but the output layer."""

RENAMED = {
    **dict.fromkeys(("mixtral", "minimax", "minimax_m2", "phimoe"), (r"\.block_sparse_moe\.", ".mlp.")),
    "gpt_neox": (r"^embed_out\.", "lm_head."),
}
"""Architecture -> (expression, what its matches become), as in transformers' ``conversion_mapping``."""

COMPUTED = re.compile(r"(^|\.)(attn|attention)\.(masked_)?bias$|(^|\.)rotary_emb\.inv_freq$|\.e_score_correction_bias$")
"""Tensors of checkpoints that are buffers, or nothing, in the model: masks, tables, and what balances experts."""

BARE = re.compile(r"(layers|h|decoder)\.")
"""How the names of layers begin where the name of the body is not before them."""

EXPERT = re.compile(r"\.experts\.(\d+)\.(\w+)\.weight$")
STACKED = {part: name for name, parts in FUSED.items() for part in (*parts, name)}


def as_loaded(parameters: Parameters, architecture: str) -> tuple[Parameters, Sources]:
    """The parameters that a model of an architecture has, and what of the checkpoint each is made of."""
    kept = [name for name in parameters if not COMPUTED.search(name)]
    body = _body(kept, architecture)
    parts: dict[str, list[str]] = {}
    for name in kept:
        parts.setdefault(_loaded(body + name if name != "lm_head.weight" else name, architecture), []).append(name)
    found = {name: _stacked([(one, *parameters[one]) for one in olds]) for name, olds in parts.items()}
    return found, {name: tuple(olds) for name, olds in parts.items() if olds != [name]}


def _body(names: Iterable[str], architecture: str) -> str:
    """What stands before every name of the body in the model and not in the checkpoint."""
    names = list(names)
    body = BODIES.get(architecture)
    if body is None or any(name.startswith(f"{body}.") for name in names) or not any(map(BARE.match, names)):
        return ""
    return f"{body}."


def _loaded(name: str, architecture: str) -> str:
    if architecture in RENAMED:
        name = re.sub(*RENAMED[architecture], name)
    found = EXPERT.search(name)
    return f"{name[: found.start()]}.experts.{STACKED[found[2]]}" if found and found[2] in STACKED else name


def _stacked(parts: list[tuple[str, tuple[int, ...], int]]) -> tuple[tuple[int, ...], int]:
    """(dimensions, bytes per number) of a parameter: an expert's matrices lie one below the other, [experts, rows,
    columns]."""
    name, dimensions, width = parts[0]
    if EXPERT.search(name) is None or len(parts) == 1:
        return dimensions, width
    experts = len({found[1] for one, _, _ in parts if (found := EXPERT.search(one))})
    return (experts, sum(one[0] for _, one, _ in parts) // experts, *dimensions[1:]), width

"""A tiny random ChatGLM3 checkpoint in its own layout, and the network it stands for, written from its description."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import silu

CONFIG: dict[str, Any] = {
    "model_type": "chatglm",
    "architectures": ["ChatGLMModel"],
    "auto_map": {"AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration"},
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_query_key_layer_scaling": True,
    "apply_residual_connection_post_layernorm": False,
    "attention_dropout": 0.0,
    "attention_softmax_in_fp32": True,
    "bias_dropout_fusion": True,
    "ffn_hidden_size": 48,
    "fp32_residual_connection": False,
    "hidden_dropout": 0.0,
    "hidden_size": 32,
    "kv_channels": 8,
    "layernorm_epsilon": 1e-5,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 4,
    "num_layers": 2,
    "original_rope": True,
    "padded_vocab_size": 520,
    "post_layer_norm": True,
    "rmsnorm": True,
    "seq_length": 256,
    "use_cache": True,
    "torch_dtype": "float32",
    "tie_word_embeddings": False,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WORDS = (
    *("people", "sophisticated", "the", "mill", "lives", "in", "tower", "number", "hello", "Hello", "world", "def"),
    *("return", "print", "今天天气", "你好", "世界", "我们", "学习", "模型", "训练"),
)


def write_checkpoint(directory: Path, **changes: Any) -> Path:
    """Config and weights, in two files with an index as published ones have them."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, **changes}
    (directory / "config.json").write_text(json.dumps(config))
    hidden, inner, vocabulary = config["hidden_size"], config["ffn_hidden_size"], config["padded_vocab_size"]
    groups = config["multi_query_group_num"] if config["multi_query_attention"] else config["num_attention_heads"]
    width, fused = (config["kv_channels"] * n for n in (4, 4 + 2 * groups))
    random_ = torch.Generator().manual_seed(0)

    def some(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=random_) * 0.2 + (1.0 if size == (hidden,) else 0.0)

    body: dict[str, torch.Tensor] = {
        "transformer.embedding.word_embeddings.weight": some(vocabulary, hidden),
        "transformer.rotary_pos_emb.inv_freq": some(config["kv_channels"] // 4),
    }
    for layer in range(config["num_layers"]):
        prefix = f"transformer.encoder.layers.{layer}."
        body |= {
            prefix + "input_layernorm.weight": some(hidden),
            prefix + "post_attention_layernorm.weight": some(hidden),
            prefix + "self_attention.query_key_value.weight": some(fused, hidden),
            prefix + "self_attention.dense.weight": some(hidden, width),
            prefix + "mlp.dense_h_to_4h.weight": some(2 * inner, hidden),
            prefix + "mlp.dense_4h_to_h.weight": some(hidden, inner),
        }
        if config["add_qkv_bias"]:
            body[prefix + "self_attention.query_key_value.bias"] = some(fused)
    head = {
        "transformer.encoder.final_layernorm.weight": some(hidden),
        "transformer.output_layer.weight": some(vocabulary, hidden),
    }
    index: dict[str, str] = {}
    for number, tensors in enumerate((body, head), 1):
        name = f"model-{number:05d}-of-00002.safetensors"
        save_file(tensors, directory / name, metadata={"format": "pt"})
        index |= dict.fromkeys(tensors, name)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return directory


def tensors_of(directory: Path) -> dict[str, torch.Tensor]:
    return {name: one for path in sorted(directory.glob("*.safetensors")) for name, one in load_file(path).items()}


def change_tensors(directory: Path, **changed: torch.Tensor | None) -> None:
    """Rewrite the first weight file with tensors put in (or, None, taken out); ``__`` in a name is a dot."""
    path = directory / "model-00001-of-00002.safetensors"
    tensors = load_file(path)
    for key, value in changed.items():
        name = f"transformer.{key.replace('__', '.')}"
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value
    save_file(tensors, path, metadata={"format": "pt"})


def reference_logits(directory: Path, ids: list[int]) -> torch.Tensor:
    """The network as published: [length] ids -> [length, vocabulary] logits, in fp32, written plainly."""
    config = json.loads((directory / "config.json").read_text())
    weights = {name.removeprefix("transformer."): one for name, one in tensors_of(directory).items()}
    heads, size = config["num_attention_heads"], config["kv_channels"]
    groups = config["multi_query_group_num"] if config["multi_query_attention"] else heads
    length, rotary = len(ids), size // 2

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + config["layernorm_epsilon"]).sqrt() * weights[name]

    base = 10_000 * config.get("rope_ratio", 1)
    angles = torch.tensor([[t / base ** (2 * i / rotary) for i in range(rotary // 2)] for t in range(length)])

    def turned(x: torch.Tensor) -> torch.Tensor:
        """Numbers 2i and 2i + 1 of a head's first half, as a point that turns with the position."""
        x = x.clone()
        even, odd = x[..., 0:rotary:2].clone(), x[..., 1:rotary:2].clone()
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        x[..., 0:rotary:2], x[..., 1:rotary:2] = even * cos - odd * sin, odd * cos + even * sin
        return x

    x = weights["embedding.word_embeddings.weight"][ids]
    for layer in range(config["num_layers"]):
        at = f"encoder.layers.{layer}."
        inside = norm(x, at + "input_layernorm.weight")
        fused = inside @ weights[at + "self_attention.query_key_value.weight"].T
        fused = fused + weights.get(at + "self_attention.query_key_value.bias", 0.0)
        query, key, value = fused.split([heads * size, groups * size, groups * size], -1)
        query, key = turned(query.view(length, heads, size)), turned(key.view(length, groups, size))
        value = value.view(length, groups, size)
        out = torch.zeros(length, heads, size)
        for head in range(heads):
            group = head // (heads // groups)
            for t in range(length):
                scores = key[: t + 1, group] @ query[t, head] / size**0.5
                out[t, head] = scores.softmax(0) @ value[: t + 1, group]
        x = x + out.reshape(length, -1) @ weights[at + "self_attention.dense.weight"].T
        inside = norm(x, at + "post_attention_layernorm.weight") @ weights[at + "mlp.dense_h_to_4h.weight"].T
        gate, up = inside.chunk(2, -1)
        x = x + (silu(gate) * up) @ weights[at + "mlp.dense_4h_to_h.weight"].T
    return norm(x, "encoder.final_layernorm.weight") @ weights["output_layer.weight"].T


def sentences(count: int = 600) -> list[str]:
    """Texts to train SentencePiece on, in two languages."""
    source = random.Random(0)
    return [
        f"{' '.join(source.choices(WORDS, k=8))} {n} \t{'，'.join(source.choices(WORDS, k=3))}。" for n in range(count)
    ]


def write_sentencepiece(directory: Path, **changes: Any) -> Path:
    """A small SentencePiece model as ChatGLM3's: BPE with bytes for the rest, texts taken as they are."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "model_type": "bpe",
        "vocab_size": 500,
        "byte_fallback": True,
        "character_coverage": 0.995,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "minloglevel": 2,
        **changes,
    }
    prefix = str(directory / "tokenizer")
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences()), model_prefix=prefix, **settings)
    (directory / "tokenizer.vocab").unlink()
    named = {"tokenizer_class": "ChatGLMTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_chatglm.X", None]}}
    (directory / "tokenizer_config.json").write_text(json.dumps(named))
    return directory

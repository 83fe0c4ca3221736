"""What is known of a model without opening its weights: its shape, and the shape of every parameter. No torch."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from luthier.errors import ModelError
from luthier.model.as_loaded import Parameters, Sources, as_loaded
from luthier.model.chatglm import glm_config, glm_parameters
from luthier.model.kernels.architectures import dropout_of
from luthier.model.last_layers import EMBEDDINGS, OUTPUTS
from luthier.model.layer_names import FUSED
from luthier.model.safe import check_model, inside
from luthier.recipe.model import Scratch

BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "F8_E4M3": 1, "F8_E5M2": 1}

ENDS = ("embed", "wte", "wpe", "lm_head", "output_layer")
"""Parts of the names of embeddings and output layers."""

ROUTERS = ("gate", "router")
"""Names, beside a layer's experts, of what shares tokens out among them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's dimensions, and the parameters of the model: name -> (dimensions, bytes per number as stored)."""

    architecture: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    parameters: Parameters
    dropout: float = 0.0
    """Of attention's weights."""
    used_experts: int = 0
    """Experts of a layer that a token goes through; 0 is all."""
    sources: Sources = field(default_factory=dict)
    new_rows: int = 0
    """Rows of the embeddings for tokens that the recipe adds."""

    @property
    def count(self) -> int:
        """Parameters in all."""
        return sum(_product(dimensions) for dimensions, _ in self.parameters.values())

    @property
    def embedding_count(self) -> int:
        """Parameters of the input embedding, which costs no matrix product."""
        return sum(
            _product(d)
            for name, (d, _) in self.parameters.items()
            if any(
                part in name for part in ("embed_tokens", "embed_in", "word_embeddings.", "wte", "backbone.embeddings")
            )
        )

    def linear(self) -> dict[str, tuple[int, int]]:
        """The weights of linear layers but the output layer, as they are stored: name of the layer -> dimensions."""
        return {
            layer: size for layer, size in self._matrices().items() if not _is_end(layer) and not self._routes(layer)
        }

    def ends(self) -> dict[str, tuple[int, int]]:
        """The embeddings, and the output layer even where it is the embedding's own: name -> (rows, columns)."""
        found = {layer: size for layer, size in self._matrices().items() if _is_end(layer)}
        tied = next(
            (size for layer, size in found.items() if layer.endswith(EMBEDDINGS)), (self.vocabulary, self.hidden)
        )
        return {OUTPUTS[0]: tied, **found}

    def routers(self) -> dict[str, tuple[int, int]]:
        """The weights that share tokens out among experts, which are no linear layers: parameter -> (out, in)."""
        return {f"{layer}.weight": size for layer, size in self._matrices().items() if self._routes(layer)}

    def experts(self) -> dict[str, tuple[int, int, int]]:
        """The matrices of a layer's experts, in one tensor: parameter -> (experts, and two dimensions of each)."""
        return {
            name: (dimensions[0], dimensions[1], dimensions[2])
            for name, (dimensions, _) in self.parameters.items()
            if len(dimensions) == 3 and name.rpartition(".")[0].endswith(".experts")
        }

    def products(self) -> dict[str, int]:
        """The weights that a token is multiplied by on its way to the output layer: parameter -> their number."""
        found = {f"{layer}.weight": rows * columns for layer, (rows, columns) in self.linear().items()}
        found |= {name: rows * columns for name, (rows, columns) in self.routers().items()}
        for name, (experts, rows, columns) in self.experts().items():
            found[name] = (min(self.used_experts, experts) or experts) * rows * columns
        return found

    def modules(self) -> list[str]:
        """The names of the modules that hold parameters, and of those around them; "score" is a reward model's."""
        found = dict.fromkeys([OUTPUTS[0], "score"])
        for parameter in self.parameters:
            parts = parameter.split(".")[:-1]
            found |= dict.fromkeys(".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return list(found)

    def _matrices(self) -> dict[str, tuple[int, int]]:
        return {
            name.removesuffix(".weight"): (dimensions[0], dimensions[1])
            for name, (dimensions, _) in self.parameters.items()
            if name.endswith(".weight") and len(dimensions) == 2
        }

    def _routes(self, layer: str) -> bool:
        parent, _, leaf = layer.rpartition(".")
        return leaf in ROUTERS and any(f"{parent}.experts.{name}" in self.parameters for name in FUSED)


def _is_end(layer: str) -> bool:
    return any(part in layer for part in ENDS)


def _product(dimensions: tuple[int, ...]) -> int:
    total = 1
    for dimension in dimensions:
        total *= dimension
    return total


def default_intermediate(hidden: int) -> int:
    """8/3 of the width, rounded up to 32: a gated MLP then holds what a plain one of 4x width holds (Shazeer 2020)."""
    return -(-hidden * 8 // 3 // 32) * 32


def shape_of_scratch(scratch: Scratch, vocabulary: int) -> Shape:
    """The shape of a Llama that the recipe describes, in fp32."""
    head = scratch.hidden // scratch.heads
    config = {
        "model_type": "llama",
        "hidden_size": scratch.hidden,
        "num_hidden_layers": scratch.layers,
        "num_attention_heads": scratch.heads,
        "num_key_value_heads": scratch.kv_heads or scratch.heads,
        "head_dim": head,
        "intermediate_size": scratch.intermediate or default_intermediate(scratch.hidden),
        "vocab_size": vocabulary,
        "tie_word_embeddings": scratch.tie_embeddings,
    }
    return _shape(config, llama_parameters(config), "model.scratch")


def shape_of_directory(directory: Path) -> Shape:
    """The shape of a saved model, from its config and the headers of its weight files; read once while none changes.

    Raises:
        ModelError: no config, or one that is no causal language model's.
    """
    config = directory / "config.json"
    files = [config, *weight_files(directory)] if config.exists() else []
    states = [(str(path), state.st_size, state.st_mtime_ns) for path in files for state in (path.stat(),)]
    return _read(directory, tuple(states))


@lru_cache(maxsize=4)
def _read(directory: Path, _states: tuple[tuple[str, int, int], ...]) -> Shape:
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(
            "has no readable config.json",
            place=str(directory),
            remedy="give a model directory in the Hugging Face layout",
        ) from error
    check_model(directory)
    text = config.get("text_config")
    config = {**config, **text} if isinstance(text, dict) else config
    parameters = _headers(directory)
    if not parameters:
        raise ModelError(
            "holds no .safetensors weights",
            place=str(directory),
            remedy="save the model with transformers' save_pretrained; pickled .bin files are never opened",
        )
    sources: Sources
    if config.get("model_type") == "chatglm":
        config = glm_config(config, str(directory))
        parameters, sources = glm_parameters(config, parameters, str(directory))
    else:
        parameters, sources = as_loaded(parameters, str(config.get("model_type")))
    if config.get("tie_word_embeddings"):
        parameters.pop("lm_head.weight", None)
    return _shape(config, parameters, str(directory), sources)


def _shape(
    config: dict[str, Any], parameters: Parameters, place: str, sources: Sources = MappingProxyType({})
) -> Shape:
    hidden = _first(config, place, "hidden_size", "n_embd", "d_model")
    # A model without attention has no heads.
    heads = _first({"num_heads": 1, **config}, place, "num_attention_heads", "n_head", "n_heads", "num_heads")
    return Shape(
        architecture=str(config.get("model_type", "unknown")),
        hidden=hidden,
        layers=_first(config, place, "num_hidden_layers", "num_layers", "n_layer", "n_layers"),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or config.get("multi_query_group_num") or heads),
        head_size=int(config.get("head_dim") or hidden // heads),
        intermediate=int(config.get("intermediate_size") or config.get("ffn_hidden_size") or 4 * hidden),
        vocabulary=_first(config, place, "vocab_size", "padded_vocab_size"),
        parameters=parameters,
        dropout=dropout_of(config),
        used_experts=int(config.get("num_experts_per_tok") or 0),
        sources=sources,
    )


def _first(config: dict[str, Any], place: str, *names: str) -> int:
    for name in names:
        if isinstance(config.get(name), int):
            return int(config[name])
    raise ModelError(
        f"its config names none of {', '.join(names)}",
        place=place,
        remedy="give the directory of a causal language model",
    )


def llama_parameters(config: dict[str, Any]) -> Parameters:
    """The parameters of a Llama of this config, as transformers names them."""
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    head = int(config.get("head_dim") or hidden // heads)
    inner, vocabulary = int(config["intermediate_size"]), int(config["vocab_size"])
    width, kv_width = heads * head, int(config.get("num_key_value_heads") or heads) * head
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(int(config["num_hidden_layers"])):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "self_attn.q_proj.weight": (width, hidden),
            prefix + "self_attn.k_proj.weight": (kv_width, hidden),
            prefix + "self_attn.v_proj.weight": (kv_width, hidden),
            prefix + "self_attn.o_proj.weight": (hidden, width),
            prefix + "mlp.gate_proj.weight": (inner, hidden),
            prefix + "mlp.up_proj.weight": (inner, hidden),
            prefix + "mlp.down_proj.weight": (hidden, inner),
            prefix + "input_layernorm.weight": (hidden,),
            prefix + "post_attention_layernorm.weight": (hidden,),
        }
    shapes["model.norm.weight"] = (hidden,)
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (vocabulary, hidden)
    return {name: (dimensions, 4) for name, dimensions in shapes.items()}


def weight_files(directory: Path) -> list[Path]:
    """The files that transformers would load: those of the index, else model*.safetensors, else all there are.

    Raises:
        ModelError: the index is damaged, or names what is no weight file of the directory or is not there.
    """
    index = directory / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"its index is damaged: {error}", place=str(index), remedy="download it again") from error
        files = [inside(directory, name) for name in names]
        missing = [path.name for path in files if not path.exists()]
        if missing:
            reason = f"{len(missing)} of its {len(files)} files of weights are missing: {', '.join(missing[:3])}"
            raise ModelError(reason, place=str(index), remedy="download what is missing")
        return files
    return sorted(directory.glob("model*.safetensors")) or sorted(directory.glob("*.safetensors"))


def _headers(directory: Path) -> Parameters:
    found: Parameters = {}
    for path in weight_files(directory):
        with path.open("rb") as file:
            start = file.read(8)
            size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 0 < size < 1 << 28:
                raise ModelError("is not a safetensors file", place=str(path), remedy="download it again")
            try:
                header = json.loads(file.read(size))
            except ValueError as error:
                raise ModelError("its header is damaged", place=str(path), remedy="download it again") from error
        for name, tensor in header.items():
            if name != "__metadata__" and tensor["dtype"] in BYTES:
                found[name] = (tuple(tensor["shape"]), BYTES[tensor["dtype"]])
    return found

"""What a saved adapter does to each weight of its base, in fp32 and one weight at a time."""

from __future__ import annotations

import re
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from luthier.errors import ModelError
from luthier.model.layout import Layout
from luthier.model.patterns import first_of
from luthier.model.starts import WEIGHTS
from luthier.model.weights import Weights

_PREFIX = "base_model.model."
_SUFFIX = re.compile(
    r"\.(lora_A\.weight|lora_B\.weight|lora_embedding_A|lora_embedding_B|lora_magnitude_vector(?:\.weight)?"
    r"|ia3_l|token_adapter\.trainable_tokens_delta)$"
)
_OF_LAYER = re.compile(r"(\.base_layer)*\.weight$")


class Deltas:
    """LoRA with all that belongs to it (DoRA, rsLoRA, patterns, biases, modules saved whole, rows of tokens), or (IA)3.

    Raises:
        ModelError: the adapter's files cannot be read.
    """

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self.settings, self.place = settings, str(directory)
        try:
            tensors = load_file(directory / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"cannot be read: {error}", place=self.place, remedy="save the adapter again") from error
        self.layers: dict[str, dict[str, torch.Tensor]] = {}
        self.whole: dict[str, torch.Tensor] = {}
        for key, tensor in tensors.items():
            name = key.removeprefix(_PREFIX)
            found = _SUFFIX.search(name)
            if found:
                part = found[1].removesuffix(".weight")
                self.layers.setdefault(name[: found.start()], {})[part] = tensor.float()
            else:
                # A bias that trains lies in the layer below its adapter.
                self.whole[name.replace(".modules_to_save.", ".").replace(".base_layer.", ".")] = tensor
        self.vocabulary: int | None = None
        self.untied = False
        self._ends: tuple[str, str] = ("", "")
        self._left_out = ""
        self._turned: frozenset[str] = frozenset()
        self._twin: tuple[str, str] | None = None

    def fit(self, weights: Weights, layout: Layout, *, tied: bool) -> bool:
        """Look at the base before it is read; False where its files name otherwise what is changed.

        Raises:
            ModelError: it has no weight of an adapted layer's name.
        """
        self._read_as(weights, layout)
        output = f"{layout.ends[1]}.weight"
        asked = [*(f"{layer}.weight" for layer in self.layers), *self.whole]
        lacking = [name for name in asked if name not in weights and not (tied and name == output)]
        layers = {name: _OF_LAYER.sub("", name) for name in lacking}
        foreign = [
            name for name, it in layers.items() if not layout.has(it) and not layout.has(f"{layout.prefix}.{it}")
        ]
        if foreign:
            raise ModelError(
                f"changes {foreign[0]}, which the base has not ({len(foreign)} such in all)",
                place=self.place,
                remedy="name the model it was trained on with --base",
            )
        if lacking:
            return False
        embedding = self._ends[0]
        if tied and output not in weights:
            layer = embedding.removesuffix(".weight")
            # Rows of tokens change both ends of a tied model; whole modules and LoRA change the end they name.
            both = [self.whole[name] for name in (embedding, output) if name in self.whole]
            if len(both) == 2 and torch.equal(*both):
                return True
            one_end = embedding in self.whole or "lora_embedding_A" in self.layers.get(layer, {})
            if one_end or output in self.whole or layout.ends[1] in self.layers:
                self.untied, self._twin = True, (embedding, output)
        return True

    def _read_as(self, weights: Weights, layout: Layout) -> None:
        """Name all as the base's files do: some leave out what stands before the names in memory."""
        embedding, output = (f"{layer}.weight" for layer in layout.ends)
        short = embedding.removeprefix(f"{layout.prefix}.")
        self._left_out = f"{layout.prefix}." if embedding not in weights and short in weights else ""
        self.layers = {self._filed(layer): parts for layer, parts in self.layers.items()}
        self.whole = {self._filed(name): tensor for name, tensor in self.whole.items()}
        self._turned = frozenset(map(self._filed, layout.turned))
        self._ends = (self._filed(embedding), output)

    def _filed(self, name: str) -> str:
        return name.removeprefix(self._left_out)

    def as_filed(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights of linear layers [out, in] with their names in memory, as the base's files name and turn them."""
        found = {self._filed(name): weight for name, weight in weights.items()}
        return {name: one.T if name.removesuffix(".weight") in self._turned else one for name, one in found.items()}

    def apply(self, tensors: dict[str, torch.Tensor], dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
        """The tensors of one file with the adapter in them, rounded once: to ``dtype``, else to the type each had."""
        if self._twin is not None and self._twin[0] in tensors:
            tensors = {**tensors, self._twin[1]: tensors[self._twin[0]].clone()}
        found = {}
        for name, tensor in tensors.items():
            kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            found[name] = self._changed(name, tensor).to(kind)
        return found

    def _changed(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name in self.whole:
            whole = self.whole[name]
            if name in self._ends and whole.dim() == 2:
                self.vocabulary = whole.shape[0]
            tensor = whole
        layer, _, kind = name.rpartition(".")
        # PEFT saves an embedding that LoRA is in whole beside it.
        parts = self.layers.get(layer)
        if parts is None:
            return tensor
        if kind == "bias":
            scaled = "ia3_l" in parts and parts["ia3_l"].shape[0] == tensor.shape[0]
            return tensor.float() * parts["ia3_l"].reshape(-1) if scaled else tensor
        return self._weight(layer, parts, tensor.float()) if kind == "weight" else tensor

    def _weight(self, layer: str, parts: dict[str, torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
        # Quantisation makes other layers of those whose weights the files hold as [in, out].
        turned = layer in self._turned
        if "ia3_l" in parts:
            return weight * (parts["ia3_l"].T if turned else parts["ia3_l"])
        if "token_adapter.trainable_tokens_delta" in parts:
            return self._rows(layer, parts["token_adapter.trainable_tokens_delta"], weight)
        if "lora_embedding_A" in parts:
            a, b = parts["lora_embedding_A"], parts["lora_embedding_B"]
            weight = weight + self._scale(layer, a.shape[0]) * (b @ a).T
            if "lora_magnitude_vector" in parts:
                # One magnitude for each hidden dimension: PEFT takes an embedding for a layer that is [in, out].
                weight = weight * (parts["lora_magnitude_vector"].reshape(-1) / weight.norm(dim=0))
            return weight
        a, b = parts["lora_A"], parts["lora_B"]
        weight = weight.T if turned else weight
        weight = weight + self._scale(layer, a.shape[0]) * (b @ a)
        if "lora_magnitude_vector" in parts:
            weight = weight * (parts["lora_magnitude_vector"].reshape(-1) / weight.norm(dim=1))[:, None]
        return weight.T if turned else weight

    def _scale(self, layer: str, rank: int) -> float:
        """alpha / rank, or alpha / sqrt(rank) (rsLoRA); the first pattern that ends a layer's name gives its alpha."""
        patterns = self.settings.get("alpha_pattern") or {}
        first = first_of(patterns, layer)
        alpha = self.settings["lora_alpha"] if first is None else patterns[first]
        return float(alpha) / (sqrt(rank) if self.settings.get("use_rslora") else rank)

    def _rows(self, layer: str, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        given = self.settings["trainable_token_indices"]
        places = given[next(key for key in given if layer.endswith(key))] if isinstance(given, dict) else given
        lacking = max(places) + 1 - weight.shape[0]
        if lacking > 0:
            weight = torch.cat([weight, torch.zeros(lacking, weight.shape[1])])
            self.vocabulary = weight.shape[0]
        weight = weight.clone()
        weight[torch.tensor(places)] = rows
        return weight

"""Trained prefixes and prompts in front of every document of a pack.

PEFT puts one of them in front of each row. Here a row holds many documents, and each has to have its own: a prefix
(P-Tuning v2, Liu et al. 2021; Li & Liang 2021) as keys and values that each document's attention also sees, a prompt
(Lester et al. 2021) as embeddings before its tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftConfig, PeftModelForCausalLM, PeftType
from transformers import PreTrainedModel


class PromptModel(PeftModelForCausalLM):  # type: ignore[misc]
    """PEFT's model, which also takes packs; saved and generating as PEFT's own does."""

    def forward(self, input_ids: Any = None, *, document_lengths: tuple[int, ...] | None = None, **others: Any) -> Any:
        """A pack [1, T] of documents of these lengths; positions restart behind each one's virtual tokens."""
        if document_lengths is None:
            return super().forward(input_ids=input_ids, **others)
        others.pop("position_ids", None)
        if self.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
            return self._behind_prefixes(input_ids, document_lengths, others)
        return self._behind_prompts(input_ids, document_lengths, others)

    def generate(self, *words: Any, **others: Any) -> Any:
        """As PEFT's, but for a prompt in a batch of left-padded texts: it goes between padding and text.

        PEFT puts it before the padding, which moves it away from the text by as many positions. The repetition
        penalty counts new tokens alone here.
        """
        ids = others.get("input_ids")
        if self.active_peft_config.peft_type == PeftType.PREFIX_TUNING or self._adapters_disabled or ids is None:
            return super().generate(*words, **others)
        mask = others.pop("attention_mask", torch.ones_like(ids))
        tokens = self.word_embeddings(others.pop("input_ids"))
        prompt = self.get_prompt(batch_size=1)[0].to(tokens.dtype)
        seen = torch.ones(len(prompt), dtype=mask.dtype, device=mask.device)
        padding = [int(row.argmax()) for row in mask]
        embedded = [torch.cat([row[:pad], prompt, row[pad:]]) for row, pad in zip(tokens, padding, strict=True)]
        masks = [torch.cat([row[:pad], seen, row[pad:]]) for row, pad in zip(mask, padding, strict=True)]
        new = self.base_model.generate(inputs_embeds=torch.stack(embedded), attention_mask=torch.stack(masks), **others)
        return torch.cat([ids, new], dim=1)

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        """One step of generation: the prefix in the first one's cache, in each one's mask and before its positions.

        PEFT's own looks for the cache under the name that it had before transformers 5.24, and finds none.
        """
        given = self.base_model_prepare_inputs_for_generation(*args, **kwargs)
        if self._adapters_disabled or self.active_peft_config.peft_type != PeftType.PREFIX_TUNING:
            return given
        virtual = self.active_peft_config.num_virtual_tokens
        name = "cache" if "cache" in given else "past_key_values"
        if not given[name].get_seq_length():
            given[name] = self.get_prompt(batch_size=len(given["input_ids"]))
        if (mask := given.get("attention_mask")) is not None:
            given["attention_mask"] = torch.cat([mask.new_ones(len(mask), virtual), mask], dim=1)
        if given.get("position_ids") is not None:
            given["position_ids"] = given["position_ids"] + virtual
        return given

    def _behind_prefixes(self, ids: torch.Tensor, lengths: tuple[int, ...], others: dict[str, Any]) -> Any:
        virtual = self.active_peft_config.num_virtual_tokens
        cache = self.get_prompt(batch_size=1)
        positions = torch.cat([torch.arange(virtual, virtual + length) for length in lengths])
        return self.base_model(
            input_ids=ids,
            position_ids=positions[None].to(ids.device),
            document_lengths=lengths,
            prefix=tuple((layer.keys, layer.values) for layer in cache.layers),
            **others,
        )

    def _behind_prompts(self, ids: torch.Tensor, lengths: tuple[int, ...], others: dict[str, Any]) -> Any:
        virtual = self.active_peft_config.num_virtual_tokens
        prompt = self.get_prompt(batch_size=1)
        tokens = self.word_embeddings(ids)
        prompt = prompt.to(tokens.dtype)
        pieces = [part for document in tokens.split(list(lengths), dim=1) for part in (prompt, document)]
        places = torch.cat([torch.full((length,), virtual * number) for number, length in enumerate(lengths, 1)])
        places = (places + torch.arange(len(places))).to(ids.device)
        wanted = others.pop("logits_to_keep", None)
        longer = tuple(virtual + length for length in lengths)
        return self.base_model(
            inputs_embeds=torch.cat(pieces, dim=1),
            position_ids=torch.cat([torch.arange(length) for length in longer])[None].to(ids.device),
            document_lengths=longer,
            logits_to_keep=places if wanted is None else places[wanted],
            **others,
        )


def with_prompts(model: PreTrainedModel, config: PeftConfig) -> PromptModel:
    """A frozen model behind the prefix or prompt of a config.

    PEFT refuses prefixes beside gradient checkpointing, since its own reach the layers in a cache, which layers that
    are computed again do not get. Ours reach the attention itself, so the switch is hidden while PEFT looks.
    """
    switched = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    for module in switched:
        module.gradient_checkpointing = False
    try:
        return PromptModel(model, config)
    finally:
        for module in switched:
            module.gradient_checkpointing = True

"""Each document of a pack in a forward pass of its own, for models that no attention kernel keeps isolated.

Some have attention that is not exchangeable (Bloom, Falcon, MPT), some carry a state from token to token, which would
run on into the next document (Mamba, Qwen3-Next). Their layers are run on one document after the other, as transformers
has them; what stands before and behind the layers still sees the whole pack.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedModel

from luthier.errors import ModelError
from luthier.model.documents import Branches, documents_of
from luthier.model.kernels.architectures import OWN_ATTENTION, WITH_STATE


def goes_alone(architecture: str) -> bool:
    """Whether a kind of model, by its ``model_type``, has to be given its documents one by one."""
    if architecture in OWN_ATTENTION | WITH_STATE:
        return True
    try:
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[architecture]]
    except KeyError:
        return False
    kind = kind[0] if isinstance(kind, tuple) else kind
    return bool(kind._is_stateful) or not kind._supports_attention_backend


def run_alone(model: torch.nn.Module) -> None:
    """Let a model, adapters included, be given packs: ``document_lengths``, and ``branches`` where answers share one.

    Said twice, it is done once.
    """
    outer = _transformers_model(model)
    body: Any = getattr(outer, outer.base_model_prefix, outer)
    if not isinstance(body.forward, _Alone):
        body.forward = _Alone(body)
    if body is not outer and not getattr(outer, "_tells_body", False):
        outer.register_forward_pre_hook(_tell, with_kwargs=True)
        outer._tells_body = True


def is_alone(model: torch.nn.Module) -> bool:
    """Whether a model's documents go one by one."""
    return any(isinstance(vars(module).get("forward"), _Alone) for module in model.modules())


def _transformers_model(model: torch.nn.Module) -> Any:
    return next(module for module in model.modules() if isinstance(module, PreTrainedModel))


@dataclass(frozen=True, slots=True)
class _Told:
    """Of a pack: its documents' lengths, how they branch, and whose hidden states are wanted (None: all tokens')."""

    lengths: tuple[int, ...]
    branches: Branches | None
    where: torch.Tensor | None


def _tell(outer: Any, words: tuple[Any, ...], others: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model itself may not know goes round it to its layers."""
    if "prefix" in others:
        raise ModelError(
            f"{type(outer).__name__} takes its documents one by one, which a trained prefix does not do",
            place="adapter.kind",
            remedy="use lora or prompt",
        )
    body = getattr(outer, outer.base_model_prefix)
    body.forward.told = None
    if others.get("document_lengths") is None:
        return words, others
    kept = dict(others)
    where = kept.pop("logits_to_keep") if isinstance(kept.get("logits_to_keep"), torch.Tensor) else None
    body.forward.told = _Told(kept.pop("document_lengths"), kept.pop("branches", None), where)
    kept.pop("position_ids", None)
    return words, kept


class _Alone:
    """A forward pass in the place of a body's own: of each document, and then their hidden states end to end."""

    def __init__(self, body: Any) -> None:
        self.own, self.body = body.forward, body
        self.embeds = "inputs_embeds" in inspect.signature(self.own).parameters
        self.told: _Told | None = None

    def __call__(self, *words: Any, **others: Any) -> Any:
        told, self.told = self.told, None
        if others.get("document_lengths") is not None:
            told = _Told(others.pop("document_lengths"), others.pop("branches", None), None)
        if told is None:
            return self.own(*words, **others)
        others.pop("position_ids", None)
        ids = words[0] if words else others.pop("input_ids", None)
        whole = others.pop("inputs_embeds", None)
        if whole is None and self.embeds:
            # Once for the whole pack, as what is hooked to the embedding (noise on it) knows the whole pack.
            whole = self.body.get_input_embeddings()(ids)
        name, whole = ("input_ids", ids) if whole is None else ("inputs_embeds", whole)
        pieces = []
        for parts, new in documents_of(told.lengths, told.branches):
            row = torch.cat([whole[:, part] for part in parts], dim=1)
            output = self.own(**{name: row}, **others)
            pieces.append(output[0][:, -new:])
        hidden = torch.cat(pieces, dim=1)
        output.last_hidden_state = hidden if told.where is None else hidden[:, told.where]
        return output

"""Writes ChatGLM3's finetune_demo YAML: the rows, the TrainingArguments, the adapter."""

from __future__ import annotations

from typing import Any

from luthier.convert.sheet import Keys, Sheet, Writer, below, neat, one
from luthier.convert.training_arguments import ALWAYS, WRITERS
from luthier.dialects.document import to_yaml
from luthier.recipe import Recipe

ARGS = "training_args."
GENERATION = ARGS + "generation_config."
_FILES = {"train": "train_file", "evaluate": "val_file", "test": "test_file"}
_KINDS = {"lora": "LORA", "prefix": "PREFIX_TUNING", "prompt": "PROMPT_TUNING", "ia3": "IA3"}


def _rows(part: str) -> Writer:
    def write(recipe: Recipe) -> Keys:
        sources = getattr(recipe.data, part)
        return {f"data_config.{_FILES[part]}": sources[0].path} if sources else {}

    return Writer((f"data.{part}",), write)


def _lengths(recipe: Recipe) -> Keys:
    """The longest prompt and the rest of the budget, or two halves of it; it counts a token for the end beside them."""
    budget, prompt = recipe.data.max_length - 1, recipe.evaluate.generation.max_prompt_length
    first = prompt if prompt is not None and prompt < budget else budget // 2
    return {"max_input_length": first, "max_output_length": budget - first}


def _adapter(recipe: Recipe) -> Keys:
    kind = _KINDS.get(recipe.adapter.kind)
    return {"peft_config.peft_type": kind, "peft_config.task_type": "CAUSAL_LM"} if kind else {}


def _targets(recipe: Recipe) -> Keys:
    targets = recipe.adapter.targets
    return {"peft_config.target_modules": targets if isinstance(targets, str) else list(targets)}


def _sampling(recipe: Recipe) -> Keys:
    generation = recipe.evaluate.generation
    if not generation.temperature:
        return {GENERATION + "do_sample": False}
    constants = {"temperature": generation.temperature, "top_p": generation.top_p, "top_k": generation.top_k}
    return {GENERATION + "do_sample": True, **{GENERATION + name: neat(one) for name, one in constants.items()}}


def _device(recipe: Recipe) -> Keys:
    return {ARGS + "use_cpu": True} if recipe.runtime.device == "cpu" else {}


def _text(tree: dict[str, Any]) -> str:
    """The keys as YAML; the demo insists on its two sections."""
    return to_yaml({"data_config": {}, "training_args": {}} | tree)


CHATGLM3 = Sheet(
    writers=(
        *map(_rows, _FILES),
        Writer(("data.max_length", "evaluate.generation.max_prompt_length"), _lengths),
        one("data.last_turn_only", "combine", lambda on: on or None),
        Writer(("adapter.kind",), _adapter),
        Writer(("adapter.targets",), _targets),
        one("adapter.init", "peft_config.init_lora_weights", lambda init: True if init == "default" else init),
        Writer(tuple(f"evaluate.generation.{name}" for name in ("temperature", "top_p", "top_k")), _sampling),
        one("evaluate.generation.max_new_tokens", GENERATION + "max_new_tokens"),
        one("evaluate.generation.beams", GENERATION + "num_beams"),
        one("evaluate.generation.min_new_tokens", GENERATION + "min_new_tokens"),
        one("evaluate.generation.length_penalty", GENERATION + "length_penalty"),
        one("evaluate.generation.repetition_penalty", GENERATION + "repetition_penalty"),
        Writer(("runtime.device",), _device),
        *below(WRITERS, ARGS),
    ),
    always=(*ALWAYS, "data.train", "data.evaluate", "data.test", "data.max_length", "adapter.kind"),
    render=_text,
    first=("data_config", "max_input_length", "max_output_length", "training_args", "peft_config"),
)
"""The dialect's writing side."""

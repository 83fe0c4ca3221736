"""Writes a script that starts PEFT's supervised fine-tuning example: environment, launcher, flags."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from luthier.convert.sheet import TORCH, Keys, Sheet, Writer, one
from luthier.convert.training_arguments import ALWAYS, WRITERS
from luthier.dialects.peft_sft import LISTS
from luthier.recipe import Recipe

_STAGES = {0: "NO_SHARD", 2: "SHARD_GRAD_OP", 3: "FULL_SHARD"}
_CHOICES = {"ddp": "multi_gpu", "fsdp": "use_fsdp", "deepspeed": "use_deepspeed"}
_BARE = frozenset({*_CHOICES.values(), "use_cpu"})
"""The launcher's switches, which take no word."""


def _rows(recipe: Recipe) -> Keys:
    """One data set, of which one split trains and another one may be evaluated on."""
    if not recipe.data.train:
        return {}
    train, *_ = recipe.data.train
    splits = [train.split] if "train" in train.split and "," not in train.split else ["train"]
    if recipe.data.evaluate:
        split = recipe.data.evaluate[0].split
        splits.append(split if "test" in split and "train" not in split and "," not in split else "test")
    column = train.columns.get("text")
    return {
        "dataset_name": train.path,
        "splits": ",".join(splits),
        **({"dataset_text_field": column} if column else {}),
    }


def _template(recipe: Recipe) -> Keys:
    known = recipe.data.template in ("chatml", "zephyr") and recipe.method.kind == "sft"
    return {"chat_template_format": recipe.data.template} if known else {}


def _length(recipe: Recipe) -> Keys:
    """The later name of the key goes with packs of rows that are cut, the older one with rows that are split."""
    cut = recipe.pack.kind != "none" and recipe.data.overlong == "truncate"
    return {"max_length" if cut else "max_seq_length": recipe.data.max_length}


def _adapter(recipe: Recipe) -> Keys:
    return {"use_peft_lora": True} if recipe.adapter.kind == "lora" else {}


def _bits(recipe: Recipe) -> Keys:
    return {f"use_{recipe.quantise.bits}bit_quantization": True} if recipe.quantise.bits < 16 else {}


def _targets(targets: Any) -> str | None:
    if isinstance(targets, list):
        return ",".join(targets)
    return targets if targets == "all-linear" else None


def _storage(recipe: Recipe) -> Keys:
    if recipe.quantise.bits != 4:
        return {}
    return {"bnb_4bit_quant_storage_dtype": TORCH[recipe.quantise.storage]}


def _resume(how: str) -> Any:
    return {"auto": True, "never": None}.get(how, how)


def _launching(recipe: Recipe) -> Keys:
    """The engine and its sharding, as words of ``accelerate launch``; a DeepSpeed file as the script's own flag."""
    parallel = recipe.parallel
    keys: dict[str, Any] = {}
    if parallel.engine in _CHOICES and not parallel.deepspeed:
        keys[f"launcher.{_CHOICES[parallel.engine]}"] = True
    if parallel.engine == "deepspeed":
        if parallel.deepspeed:
            return {"deepspeed": parallel.deepspeed}
        offload = (("optimizer", parallel.offload_optimizer), ("param", parallel.offload_parameters))
        keys["launcher.zero_stage"] = parallel.stage
        keys |= {f"launcher.offload_{part}_device": "cpu" if on else "none" for part, on in offload}
        keys |= {f"launcher.{name}": value for name, value in parallel.deepspeed_config.items() if _flag(name, value)}
    if parallel.engine == "fsdp":
        if parallel.stage in _STAGES:
            hybrid = "HYBRID_SHARD" if parallel.stage == 3 else "HYBRID_SHARD_ZERO2"
            keys["launcher.fsdp_sharding_strategy"] = (
                hybrid if parallel.fsdp_config.get("hybrid") is True else _STAGES[parallel.stage]
            )
        keys["launcher.fsdp_offload_params"] = parallel.offload_parameters and parallel.offload_optimizer
        if parallel.wrap:
            keys["launcher.fsdp_transformer_layer_cls_to_wrap"] = ",".join(parallel.wrap)
        more = {name: value for name, value in parallel.fsdp_config.items() if name != "hybrid" and _flag(name, value)}
        keys |= {f"launcher.fsdp_{name}": value for name, value in more.items()}
    return keys


def _flag(name: str, value: Any) -> bool:
    return name.isidentifier() and name.isascii() and _plain(value)


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _project(recipe: Recipe) -> Keys:
    project = recipe.track.project
    if project is None:
        return {}
    return {"project" if "trackio" in recipe.track.to else "environment.WANDB_PROJECT": project}


def _speakable(value: Any) -> bool:
    """Whether a value can stand between a shell's quotes on one line of a terminal."""
    return all(one.isprintable() for one in _word(value)) and _word(value) != ""


def _word(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if _plain(value) else json.dumps(value, ensure_ascii=False)


def _flags(keys: dict[str, Any]) -> Iterator[str]:
    for name, value in keys.items():
        if value is True and name in _BARE:
            yield f"--{name}"
        elif isinstance(value, list) and name in LISTS:
            yield " ".join([f"--{name}", *map(shlex.quote, value)])
        else:
            word = _word(value)
            yield f"--{name}{'=' if word.startswith('-') else ' '}{shlex.quote(word)}"


def _text(tree: dict[str, Any]) -> str:
    """The keys as a script: exports, then one command with a flag a line."""
    keys = dict(tree)
    environment, launcher = keys.pop("environment", {}), keys.pop("launcher", {})
    exports = "".join(f"export {name}={shlex.quote(_word(value))}\n" for name, value in environment.items())
    lines = ["accelerate launch", *_flags(launcher), "train.py", *_flags(keys)]
    return exports + " \\\n  ".join(lines) + "\n"


PEFT_SFT = Sheet(
    writers=(
        Writer(("data.train", "data.evaluate"), _rows),
        Writer(("data.template", "data.train_on", "method.kind", "tokenizer", "model.vocabulary_multiple"), _template),
        Writer(("data.max_length",), _length),
        one("pack.kind", "packing", lambda kind: kind != "none"),
        Writer(("data.overlong",), _length),
        Writer(("adapter.kind",), _adapter),
        Writer(("quantise.bits",), _bits),
        one("adapter.targets", "lora_target_modules", _targets),
        one("adapter.init", "use_loftq", lambda init: True if init == "loftq" else None),
        one("quantise.compute", "bnb_4bit_compute_dtype", TORCH.get),
        Writer(("quantise.storage", "model.dtype"), _storage),
        one("model.attention", "use_flash_attn", lambda kind: True if kind == "flash" else None),
        one("runtime.gradient_checkpointing", "gradient_checkpointing"),
        one("runtime.checkpoint_reentrant", "use_reentrant"),
        one("checkpoint.resume", "resume_from_checkpoint", _resume),
        one("batch.world", "launcher.num_processes"),
        Writer(("parallel.engine",), _launching),
        *(
            Writer((f"parallel.{name}",), _launching)
            for name in (
                *("stage", "offload_optimizer", "offload_parameters", "wrap", "fsdp_config", "deepspeed"),
                "deepspeed_config",
            )
        ),
        Writer(("track.project",), _project),
        *WRITERS,
    ),
    always=(
        *ALWAYS,
        *("model.path", "data.train", "data.max_length", "pack.kind", "data.template", "adapter.kind"),
        "quantise.bits",
    ),
    render=_text,
    speakable=_speakable,
    first=("launcher.program", "seed", "model_name_or_path", "dataset_name", "splits", "chat_template_format"),
)
"""The dialect's writing side."""

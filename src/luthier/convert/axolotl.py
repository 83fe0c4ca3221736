"""Writes Axolotl's YAML: the model, the adapter, the objective, and all of it together."""

from __future__ import annotations

from typing import Any

from luthier.convert.axolotl_data import DATA
from luthier.convert.axolotl_machine import MACHINE
from luthier.convert.axolotl_record import RECORD
from luthier.convert.sheet import Keys, Sheet, Writer, neat, one
from luthier.convert.training_arguments import DEEPSPEED, share_times, warm_up
from luthier.dialects.document import to_yaml
from luthier.recipe import Recipe


def _adapter(recipe: Recipe) -> Keys:
    bits = recipe.quantise.bits
    keys: dict[str, Any] = {f"load_in_{bits}bit": True} if bits < 16 else {}
    if recipe.adapter.kind == "lora":
        keys["adapter"] = "qlora" if bits == 4 else "lora"
    return keys


def _targets(recipe: Recipe) -> Keys:
    targets = recipe.adapter.targets
    if targets == "all-linear":
        return {"lora_target_linear": True}
    return {"lora_target_modules": targets if isinstance(targets, str) else list(targets)}


def _objective(recipe: Recipe) -> Keys:
    kind = recipe.method.kind
    if kind == "reward":
        return {"reward_model": True}
    return {} if kind in ("sft", "pretrain") else {"rl": kind}


def _constants(recipe: Recipe) -> Keys:
    """The optimiser's own constants, but those whose names would read as a path."""
    named = {name: value for name, value in recipe.optimizer.args.items() if name.isidentifier()}
    return {"optim_args": named} if named else {}


def _schedule(recipe: Recipe) -> Keys:
    """The curve, its constants and its warm-up, which its name decides on as well."""
    curve = recipe.schedule
    kind = DEEPSPEED.get(curve.kind, curve.kind)
    if kind == "constant" and curve.warmup_steps != 0:
        kind = "constant_with_warmup"
    keys: dict[str, Any] = {"lr_scheduler": kind}
    if kind.startswith("cosine") and curve.minimum:
        keys["cosine_min_lr_ratio"] = neat(curve.minimum)
    constants = dict(curve.args)
    if kind.startswith("cosine") and curve.cycles != 0.5:
        constants["num_cycles"] = neat(curve.cycles)
    if kind == "polynomial" and curve.power != 1:
        constants["power"] = neat(curve.power)
    if kind == "reduce_lr_on_plateau" and curve.minimum:
        constants["min_lr"] = share_times(curve.minimum, recipe.optimizer.lr)
    if kind == "log_sweep":
        keys |= {f"log_sweep_{name}": value for name, value in constants.items()}
    elif constants:
        keys["lr_scheduler_kwargs"] = constants
    return {**keys, **warm_up(kind, curve)}


AXOLOTL = Sheet(
    writers=(
        one("model.path", "base_model"),
        one("tokenizer.path", "tokenizer_config"),
        Writer(("adapter.kind", "quantise.bits"), _adapter),
        Writer(("adapter.targets",), _targets),
        one("adapter.continue_from", "lora_model_dir"),
        *DATA,
        Writer(("method.kind",), _objective),
        one("method.reference", "precompute_ref_log_probs", lambda how: how == "precomputed" or None),
        one("optimizer.kind", "optimizer", lambda kind: "adamw_torch_fused" if kind == "adamw" else kind),
        Writer(("optimizer.args",), _constants),
        one("optimizer.weight_decay", "weight_decay"),
        one("optimizer.lora_plus_embedding_lr", "loraplus_lr_embedding"),
        Writer(("schedule",), _schedule),
        one("batch.steps", "max_steps"),
        *RECORD,
        *MACHINE,
    ),
    always=(
        *("model.path", "adapter.kind", "method.kind", "data.train", "data.max_length", "data.holdout"),
        *("pack.kind", "batch.micro"),
        *("batch.accumulation", "batch.epochs", "optimizer.kind", "optimizer.lr", "schedule.kind"),
        *("precision.compute", "checkpoint.every", "output.dir", "seed"),
    ),
    render=to_yaml,
)
"""The dialect's writing side."""

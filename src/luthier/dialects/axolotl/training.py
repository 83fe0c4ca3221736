"""Axolotl's keys of the objective, the optimiser, its schedule and the length of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects import names as hugging_face
from luthier.dialects.axolotl.preference import PREFERENCE, WITH_LIKELIHOOD
from luthier.dialects.axolotl.values import flag, mapping, number, part, whole
from luthier.dialects.deepspeed import UNCLIPPED
from luthier.dialects.table import (
    Cannot,
    Default,
    Effect,
    Inert,
    Key,
    Refused,
    Row,
    Spread,
    Values,
    applied,
    inert,
    replaced,
)
from luthier.dialects.training_arguments_maths import optimizer_note as hugging_face_note
from luthier.dialects.training_arguments_schedule import COLD, CONSTANTS, curve_constants
from luthier.dialects.training_arguments_schedule import schedule as hugging_face_schedule

OWN_OPTIMIZERS = (
    *("optimi_adamw", "ao_adamw_4bit", "ao_adamw_8bit", "ao_adamw_fp8", "adopt_adamw", "came_pytorch", "lion_pytorch"),
    *("muon", "dion", "q_galore_adamw8bit", "flash_adamw", "flash_adam", "flash_sgd", "flash_sgdw", "flash_lion"),
)
OWN_SCHEDULES = ("one_cycle", "rex", "log_sweep")
OWN_NOTES = {
    "one_cycle": "Adam's beta1 moves against the rate, as in PyTorch",
    "log_sweep": "from log_sweep_min_lr to log_sweep_max_lr over the warm-up; learning_rate plays no part",
}
_LATER = "leave it out"


def _optimizer(value: Any) -> str:
    if isinstance(value, str) and value in OWN_OPTIMIZERS:
        return value
    return hugging_face.optimizer(value)


def _optimiser(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    return applied({"optimizer.kind": _optimizer(value)}, hugging_face_note(value))


def _schedule(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if value in OWN_SCHEDULES:
        made: dict[str, Any] = {"schedule.kind": value}
        return applied(made | ({"schedule.args.beta": 0.9} if value == "rex" else {}), OWN_NOTES.get(value, ""))
    constants = {"lr_scheduler_kwargs": values.get("lr_scheduler_kwargs"), "learning_rate": values.get("learning_rate")}
    return hugging_face_schedule(value, {"lr_scheduler_type": value, **constants})


def _cold(values: Values) -> Effect:
    if values.get("lr_scheduler") == "constant":
        return inert("lr_scheduler: constant has no warm-up; constant_with_warmup has")
    return inert(f"{values.get('lr_scheduler')} has no warm-up")


def _warmup(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if values.get("lr_scheduler") in COLD:
        return _cold(values)
    size = part(value) if number(value) else 0
    if size == 1:
        return applied({"schedule.warmup_steps": 2}, "Axolotl takes 2 for 1, whose first step would have no rate")
    if isinstance(size, float):
        return applied({"schedule.warmup_share": size}, "below 1 it is a share of the run")
    return applied({"schedule.warmup_steps": size})


def _warmup_share(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if values.get("warmup_steps") is not None:
        raise Cannot("warmup_steps says it as well", "keep one of them")
    if values.get("lr_scheduler") in COLD:
        return _cold(values)
    return applied({"schedule.warmup_share": number(value)})


def _curve(value: Any, values: Values) -> Effect:
    if not value:
        return inert("it names no constant")
    given, kind = mapping(value), values.get("lr_scheduler") or "cosine"
    if kind in ("rex", "log_sweep"):
        return inert("a curve of Axolotl's own takes none")
    kind = kind if kind in OWN_SCHEDULES else hugging_face.schedule(kind)
    if kind.startswith("constant"):
        return inert("a constant rate takes none, upstream neither")
    made = curve_constants(kind, given, lambda: number(values.get("learning_rate") or 0) or 1.0)
    return applied(made) if made else inert("it names no constant")


def _sweep(end: str) -> Callable[[Any, Values], Effect]:
    def spread(value: Any, values: Values) -> Effect:
        if value is None or values.get("lr_scheduler") != "log_sweep":
            return inert("it belongs to lr_scheduler: log_sweep")
        return applied({f"schedule.args.{end}": number(value)})

    return spread


def _clip(value: Any) -> float | None:
    return number(value) or None


def _steps(value: Any, values: Values) -> Effect:
    if value is None or number(value) <= 0:
        return inert("num_epochs counts")
    return applied({"batch.steps": whole(value)})


def _args(value: Any, values: Values) -> Effect:
    if not value:
        return inert("it names no constant")
    if isinstance(value, str):
        value = dict(item.strip().split("=", 1) for item in value.split(","))
    return applied({f"optimizer.args.{name}": constant for name, constant in mapping(value).items()})


def _epsilon(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if values.get("optimizer") == "came_pytorch":
        return applied({"optimizer.args.eps1": number(value)}, "CAME adds it to squares")
    return applied({"optimizer.epsilon": number(value)})


def _embedding_scale(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    return applied({"optimizer.embedding_lr": number(value) * number(values.get("learning_rate"))})


def _lora_embedding(value: Any, values: Values) -> Effect:
    if value is None or not _lora_plus(values):
        return inert("it belongs to loraplus_lr_ratio")
    return applied({"optimizer.lora_plus_embedding_lr": number(value)})


DECAYS = "decoupled, not an L2 term in the loss; spares biases and norms"


def _lora_plus(values: Values) -> bool:
    return values.get("loraplus_lr_ratio") is not None


def _decay(value: Any, values: Values) -> Effect:
    if value is not None and _lora_plus(values):
        return replaced({"optimizer.weight_decay": 0.0}, "beside loraplus_lr_ratio Axolotl lets nothing decay")
    if value is None:
        return inert("null: left at the default")
    return applied({"optimizer.weight_decay": number(value)}, DECAYS)


def _constant(name: str) -> Key:
    """A constant of an optimiser that is not AdamW, by its own name."""
    return Key(name, f"optimizer.args.{name}", number)


TRAINING: tuple[Row, ...] = (
    Key("num_epochs", "batch.epochs", number),
    Spread("max_steps", ("batch.steps",), _steps),
    Key("seed", "seed", whole),
    Spread("optimizer", ("optimizer.kind",), _optimiser),
    Key("learning_rate", "optimizer.lr", number),
    Spread("weight_decay", ("optimizer.weight_decay",), _decay, note=DECAYS),
    Key("adam_beta1", "optimizer.beta1", number),
    Key("adam_beta2", "optimizer.beta2", number),
    Spread("adam_epsilon", ("optimizer.epsilon", "optimizer.args.eps1"), _epsilon),
    Key("max_grad_norm", "optimizer.clip", _clip, note="0 means no clipping"),
    Key("embedding_lr", "optimizer.embedding_lr", number),
    Spread("embedding_lr_scale", ("optimizer.embedding_lr",), _embedding_scale),
    Key("loraplus_lr_ratio", "optimizer.lora_plus", number),
    Spread("loraplus_lr_embedding", ("optimizer.lora_plus_embedding_lr",), _lora_embedding),
    Spread("optim_args", ("optimizer.args",), _args, whole=True),
    Key("adam_beta3", "optimizer.args.beta3", number),
    Key("adam_epsilon2", "optimizer.args.eps2", number),
    *map(
        _constant,
        ("dion_lr", "dion_momentum", "dion_rank_fraction", "dion_rank_multiple_of"),
    ),
    Spread(
        "lr_scheduler",
        (
            *("schedule.kind", "schedule.warmup_steps", "schedule.cycles", "schedule.minimum"),
            *("schedule.args.beta", "schedule.args.mode"),
        ),
        _schedule,
    ),
    Spread(
        "lr_scheduler_kwargs",
        CONSTANTS,
        _curve,
        whole=True,
    ),
    Key("cosine_min_lr_ratio", "schedule.minimum", number, note="1.0 holds the rate at its peak after warm-up"),
    Spread("warmup_steps", ("schedule.warmup_steps", "schedule.warmup_share"), _warmup),
    Spread("warmup_ratio", ("schedule.warmup_share",), _warmup_share),
    Refused("cosine_constant_lr_ratio", "a cosine that ends early is not there", "leave it out", (None, False, 0)),
    Refused("lr_quadratic_warmup", "warm-up is linear", _LATER),
    Refused("lr_div_factor", "warm-up starts at 0", _LATER),
    Refused("jagged_restart_steps", "a rate that restarts is not there", _LATER),
    Inert("jagged_restart_warmup_steps", "it belongs to jagged_restart_steps"),
    Inert("jagged_restart_anneal_steps", "it belongs to jagged_restart_steps"),
    Inert("eta_min", "no key of Axolotl, which passes over it; the end of the curve is cosine_min_lr_ratio"),
    Inert("adam_eps", "no key of Axolotl, which passes over it; the constant is adam_epsilon"),
    Refused("lr_groups", "several learning rates are not there", _LATER, (None, []), whole=True),
    Key("optim_target_modules", "optimizer.args.target_modules", whole=True),
    *(Spread(f"log_sweep_{end}", (f"schedule.args.{end}",), _sweep(end)) for end in ("min_lr", "max_lr")),
    Refused("rl_adapter_ref_model", "the reference is the model before its first step", "leave it out"),
    Refused("torchdistx_path", "torchdistx is no longer made", "write optimizer: adamw_torch"),
    Refused("lr_scheduler_type", "Axolotl calls it lr_scheduler", "write lr_scheduler", ()),
    Key("use_dynamic_finetuning", "method.weighting", lambda value: "probability" if flag(value) else "equal"),
    Key("neftune_noise_alpha", "method.neftune_alpha", number, old=("noisy_embedding_alpha",)),
    *PREFERENCE,
)

DEFAULTS: tuple[Default, ...] = (
    Default("num_epochs", 1, {"batch.epochs": 1.0}),
    Default("learning_rate", 2e-4, {"optimizer.lr": 2e-4}, "Axolotl insists on it; this is Luthier's own"),
    Default("optimizer", "adamw_torch_fused", {"optimizer.kind": "adamw"}),
    Default("weight_decay", 0.0, {"optimizer.weight_decay": 0.0}),
    Default(
        "loraplus_lr_embedding",
        1e-6,
        {"optimizer.lora_plus_embedding_lr": 1e-6},
        "of LoRA in embeddings, beside loraplus_lr_ratio",
        _lora_plus,
    ),
    UNCLIPPED,
    Default("max_grad_norm", 1.0, {"optimizer.clip": 1.0}),
    Default("lr_scheduler", "cosine", {"schedule.kind": "cosine"}),
    Default(
        "warmup_ratio",
        0.03,
        {"schedule.warmup_share": 0.03},
        "Axolotl stopped at 100 steps; set schedule.warmup_steps=100 for runs of more than 3333",
        lambda values: values.get("warmup_steps") is None and values.get("lr_scheduler") not in COLD,
    ),
    Default("seed", 42, {"seed": 42}),
    WITH_LIKELIHOOD,
)

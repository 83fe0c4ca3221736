"""Settings that cannot matter beside the others, and why."""

from __future__ import annotations

from luthier.recipe.field import Section
from luthier.recipe.optimizers import NEEDS_TARGETS, OPTIMIZERS, STANDS_IN, by_its_name
from luthier.recipe.recipe import Recipe
from luthier.recipe.schedule import DEEPSPEED, RISING

InertRule = tuple[bool, str, tuple[str, ...]]
"""(whether it holds, reason, dotted keys)"""

TERMS = (
    *("beta", "loss", "preference_smoothing", "nll_weight", "margin"),
    *("desirable_weight", "undesirable_weight", "center_rewards", "reference", "model_dropout"),
)
PREFERENCES = {
    "dpo": ("beta", "loss", "preference_smoothing", "nll_weight", "reference", "model_dropout"),
    "ipo": ("beta", "nll_weight", "reference", "model_dropout"),
    "kto": ("beta", "desirable_weight", "undesirable_weight", "reference", "model_dropout"),
    "orpo": ("beta", "model_dropout"),
    "simpo": ("beta", "preference_smoothing", "nll_weight", "margin", "model_dropout"),
    "cpo": ("beta", "loss", "preference_smoothing", "nll_weight", "model_dropout"),
    "reward": ("center_rewards", "model_dropout"),
}
"""Which terms each preference method has."""

SEVERAL = (
    "offload_optimizer",
    "offload_parameters",
    "wrap",
    "deepspeed_config",
    "fsdp_config",
    "ddp",
    "backend",
    "timeout",
)
OF_LORA = (
    *("rank", "alpha", "dropout", "rank_pattern", "alpha_pattern"),
    *("dora", "rslora", "init", "bias"),
)
OF_PREFIX = ("adapter.projection", "adapter.projection_width")
TRACKER = ("project", "entity", "name", "run_id", "hide_nonfinite", "watch", "log_model", "dir", "tags", "options")


def inert(recipe: Recipe) -> dict[str, str]:
    """Settings (or whole sections, by prefix) that cannot matter in this recipe, and why."""
    return {
        key: reason for holds, reason, keys in (*_switched_off(recipe), *_not_used(recipe)) if holds for key in keys
    }


def _switched_off(recipe: Recipe) -> tuple[InertRule, ...]:
    """Settings that another setting takes the meaning from."""
    runtime, parallel = recipe.runtime, recipe.parallel
    one_process = parallel.engine in ("auto", "single") and parallel.stage == 0
    return (
        (recipe.adapter.kind == "none", "adapter.kind is none", _others("adapter", recipe.adapter)),
        (
            recipe.adapter.kind == "none",
            "adapter.kind is none",
            ("optimizer.lora_plus", "optimizer.lora_plus_embedding_lr", "output.merge"),
        ),
        (recipe.quantise.bits == 16, "the weights are not quantised", _others("quantise", recipe.quantise)),
        *_other_adapters(recipe),
        *_unevaluated(recipe),
        *_other_methods(recipe),
        (recipe.adapter.kind != "none", "the adapter trains alone", ("model.trainable", "model.last_layers")),
        (
            recipe.adapter.kind != "none" and not recipe.output.merge,
            "an adapter is saved as it trains, in one file",
            ("output.dtype", "output.shard_size"),
        ),
        (recipe.pack.kind == "none", "pack.kind is none", ("pack.length",)),
        (recipe.pack.kind != "none", "packs are full whatever the lengths", ("data.group_by_length",)),
        (recipe.data.curriculum != "none", "data.curriculum says the order", ("data.group_by_length",)),
        (recipe.batch.steps is not None, "batch.steps wins", ("batch.epochs",)),
        (recipe.schedule.warmup_steps is not None, "schedule.warmup_steps wins", ("schedule.warmup_share",)),
        (True, f"{recipe.optimizer.kind} has no such constant", _constants_without_use(recipe)),
        (not runtime.compile, "runtime.compile is off", ("runtime.compile_backend", "runtime.compile_mode")),
        (
            not runtime.gradient_checkpointing,
            "runtime.gradient_checkpointing is off",
            ("runtime.checkpoint_reentrant", "runtime.checkpoint_every", "runtime.checkpoint_offload"),
        ),
        (one_process, "there is one process", tuple(f"parallel.{n}" for n in SEVERAL)),
        (not recipe.track.to, "no tracker is told", tuple(f"track.{n}" for n in TRACKER)),
        (not recipe.output.hub.push, "output.hub.push is off", _others("output.hub", recipe.output.hub)),
    )


def _unevaluated(recipe: Recipe) -> tuple[InertRule, ...]:
    """Settings of evaluations and answers that do not come."""
    evaluated = bool(recipe.data.evaluate or recipe.data.holdout)
    return (
        (
            not recipe.evaluate.generates,
            "nothing is generated",
            ("evaluate.generation", "evaluate.metrics", "evaluate.table_rows"),
        ),
        (not recipe.evaluate.generate, "evaluate.generate is off", ("data.test",)),
        (not evaluated, "there are no evaluation rows", ("evaluate.generate_during",)),
        (recipe.evaluate.generation.beams == 1, "there is one beam", ("evaluate.generation.length_penalty",)),
        (
            recipe.evaluate.generation.temperature == 0,
            "the likeliest token is taken",
            ("evaluate.generation.top_p", "evaluate.generation.top_k"),
        ),
        (not evaluated, "there are no evaluation rows", tuple(f"evaluate.{n}" for n in ("every", "delay", "rows"))),
        (not evaluated, "there are no evaluation rows", ("batch.evaluate",)),
        (not evaluated and not recipe.evaluate.generate, "nothing is evaluated", ("evaluate.at_start",)),
    )


def _other_methods(recipe: Recipe) -> tuple[InertRule, ...]:
    """Settings of one method that another has no use for."""
    return (
        (
            recipe.method.kind == "pretrain",
            "pretraining learns every token of the text",
            ("data.template", "data.system", "data.train_on", "data.last_turn_only"),
        ),
        (
            recipe.method.kind in ("pretrain", "sft"),
            "there are no preferences to learn",
            ("method.max_prompt_length", *(f"method.{name}" for name in TERMS)),
        ),
        (
            recipe.method.kind in PREFERENCES,
            "answers are judged whole, and no token by itself",
            ("method.label_smoothing", "method.z_loss", "data.train_on"),
        ),
        (recipe.method.kind in PREFERENCES, f"{recipe.method.kind} has no such term", _terms_without_use(recipe)),
    )


def _terms_without_use(recipe: Recipe) -> tuple[str, ...]:
    """Terms of preference methods that this one has not."""
    method = recipe.method
    used = PREFERENCES.get(method.kind, TERMS)
    smooth = method.kind == "dpo" and method.loss not in ("sigmoid", "robust", "exo_pair")
    gone = {"preference_smoothing"} if smooth or method.loss in ("hinge", "ipo") else set()
    return tuple(f"method.{name}" for name in TERMS if name not in used or name in gone)


def _constants_without_use(recipe: Recipe) -> tuple[str, ...]:
    """Constants that the optimiser, or what stands in for it, has not."""
    kind = recipe.optimizer.kind
    kind = by_its_name(STANDS_IN[kind][0] if kind in STANDS_IN else kind)
    facts = OPTIMIZERS.get(kind)
    targets = kind not in NEEDS_TARGETS and "target_modules" in recipe.optimizer.args
    return (*facts.unused, *(("optimizer.args.target_modules",) if targets else ())) if facts else ()


def _other_adapters(recipe: Recipe) -> tuple[InertRule, ...]:
    """Settings of one kind of adapter that another has no use for."""
    own = recipe.adapter.kind
    lora = tuple(f"adapter.{name}" for name in OF_LORA)
    return (
        (own in ("lora", "ia3"), f"{own} has no virtual tokens", ("adapter.virtual_tokens", *OF_PREFIX)),
        (own == "prompt", "only a prefix has such a network", OF_PREFIX),
        (
            own == "prefix" and not recipe.adapter.projection,
            "the prefix is trained as it is",
            ("adapter.projection_width",),
        ),
        (own == "ia3", "(IA)3 has one number per feature and none of these", lora),
        (
            own in ("prefix", "prompt"),
            f"a {own} is in no layer",
            (*lora, "adapter.targets", "adapter.fan_in_fan_out"),
        ),
        (
            own not in ("none", "lora"),
            f"{own} has no B matrices",
            ("optimizer.lora_plus", "optimizer.lora_plus_embedding_lr"),
        ),
        (recipe.optimizer.lora_plus is None, "optimizer.lora_plus is unset", ("optimizer.lora_plus_embedding_lr",)),
    )


def _not_used(recipe: Recipe) -> tuple[InertRule, ...]:
    """Settings that nothing in this version asks for, whatever the others say."""
    of_curves = {"power", "cycles", "stable", "decay", "args", "minimum"}
    used = {
        "cosine": {"cycles", "minimum"},
        "cosine_with_restarts": {"cycles", "minimum"},
        "cosine_warmup_with_min_lr": {"cycles", "minimum", "args"},
        "linear": {"minimum"},
        "polynomial": {"power", "minimum"},
        "inverse_sqrt": {"minimum", "args"},
        "rex": {"minimum", "args"},
        "warmup_stable_decay": {"cycles", "stable", "decay", "minimum", "args"},
        "constant": set(),
        "warmup_lr": set(),
        "warmup_decay_lr": set(),
        "warmup_cosine_lr": {"minimum"},
        "one_cycle": {"args"},
        "log_sweep": {"args"},
        "reduce_lr_on_plateau": {"minimum", "args"},
        "greedy": {"args"},
    }
    schedule = recipe.schedule
    unused = tuple(f"schedule.{name}" for name in sorted(of_curves - used.get(schedule.kind, of_curves)))
    cold = schedule.warmup_steps == 0 or (schedule.warmup_steps is None and not schedule.warmup_share)
    return (
        (True, f"a {recipe.schedule.kind} curve has none", unused),
        (cold and schedule.kind not in DEEPSPEED, "there is no warm-up", ("schedule.warmup", "schedule.warmup_from")),
        (schedule.kind in RISING, f"{schedule.kind} rises in its own way", ("schedule.warmup", "schedule.warmup_from")),
        (schedule.kind == "log_sweep", "log_sweep goes from its min_lr to its max_lr", ("optimizer.lr",)),
        (True, "notes on the machine are kept and not used", ("runtime.environment",)),
        (True, "batches are put together in the loop itself", ("runtime.loader_workers", "runtime.pin_memory")),
        (True, "the run writes events, not logs", ("runtime.log_level",)),
    )


def _others(name: str, section: Section) -> tuple[str, ...]:
    """A section's settings but the one that switches it."""
    return tuple(f"{name}.{field}" for field in list(type(section).model_fields)[1:])


def why_inert(reasons: dict[str, str], key: str) -> str:
    """Why the setting ``key`` (or a section above it) is inert, or an empty string."""
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        reason = reasons.get(".".join(parts[:end]))
        if reason:
            return reason
    return ""

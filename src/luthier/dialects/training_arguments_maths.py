"""TrainingArguments that reach the weights: optimiser, schedule, batch, precision, order of the rows."""

from __future__ import annotations

from typing import Any

from luthier.dialects import names
from luthier.dialects.plain_values import flag, mapping, number, whole
from luthier.dialects.table import Cannot, Effect, Key, Row, Spread, Values, applied, inert, refused, replaced

LEARNING_RATE = 5e-5
"""Upstream's learning rate when none is given."""


def clip(value: Any, values: Values) -> Effect:
    """``max_grad_norm``: nothing and 0 both meant no clipping."""
    return applied({"optimizer.clip": None if value is None or number(value) <= 0 else number(value)})


def optimizer(value: Any, values: Values) -> Effect:
    """``optim``, over which ``adafactor: true`` wins."""
    if value is None:
        return inert("null: left at the default")
    if values.get("adafactor"):
        return inert("adafactor: true wins")
    name = names.optimizer(value)
    note = "paging moves the state between GPU and host; it does not change a step" if "paged" in name else ""
    return applied({"optimizer.kind": name}, note)


def adafactor(value: Any, values: Values) -> Effect:
    """``adafactor``, from before ``optim``."""
    return applied({"optimizer.kind": "adafactor"}) if value and flag(value) else inert("off: optim decides")


def steps(value: Any, values: Values) -> Effect:
    """``max_steps``: -1 leaves the length to the epochs."""
    if value is None or whole(value) <= 0:
        return inert("num_train_epochs decides")
    return applied({"batch.steps": whole(value)})


def processes(value: Any, values: Values) -> Effect:
    """``_n_gpu``: GPUs that one process drove, each with a micro-batch of its own."""
    count = whole(value) if value is not None else 0
    if count <= 1:
        return inert("counted on the machine that wrote the file; this one counts its own")
    return applied({"batch.world": count}, "each GPU took a micro-batch of its own")


def _kind(values: Values) -> str:
    given = values.get("lr_scheduler_type")
    return "linear" if given is None else names.schedule(given)


def schedule(value: Any, values: Values) -> Effect:
    """``lr_scheduler_type``; what its name implies about warm-up and minimum comes along."""
    kind, given = _kind(values), values.get("lr_scheduler_kwargs")
    if kind == "constant":
        return applied({"schedule.kind": "constant", "schedule.warmup_steps": 0}, "constant has no warm-up at all")
    settings: dict[str, Any] = {
        "schedule.kind": {"constant_with_warmup": "constant", "cosine_with_min_lr": "cosine"}.get(kind, kind)
    }
    constants = mapping(given) if given else {}
    if kind == "cosine_with_restarts" and "num_cycles" not in constants:
        settings["schedule.cycles"] = 1.0
    if kind == "polynomial" and "lr_end" not in constants:
        settings["schedule.minimum"] = 1e-7 / _rate(values)
    return applied(settings, "the curve after warm-up" if kind == "constant_with_warmup" else "")


def _rate(values: Values) -> float:
    given = values.get("learning_rate")
    rate = LEARNING_RATE if given is None else number(given)
    if rate <= 0:
        raise Cannot("a learning rate of 0 has no share", "write a learning rate above 0")
    return rate


def schedule_constants(value: Any, values: Values) -> Effect:
    """``lr_scheduler_kwargs``: those that every curve has are settings, the rest go along as they are."""
    if not value:
        return inert("empty")
    settings: dict[str, Any] = {}
    for name, constant in mapping(value).items():
        if name == "num_cycles":
            settings["schedule.cycles"] = number(constant)
        elif name == "power":
            settings["schedule.power"] = number(constant)
        elif name in ("min_lr", "lr_end"):
            settings["schedule.minimum"] = number(constant) / _rate(values)
        elif name == "min_lr_rate":
            settings["schedule.minimum"] = number(constant)
        else:
            settings["schedule.args"] = {**settings.get("schedule.args", {}), name: constant}
    return applied(settings)


def warmup_steps(value: Any, values: Values) -> Effect:
    """``warmup_steps``: wins over the ratio when above 0; today's below 1 is a ratio."""
    if _kind(values) == "constant":
        return inert("constant has no warm-up")
    given = number(value) if value is not None else 0.0
    if given <= 0 and number(values.get("warmup_ratio") or 0) > 0:
        return inert("0 gives way to warmup_ratio")
    if 0 < given < 1:
        return applied({"schedule.warmup_share": given}, "below 1 it is a share of the run")
    return applied({"schedule.warmup_steps": max(0, whole(given))})


def warmup_ratio(value: Any, values: Values) -> Effect:
    """``warmup_ratio``: a share of the run, rounded up to steps."""
    if _kind(values) == "constant":
        return inert("constant has no warm-up")
    if number(values.get("warmup_steps") or 0) > 0:
        return inert("warmup_steps wins")
    if value is None or number(value) <= 0:
        return applied({"schedule.warmup_steps": 0})
    return applied({"schedule.warmup_share": number(value)}, "rounded up to whole steps, as upstream did")


def no_warmup(values: Values) -> bool:
    """Whether no key asks for warm-up."""
    return not values.get("warmup_steps") and not values.get("warmup_ratio")


def _on(value: Any) -> bool:
    return value is not None and flag(value)


def half(name: str, other: str) -> Any:
    """``fp16`` or ``bf16``; both off computes in the weights' own type, fp32."""

    def spread(value: Any, values: Values) -> Effect:
        if _on(value) and _on(values.get(other)):
            raise Cannot(f"{name} and {other} are both on", "keep one of them")
        if _on(value):
            note = "a CPU has no fast fp16: there it becomes bf16" if name == "fp16" else ""
            return applied({"precision.compute": name}, note)
        if _on(values.get(other)):
            return inert(f"{other} decides")
        return applied({"precision.compute": "fp32"}, "neither fp16 nor bf16: no mixed precision")

    return spread


def evaluate_half(name: str, other: str) -> Any:
    """``fp16_full_eval`` or ``bf16_full_eval``: weights in that type while evaluating."""

    def spread(value: Any, values: Values) -> Effect:
        if not _on(value):
            return inert(f"{other}_full_eval decides") if _on(values.get(f"{other}_full_eval")) else inert("off")
        if not _on(values.get(name)):
            raise Cannot(f"evaluating in {name} goes with computing in it", f"set {name}: true as well")
        return applied({"precision.full_evaluation": True})

    return spread


def sampling(value: Any, values: Values) -> Effect:
    """``train_sampling_strategy``, which took over from ``group_by_length``."""
    orders = {
        "random": {"data.shuffle": True},
        "sequential": {"data.shuffle": False},
        "group_by_length": {"data.group_by_length": True},
    }
    return applied(orders[names.member(value, tuple(orders), "sampling strategy")])


def data_seed(value: Any, values: Values) -> Effect:
    """``data_seed``: one seed rules every random choice here."""
    if value is None or value == values.get("seed", 42):
        return inert("the run's seed orders the rows")
    return replaced({}, "one seed rules the whole run, the order of the rows included; set seed for another order")


def split_batches(value: Any, values: Values) -> Effect:
    """``split_batches``: the batch size is that of all processes together."""
    if not _on(value):
        return inert("off: the batch size is one device's")
    return refused("the batch size would be that of all processes", "divide it by their number and remove the key")


def accelerator(value: Any, values: Values) -> Effect:
    """``accelerator_config``: how Accelerate's loader shares batches out."""
    given = mapping(value) if value else {}
    return (
        split_batches(True, values)
        if _on(given.get("split_batches"))
        else inert("every rank computes the same planned batches")
    )


def averaging(value: Any, values: Values) -> Effect:
    """``average_tokens_across_devices``: always so here."""
    if value is None or flag(value):
        return inert("the loss is always divided by the trained tokens of all devices")
    return replaced({}, "the mean of the devices' means is not taken: the loss is divided by the tokens of all devices")


MATHS: tuple[Row, ...] = (
    Key("learning_rate", "optimizer.lr", number),
    Key("adam_beta1", "optimizer.beta1", number),
    Key("adam_beta2", "optimizer.beta2", number),
    Key("adam_epsilon", "optimizer.epsilon", number),
    Key(
        "weight_decay",
        "optimizer.weight_decay",
        number,
        note="decoupled: taken off the weights, not added to the loss; biases and norms are left out, as upstream did",
    ),
    Spread("max_grad_norm", ("optimizer.clip",), clip),
    Spread("optim", ("optimizer.kind",), optimizer),
    Spread("adafactor", ("optimizer.kind",), adafactor),
    Key("optim_args", "optimizer.args", mapping, whole=True),
    Key("optim_target_modules", "optimizer.args.target_modules", whole=True),
    Spread(
        "lr_scheduler_type",
        ("schedule.kind", "schedule.warmup_steps", "schedule.cycles", "schedule.minimum"),
        schedule,
    ),
    Spread(
        "lr_scheduler_kwargs",
        ("schedule.args", "schedule.cycles", "schedule.power", "schedule.minimum"),
        schedule_constants,
        whole=True,
    ),
    Spread("warmup_steps", ("schedule.warmup_steps", "schedule.warmup_share"), warmup_steps),
    Spread("warmup_ratio", ("schedule.warmup_share", "schedule.warmup_steps"), warmup_ratio),
    Key("per_device_train_batch_size", "batch.micro", whole, old=("per_gpu_train_batch_size",)),
    Key("per_device_eval_batch_size", "batch.evaluate", whole, old=("per_gpu_eval_batch_size",)),
    Key(
        "gradient_accumulation_steps",
        "batch.accumulation",
        whole,
        note="before transformers 4.46 each micro-batch counted alike; here each trained token does",
    ),
    Key("num_train_epochs", "batch.epochs", number),
    Spread("max_steps", ("batch.steps",), steps),
    Key("dataloader_drop_last", "batch.drop_last", flag, note="it is the epoch's incomplete step that is skipped"),
    Key("auto_find_batch_size", "batch.find_micro", flag, note="micro is halved and accumulation doubled"),
    Spread("_n_gpu", ("batch.world",), processes),
    Spread("split_batches", (), split_batches),
    Spread("accelerator_config", (), accelerator, whole=True),
    Spread("average_tokens_across_devices", (), averaging),
    Spread("bf16", ("precision.compute",), half("bf16", "fp16")),
    Spread("fp16", ("precision.compute",), half("fp16", "bf16")),
    Spread("bf16_full_eval", ("precision.full_evaluation",), evaluate_half("bf16", "fp16")),
    Spread("fp16_full_eval", ("precision.full_evaluation",), evaluate_half("fp16", "bf16")),
    Key("tf32", "precision.tf32", flag),
    Key("label_smoothing_factor", "method.label_smoothing", number),
    Key("neftune_noise_alpha", "method.neftune_alpha", number),
    Key(
        "group_by_length",
        "data.group_by_length",
        flag,
        note="rows of similar length share a micro-batch, so the order of the rows is no longer random throughout",
    ),
    Spread("train_sampling_strategy", ("data.shuffle", "data.group_by_length"), sampling),
    Key("seed", "seed", whole),
    Spread("data_seed", (), data_seed),
)

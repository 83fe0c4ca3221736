"""TrainingArguments that reach the weights: optimiser, schedule, batch, precision, order of the rows."""

from __future__ import annotations

from typing import Any

from luthier.dialects import names
from luthier.dialects.plain_values import flag, mapping, number, whole
from luthier.dialects.table import Cannot, Effect, Key, Row, Spread, Values, applied, inert, refused, replaced
from luthier.dialects.training_arguments_schedule import SCHEDULE

DROPPED = (
    "upstream left out an epoch's incomplete micro-batch and still took its incomplete step; here that whole step is "
    "left out"
)


def clip(value: Any, values: Values) -> Effect:
    """``max_grad_norm``: nothing and 0 both meant no clipping."""
    return applied({"optimizer.clip": None if value is None or number(value) <= 0 else number(value)})


def optimizer_note(value: Any) -> str:
    """What the name of an optimiser does not say: its kernel, its state, its age."""
    name = str(value).rsplit(".", 1)[-1].strip().lower()
    if name == "adamw_hf":
        return (
            "transformers' own AdamW, since removed, added epsilon before correcting the bias; PyTorch's adds it after"
        )
    notes = []
    if "8bit" in name or "4bit" in name or name == "adamw_bnb":
        notes.append("its state is rounded to few bits, which shows in the weights")
    if "paged" in name:
        notes.append("paging moves the state between GPU and host; it does not change a step")
    if name == "grokadamw":
        notes.append("transformers hands it no betas and no epsilon; here those of the file count")
    return "; ".join(notes)


def optimizer(value: Any, values: Values) -> Effect:
    """``optim``, over which ``adafactor: true`` wins."""
    if value is None:
        return inert("null: left at the default")
    if values.get("adafactor"):
        return inert("adafactor: true wins")
    return applied({"optimizer.kind": names.optimizer(value)}, optimizer_note(value))


def adafactor(value: Any, values: Values) -> Effect:
    """``adafactor``, from before ``optim``."""
    if not value or not flag(value):
        return inert("off: optim decides")
    return applied({"optimizer.kind": "adafactor"}, "from before optim, over which it wins")


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
        note = f"evaluated with the weights themselves in {name}, not under autocast: the loss is a little coarser"
        return applied({"precision.full_evaluation": True}, note)

    return spread


def sampling(value: Any, values: Values) -> Effect:
    """``train_sampling_strategy``, which took over from ``group_by_length``."""
    orders = {
        "random": {"data.shuffle": True},
        "sequential": {"data.shuffle": False},
        "group_by_length": {"data.group_by_length": True},
        "batch_rebalance": {"data.shuffle": True},
    }
    if str(value).strip().lower() == "batch_rebalance":
        note = "it dealt a step's rows out among devices and micro-batches by their cost; a step has the same rows"
        return replaced(orders["batch_rebalance"], note)
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
    if _on(given.get("split_batches")):
        return split_batches(True, values)
    within = given.get("gradient_accumulation_kwargs")
    steps = mapping(within).get("num_steps") if within else None
    if steps is None:
        return inert("every rank computes the same planned batches")
    if whole(values.get("gradient_accumulation_steps") or 1) > 1:
        raise Cannot("num_steps and gradient_accumulation_steps say the same", "keep gradient_accumulation_steps")
    return applied({"batch.accumulation": whole(steps)}, "num_steps takes the place of gradient_accumulation_steps")


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
    *SCHEDULE,
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
    Key("dataloader_drop_last", "batch.drop_last", flag, note=DROPPED),
    Key("auto_find_batch_size", "batch.find_micro", flag, note="micro is halved and accumulation doubled"),
    Spread("_n_gpu", ("batch.world",), processes),
    Spread("split_batches", (), split_batches),
    Spread("accelerator_config", ("batch.accumulation",), accelerator, whole=True),
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

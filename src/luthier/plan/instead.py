"""What a recipe asks for that this machine or this version lacks, where the same result can be had otherwise: said in
the plan, and done. What would change the result is refused (``support.py``), never exchanged."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from luthier.data.convert import attempts_of, format_of
from luthier.data.encoder import Encoder
from luthier.data.example import TEXT, Example
from luthier.data.template_names import missing_tokens
from luthier.environment import processes, processor_vendor
from luthier.errors import ModelError
from luthier.model.adapter_files import KINDS, adapter_directory, adapter_settings, settings_of
from luthier.model.kernels.choose import TOLD, Here, choose_attention, installed_here, lacking_switches, lacks
from luthier.plan.compute import compute_here, device_here
from luthier.plan.engine import SHARDED, engine_of
from luthier.recipe import Recipe
from luthier.recipe.field import Section
from luthier.recipe.optimizers import OPTIMIZERS, STANDS_IN, STANDS_IN_WITH

UNPAGED = "a CPU has no second memory to page to: the state lies in host memory anyway, and its numbers are the same"


@dataclass(frozen=True, slots=True)
class Instead:
    """A setting that something else stands in for: its key, what was asked for, what is done, and why; without a reason
    it is the same thing, counted otherwise, and is not told."""

    key: str
    asked: Any
    done: Any
    why: str

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.asked)} becomes {_shown(self.done)}: {self.why}"


def substituted(recipe: Recipe) -> tuple[Recipe, tuple[Instead, ...]]:
    """The recipe as it can run here, and what was exchanged in it."""
    found = [one for rule in RULES for one in rule(recipe)]
    for one in found:
        recipe = _changed(recipe, one.key.split("."), one.done)
    return recipe, tuple(found)


def with_template(recipe: Recipe, encoder: Encoder) -> tuple[Recipe, tuple[Instead, ...]]:
    """The recipe with a chat template named, where its rows need one and its tokenizer has none.

    Rows in the Alpaca format have Alpaca's own; other conversations get ChatML.

    Raises:
        DataError: the first row cannot be read.
    """
    data = recipe.data
    if data.template != "auto" or encoder.chat_template is not None or recipe.method.kind == "pretrain":
        return recipe, ()
    first = next(iter(attempts_of(data.train[0])), None)
    if not isinstance(first, Example) or first.messages[0].role == TEXT:
        return recipe, ()
    chosen = "alpaca" if format_of(data.train[0]) == "alpaca" else "chatml"
    why = "the tokenizer has no chat template; this one is saved with the result"
    return _changed(recipe, ["data", "template"], chosen), (Instead("data.template", "auto", chosen, why),)


def lacking_tokens(recipe: Recipe, encoder: Encoder) -> tuple[str, ...]:
    """A warning where the tokenizer reads control tokens of a named chat template as ordinary text."""
    if recipe.data.template == "auto" or recipe.method.kind == "pretrain":
        return ()
    lacking = missing_tokens(recipe.data.template, encoder)
    if not lacking:
        return ()
    told = f"{', '.join(lacking)} of the template {recipe.data.template} are no tokens of this tokenizer"
    return (f"data.template: {told}, and are read as ordinary text (tokenizer.added_special adds them)",)


def _optimizer(recipe: Recipe) -> list[Instead]:
    """An optimiser whose package or device is not here, by one that makes the same steps."""
    kind, device = recipe.optimizer.kind, device_here(recipe.runtime.device)
    if recipe.optimizer.fallback == "refuse":
        return []
    if kind in STANDS_IN:
        done, why = STANDS_IN[kind]
        given = {**STANDS_IN_WITH.get(kind, {}), **recipe.optimizer.args}
        constants = (
            [] if given == recipe.optimizer.args else [Instead("optimizer.args", recipe.optimizer.args, given, "")]
        )
        return [Instead("optimizer.kind", kind, done, why), *constants]
    facts = OPTIMIZERS.get(kind)
    if facts is None:
        return []
    engine = engine_of(recipe, processes()).name
    if facts.equal in SHARDED.get(engine, ()):
        why = f"{engine} shares its state out, which is kept in full precision, so that nothing is rounded"
        return [Instead("optimizer.kind", kind, facts.equal, why)]
    if kind == "paged_adamw_32bit" and device == "cpu":
        return [Instead("optimizer.kind", kind, "adamw", UNPAGED)]
    if facts.equal and not installed(facts.package):
        why = f"{facts.install} is not installed (pip install {facts.install}); its state is kept in full precision"
        return [Instead("optimizer.kind", kind, facts.equal, f"{why}, so nothing is rounded and it takes more memory")]
    if kind.startswith("paged_") and device == "cpu" and installed(facts.package):
        return [Instead("optimizer.kind", kind, unpaged(kind), UNPAGED)]
    return []


def unpaged(kind: str) -> str:
    """The optimiser without the paging of its state between GPU and host.

    >>> unpaged("paged_lion_32bit"), unpaged("paged_ademamix_32bit")
    ('lion_32bit', 'ademamix')
    """
    bare = kind.removeprefix("paged_")
    return bare if bare in OPTIMIZERS else bare.removesuffix("_32bit")


def installed(package: str) -> bool:
    """Whether a package is here, told without loading it."""
    return not package or importlib.util.find_spec(package) is not None


def _speed(recipe: Recipe) -> list[Instead]:
    """Kernels that cannot run here, or not together; the result is the same without them."""
    runtime, wanted, device = recipe.runtime, recipe.model.attention, device_here(recipe.runtime.device)
    compute = compute_here(recipe.precision.compute, device)
    here = Here(device, compute, packages=installed_here(), vendor=processor_vendor())
    found = []
    lacking = lacks(wanted, here, recipe.adapter.kind)
    if lacking:
        usual = choose_attention("auto", here, recipe.adapter.kind)
        why = f"{wanted} {lacking}; {usual.name} computes the same: {TOLD[usual.name]}"
        found.append(Instead("model.attention", wanted, "auto", why))
    for name, lacking in lacking_switches(recipe, here).items():
        if lacking and getattr(runtime.kernels, name) == "on":
            found.append(Instead(f"runtime.kernels.{name}", "on", "off", lacking))
    if runtime.checkpoint_offload and device == "cpu":
        why = "what would be moved to host memory is there already"
        found.append(Instead("runtime.checkpoint_offload", True, False, why))
    return found


def _precision(recipe: Recipe) -> list[Instead]:
    if device_here(recipe.runtime.device) != "cpu":
        return []
    found = []
    for key, wanted in (("precision.compute", recipe.precision.compute), ("quantise.compute", recipe.quantise.compute)):
        if wanted == "fp16":
            why = "a CPU is far slower in fp16 than in fp32; auto is bf16 where it has instructions for it, else fp32"
            found.append(Instead(key, wanted, "auto", why))
        elif wanted == "bf16" and compute_here(wanted, "cpu") != wanted:
            why = (
                "this processor has no bf16 instructions, and without them bf16 is far slower than fp32, which it gets"
            )
            found.append(Instead(key, wanted, "auto", why))
    return found


TRACKERS = {
    "comet": "comet_ml",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
"""Trackers, and the packages that they are reached through."""

ELSEWHERE = ("azure_ml", "clearml", "codecarbon", "dagshub", "dvclive", "flyte", "neptune")
"""Trackers of transformers' that none of ours speaks to."""


def _record(recipe: Recipe) -> list[Instead]:
    found: list[Instead] = []
    lacking = [name for name in recipe.track.to if not installed(TRACKERS.get(name, ""))]
    strange = [name for name in recipe.track.to if name in ELSEWHERE]
    if lacking or strange:
        here = tuple(name for name in recipe.track.to if name not in (*lacking, *strange))
        packages = " ".join(TRACKERS[name].replace("_", "-") for name in lacking)
        whys = [f"{', '.join(lacking)} not installed here (pip install {packages})"] if lacking else []
        whys += [f"nothing here speaks to {', '.join(strange)}"] if strange else []
        why = f"{'; '.join(whys)}; every value is in the run's events.jsonl and its report"
        found.append(Instead("track.to", list(recipe.track.to), here, why))
    if recipe.tokenizer.pad is not None:
        found.append(Instead("tokenizer.pad", recipe.tokenizer.pad, None, "nothing is padded, so no token is needed"))
    return found


def _world(recipe: Recipe) -> list[Instead]:
    """A step's micro-batches are those of the processes that the recipe was written for, or else of those that are
    there; however many there are share them out."""
    world, there, accumulation = recipe.batch.world, processes(), recipe.batch.accumulation
    wanted = world or there
    if wanted == 1:
        return []
    share = "one process does" if there == 1 else f"{there} processes share out"
    why = "" if wanted == there else f"{share} the work of {wanted}, so that a step has the same batch"
    return [
        Instead("batch.world", world, 1, why),
        Instead("batch.accumulation", accumulation, accumulation * wanted, why),
    ]


def _engine(recipe: Recipe) -> list[Instead]:
    """An engine that has nothing to do here, by one that computes the same."""
    parallel, there = recipe.parallel, processes()
    chosen = engine_of(recipe, there)
    found = [Instead("parallel.engine", parallel.engine, chosen.name, chosen.why)] if chosen.why else []
    if chosen.name == "fsdp" and parallel.stage == 1:
        why = "FSDP shares gradients out too; the result is the same"
        found.append(Instead("parallel.stage", 1, 2, why))
    if chosen.name == "fsdp" and parallel.offload_optimizer != parallel.offload_parameters:
        why = "FSDP keeps optimiser state where the weights are"
        for name in ("offload_optimizer", "offload_parameters"):
            if not getattr(parallel, name):
                found.append(Instead(f"parallel.{name}", False, True, why))
    if chosen.name == "fsdp" and recipe.runtime.gradient_checkpointing and recipe.runtime.checkpoint_reentrant:
        why = "shared-out layers take no re-entrant checkpoints; the others compute the same"
        found.append(Instead("runtime.checkpoint_reentrant", True, False, why))
    return found


def _prefix(recipe: Recipe) -> list[Instead]:
    """Re-entrant checkpoints give gradients to what a layer is handed as its input, and a prefix is not."""
    runtime = recipe.runtime
    if recipe.adapter.kind == "prefix" and runtime.gradient_checkpointing and runtime.checkpoint_reentrant:
        why = "a prefix gets no gradient through re-entrant checkpoints; the others compute the same"
        return [Instead("runtime.checkpoint_reentrant", True, False, why)]
    return []


def _continued(recipe: Recipe) -> list[Instead]:
    """The shape of the adapter that is gone on with."""
    adapter = recipe.adapter
    if adapter.kind == "none" or adapter.continue_from is None:
        return []
    try:
        directory = adapter_directory(adapter.continue_from)
        if KINDS.get(str(adapter_settings(directory).get("peft_type"))) != adapter.kind:
            return []
        found = settings_of(directory)
    except ModelError:
        return []
    return [
        Instead(f"adapter.{name}", getattr(adapter, name), has, "the adapter that is gone on with has it so")
        for name, has in found.items()
        if has != getattr(adapter, name)
    ]


RULES = (_optimizer, _speed, _precision, _record, _world, _engine, _prefix, _continued)


def _changed(section: Any, path: list[str], value: Any) -> Any:
    assert isinstance(section, Section)
    name, *rest = path
    inner = _changed(getattr(section, name), rest, value) if rest else value
    return section.model_copy(update={name: inner})


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

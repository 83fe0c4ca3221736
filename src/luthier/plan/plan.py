"""The plan of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from luthier.data.encoder import Encoder
from luthier.data.order import total_steps
from luthier.data.preference import capacity_of
from luthier.environment import processor_vendor
from luthier.model.chatglm import is_chatglm, native_names
from luthier.model.kernels.choose import Here, choose, installed_here, leaves
from luthier.model.shape import Shape, shape_of_directory, shape_of_scratch, weight_files
from luthier.plan.compute import compute_here, device_here, operations, speed
from luthier.plan.inputs import model_directory, rows_added, tokenizer_directory, trained_tokenizer
from luthier.plan.instead import lacking_tokens, with_template
from luthier.plan.layers import passed_over
from luthier.plan.memory import peak_memory, state_bytes, trained_width
from luthier.plan.parameters import trainable_parameters, with_rows
from luthier.plan.volume import Volume, estimate
from luthier.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Plan:
    """What will happen. Memory, disk (bytes), time (seconds) and operations are estimates; counts are exact when
    ``exact`` is. ``largest_batch`` is the tokens of the first epoch's largest micro-batch."""

    exact: bool
    device: str
    compute: str
    parameters: dict[str, int]
    documents: int
    tokens: int
    targets: int
    packs: int
    fewest_packs: int
    efficiency: float
    largest_batch: int
    evaluation_documents: int
    steps_per_epoch: int
    steps: int
    epochs: float
    memory: dict[str, int]
    disk: dict[str, int]
    operations: float
    kernels: dict[str, str]
    time: float
    speed_is_measured: bool
    warnings: tuple[str, ...]

    def tree(self) -> dict[str, Any]:
        """The plan as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan rests on: the recipe with its template named, the model's shape, the data's volume."""

    recipe: Recipe
    shape: Shape
    volume: Volume
    told: tuple[str, ...]


def facts_of(recipe: Recipe) -> Facts:
    """Look at the model, the tokenizer and the rows of a recipe, whose data need not be prepared yet.

    Raises:
        LuthierError: the model, the tokenizer or the rows cannot be found or read.
    """
    directory = model_directory(recipe)
    path = trained_tokenizer(recipe)
    tokenizer = tokenizer_directory(recipe) if path is None or (path / "tokenizer.json").exists() else None
    encoder = Encoder.open(tokenizer) if tokenizer is not None else None
    recipe, told = with_template(recipe, encoder) if encoder else (recipe, ())
    shape = shape_of(recipe, directory, encoder.vocabulary if encoder else None, rows_added(recipe) if encoder else 0)
    lacking = lacking_tokens(recipe, encoder) if encoder else ()
    volume = estimate(recipe, tokenizer, encoder)
    return Facts(recipe, shape, volume, (*map(str, told), *lacking, *volume.notes))


def plan_recipe(recipe: Recipe) -> Plan:
    """The plan of a recipe on this machine.

    Raises:
        LuthierError: the model, the tokenizer or the rows cannot be found or read.
    """
    return plan_of(facts_of(recipe))


def plan_of(facts: Facts) -> Plan:
    """The plan on this machine that the facts lead to."""
    plan = make_plan(facts.recipe, facts.shape, facts.volume)
    return replace(plan, warnings=(*facts.told, *plan.warnings))


def shape_of(recipe: Recipe, directory: Path | None, vocabulary: int | None = None, new: int = 0) -> Shape:
    """The shape of the model that a recipe trains, with rows for a vocabulary, ``new`` tokens of which it adds."""
    multiple = recipe.model.vocabulary_multiple
    if directory is not None:
        return with_rows(shape_of_directory(directory), -(-(vocabulary or 0) // multiple) * multiple, new)
    assert recipe.model.scratch is not None, "validated: a model has a path or a shape"
    spec = recipe.tokenizer.train
    rows = vocabulary or (spec.vocabulary if spec else 32_000)
    return shape_of_scratch(recipe.model.scratch, -(-rows // multiple) * multiple)


def make_plan(recipe: Recipe, shape: Shape, volume: Volume) -> Plan:
    """The plan for a model of known shape and data of known volume."""
    recipe = recipe.model_copy(update={"adapter": native_names(recipe.adapter, shape.architecture)})
    device = device_here(recipe.runtime.device)
    compute = compute_here(recipe.precision.compute, device)
    steps = total_steps(recipe, volume.steps_per_epoch)
    epochs = steps / volume.steps_per_epoch
    capacity = _capacity(recipe, volume)
    tokens, targets = micro_batch(recipe, volume)
    memory = peak_memory(recipe, shape, tokens, targets, compute, device)
    work = epochs * operations(recipe, shape, volume.tokens, volume.targets, volume.squared, volume.documents)
    rate, measured = speed(device, compute)
    fewest = -(-volume.tokens // capacity)
    trained = trainable_parameters(recipe, shape)
    return Plan(
        exact=volume.exact,
        device=device,
        compute=compute,
        parameters={"total": shape.count, "trainable": trained},
        documents=volume.documents,
        tokens=volume.tokens,
        targets=volume.targets,
        packs=volume.packs,
        fewest_packs=fewest,
        efficiency=volume.tokens / (volume.packs * capacity) if recipe.pack.kind != "none" else 1.0,
        largest_batch=volume.largest_batch,
        evaluation_documents=volume.evaluation_documents,
        steps_per_epoch=volume.steps_per_epoch,
        steps=steps,
        epochs=epochs,
        memory=memory,
        disk={
            "checkpoint": trained_width(recipe) * trained + state_bytes(recipe, shape),
            "result": _result_bytes(recipe, shape),
            **_base_copy(recipe),
        },
        operations=work,
        kernels={name: str(one) for name, one in choose(recipe, kernel_facts(shape, device, compute)).items()},
        time=work / rate,
        speed_is_measured=measured,
        warnings=(
            *passed_over(recipe, shape),
            *quantised_otherwise(recipe, shape, device),
            *_warnings(recipe, volume, steps),
        ),
    )


def micro_batch(recipe: Recipe, volume: Volume) -> tuple[int, int]:
    """(tokens, trained tokens) of the largest micro-batch."""
    tokens = min(_capacity(recipe, volume) * recipe.batch.micro, volume.tokens)
    return tokens, round(tokens * volume.targets / max(1, volume.tokens))


def _capacity(recipe: Recipe, volume: Volume) -> int:
    """Tokens of the longest row."""
    return volume.longest if recipe.pack.kind == "none" else recipe.pack.length or capacity_of(recipe)


def kernel_facts(shape: Shape, device: str, compute: str) -> Here:
    """What the choice of kernels rests on, before the model is there."""
    layers, packages = leaves(shape.parameters), installed_here()
    head, kind = shape.head_size, shape.architecture
    return Here(device, compute, head, kind, layers, packages, dropout=shape.dropout, vendor=processor_vendor())


def _base_copy(recipe: Recipe) -> dict[str, int]:
    """What the cache holds of a ChatGLM3 base as a plain GLM model, which an adapter's own file names."""
    directory = model_directory(recipe) if recipe.adapter.kind != "none" else None
    if directory is None or not is_chatglm(directory):
        return {}
    return {"base": sum(path.stat().st_size for path in weight_files(directory))}


def _result_bytes(recipe: Recipe, shape: Shape) -> int:
    if recipe.adapter.kind != "none":
        return 4 * trainable_parameters(recipe, shape)
    return shape.count * (2 if recipe.output.dtype in ("bf16", "fp16") else 4)


def quantised_otherwise(recipe: Recipe, shape: Shape, device: str) -> Iterator[str]:
    """What bitsandbytes (0.50 at least) leaves as it is, and where it reads 4-bit weights back wrongly."""
    experts = sum(count * rows * columns for count, rows, columns in shape.experts().values())
    if recipe.quantise.bits < 16 and experts:
        yield f"quantise.bits: the experts' {experts / 1e6:,.1f} M weights lie in one piece and are not quantised"
    if recipe.quantise.bits == 4 and device == "cpu":
        odd = sorted(name for name, (_, columns) in shape.linear().items() if columns % 64)
        if odd:
            yield (
                f"quantise.bits: on a CPU bitsandbytes reads 4-bit rows wrongly whose length is no multiple of 64 "
                f"({odd[0]} and {len(odd) - 1} more)"
            )


def _warnings(recipe: Recipe, volume: Volume, steps: int) -> list[str]:
    found: list[str] = []
    if not volume.exact:
        found.append("counts are scaled up from the first rows; they are exact once the data are prepared")
    if recipe.schedule.warmup_steps is not None and recipe.schedule.warmup_steps >= steps:
        found.append(f"all {steps} steps are warm-up (schedule.warmup_steps: {recipe.schedule.warmup_steps})")
    if recipe.checkpoint.weights_only:
        found.append("checkpoints hold no optimiser state and cannot be resumed (checkpoint.weights_only)")
    learned = {source.path for source in recipe.data.train}
    seen = sorted({source.path for source in recipe.data.evaluate} & learned)
    if seen:
        found.append(f"{', '.join(seen)}: rows that are trained on are evaluated on, so overfitting will not be seen")
    if not (recipe.data.evaluate or recipe.data.holdout):
        found.append("there are no evaluation rows, so overfitting will not be seen (data.evaluate, data.holdout)")
    return found

"""A finished result, measured on rows as its run measured it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from luthier.data.corpus import examples
from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.pipeline import prepare
from luthier.data.preference import is_judging
from luthier.data.preparation import Preparation
from luthier.data.store import TokenStore
from luthier.data.template import ChatTemplate
from luthier.errors import Fault, ModelError, RunError
from luthier.evaluate.measure import answered, cast_weights, counted_in, measured
from luthier.evaluate.questions import asked
from luthier.evaluate.scores import Failure
from luthier.methods.method import method_of
from luthier.model.adapter_files import result_directory
from luthier.model.alone import base_alone
from luthier.model.kernels.apply import facts_of, put_attention
from luthier.model.kernels.choose import choose_attention
from luthier.model.load import weights_type
from luthier.model.precision import DTYPES
from luthier.plan.inputs import model_directory
from luthier.plan.instead import with_template
from luthier.plan.support import unsupported
from luthier.recipe import Recipe
from luthier.record.folder import RunFolder
from luthier.train.display import Display
from luthier.train.engines.single import SingleDevice
from luthier.train.prepare import prepare_inputs
from luthier.use.recipe import recipe_of, run_of
from luthier.use.reference import with_reference_again
from luthier.use.result import Result, open_result


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model was measured to be: ``figures`` by name, and every answer."""

    figures: dict[str, float]
    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """What a model is measured on: documents of a store, and questions with the template they are put by."""

    recipe: Recipe
    store: TokenStore | None
    documents: Sequence[int]
    questions: list[Example]
    template: ChatTemplate | None
    largest: int | None


def evaluate(
    path: Path,
    data: Sequence[str],
    words: Sequence[str],
    display: Display,
    *,
    generate: bool = True,
    before: bool = False,
) -> tuple[Evaluation, Evaluation | None]:
    """(what the result is measured to be, what its base is): on ``data``, or without any on the rows that its run kept
    for it.

    Args:
        words: settings that win over those of the run.
        generate: whether questions are answered as well.
        before: measure the model without its adapter too, or, where it has none, the one that it was trained from.

    Raises:
        LuthierError: no result, rows that cannot be read, a word that is wrong.
    """
    if not data and run_of(path) is None:
        place = str(result_directory(path))
        raise RunError("a model has no rows of its own", place=place, remedy="name some with --data")
    recipe = recipe_of(path, words, data)
    refused = [one for one in unsupported(recipe) if str(one.place).startswith(("evaluate.", "data.", "method."))]
    if refused:
        raise RunError(*refused)
    held = _held(recipe, path)
    result = open_result(path, reward=recipe.method.kind == "reward", dtype=held)
    rows = _given(recipe, result.encoder, result.directory, path) if data else _own(recipe, display)
    rows = rows if generate else Rows(rows.recipe, rows.store, rows.documents, [], None, rows.largest)
    found = _measured(result, rows, display, "the result")
    if not before:
        return found, None
    if hasattr(result.model, "disable_adapter"):
        return found, _measured(result, rows, display, "its base", off=partial(base_alone, result.model))
    del result
    return found, _measured(_base(recipe, path, held), rows, display, "its base")


def keep(run: RunFolder, data: Sequence[str], found: Evaluation, when: str) -> Path | None:
    """Write an evaluation beside its run: the answers under the rows' name, a line in ``evaluations.jsonl``; returns
    the answers' file."""
    name = "-".join(Path(one).name.partition(".")[0] for one in data) or "own-rows"
    file = run.answers / f"{name}{'' if when == 'after' else '-' + when}.jsonl"
    if found.answers:
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.answers), encoding="utf-8")
    answers = str(file.relative_to(run.root)) if found.answers else None
    run.note_evaluation({"data": list(data), "when": when, "figures": found.figures, "answers": answers})
    return file if found.answers else None


def _given(recipe: Recipe, encoder: Encoder, tokenizer: Path, path: Path) -> Rows:
    """The rows that a command names; those of a preference run are answered only where its recipe asks for it."""
    recipe, _ = with_template(recipe, encoder)
    run = run_of(path)
    largest = (
        json.loads(run.plan.read_text(encoding="utf-8")).get("largest_batch") if run and run.plan.exists() else None
    )
    store, _ = prepare(recipe, recipe.data.evaluate, tokenizer)
    kept = range(len(store))[: recipe.evaluate.rows]
    judged = is_judging(recipe) and not recipe.evaluate.generates
    if recipe.method.kind in ("pretrain", "reward") or judged:
        return Rows(recipe, store, kept, [], None, largest)
    template = Preparation(recipe, encoder).template()
    found = asked(examples(recipe, recipe.data.test), recipe, template, encoder, recipe.evaluate.rows)
    return Rows(recipe, store, kept, found, template, largest)


def _own(recipe: Recipe, display: Display) -> Rows:
    """The rows that a run kept to be measured on, exactly as it did."""
    inputs = prepare_inputs(recipe, display)
    if inputs.evaluation is None and not inputs.test:
        raise RunError("the run kept no rows to measure on", place="data.evaluate", remedy="name some with --data")
    ask, documents = inputs.test or inputs.asked, inputs.evaluation_documents
    return Rows(recipe, inputs.evaluation, documents, ask, inputs.template, inputs.plan.largest_batch)


def _measured(
    result: Result,
    rows: Rows,
    display: Display,
    name: str,
    off: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Evaluation:
    recipe = rows.recipe
    engine = SingleDevice(recipe)
    model: Any = engine.wrap(result.model)
    figures: dict[str, float] = {}
    full = recipe.precision.full_evaluation
    with cast_weights(model, engine.compute) if full else nullcontext():
        if rows.store is not None and len(rows.documents):
            display.stage(f"the loss of {name} on {len(rows.documents):,} documents")
            here = facts_of(model, engine.device, engine.compute)
            put_attention(model, recipe, choose_attention(recipe.model.attention, here, recipe.adapter.kind).name)
            method = with_reference_again(method_of(recipe), model, recipe, result)
            with off():
                losses = measured(
                    model,
                    method,
                    rows.store,
                    rows.documents,
                    recipe,
                    device=engine.device,
                    autocast=engine.autocast,
                    largest=rows.largest,
                )
            figures = {"loss": losses.loss, **losses.metrics, counted_in(recipe): float(losses.count)}
        if not rows.questions or rows.template is None:
            return Evaluation(figures)
        with display.counting(f"{name} answers {len(rows.questions):,} questions") as told, off():
            answers = answered(
                model,
                rows.questions,
                rows.template,
                result.encoder,
                recipe,
                step=0,
                autocast=engine.autocast,
                largest=rows.largest,
                told=told,
            )
    return Evaluation({**figures, **answers.metrics}, answers.rows, answers.failures)


def _held(recipe: Recipe, path: Path) -> Any:
    """The type that the weights are held in while they are measured: as in the run, or of a model without one as they
    are stored."""
    return weights_type(recipe) if run_of(path) is not None else DTYPES.get(recipe.model.dtype, "auto")


def _base(recipe: Recipe, path: Path, held: Any) -> Result:
    """The model that a whole result was trained from.

    Raises:
        ModelError: there was none, or it is a reward model, whose head was new.
    """
    directory = model_directory(recipe) if run_of(path) is not None else None
    if directory is None or recipe.method.kind == "reward":
        raise ModelError(Fault("nothing is known of what it was before", str(path), "leave --before out"))
    return open_result(directory, dtype=held)

"""The plan of a run, put together; and what it warns of."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from luthier.plan.page import describe, gigabytes, span
from luthier.plan.parameters import trainable_parameters
from luthier.plan.plan import plan_recipe, shape_of
from luthier.recipe import Recipe
from tests.conftest import World
from tests.plan.conftest import Make


def test_the_plan_adds_up(make: Make, world: World) -> None:
    recipe = make(batch={"micro": 2, "epochs": 3})
    plan = plan_recipe(recipe)
    shape = shape_of(recipe, world.model)
    assert plan.exact
    assert plan.parameters == {"total": shape.count, "trainable": shape.count}
    assert plan.documents == 18 and plan.evaluation_documents == 0
    assert plan.steps_per_epoch == math.ceil(plan.packs / 2)
    assert plan.steps == 3 * plan.steps_per_epoch and plan.epochs == 3
    assert plan.fewest_packs == math.ceil(plan.tokens / 96)
    assert plan.efficiency == plan.tokens / (plan.packs * 96) <= 1
    assert plan.disk == {"checkpoint": 12 * shape.count, "result": 4 * shape.count}
    assert plan.time > 0 and not plan.speed_is_measured
    json.dumps(plan.tree(), allow_nan=False)


def test_steps_win_over_epochs(make: Make) -> None:
    plan = plan_recipe(make(batch={"steps": 5, "epochs": 100}))
    assert plan.steps == 5
    assert plan.epochs == 5 / plan.steps_per_epoch


def test_work_grows_with_epochs_and_time_with_work(make: Make) -> None:
    once, twice = (plan_recipe(make(batch={"epochs": epochs})) for epochs in (1, 2))
    assert twice.operations == pytest.approx(2 * once.operations)
    assert twice.time == pytest.approx(2 * once.time)


def test_an_adapter_trains_and_saves_little(make: Make, world: World) -> None:
    recipe = make(adapter={"kind": "lora", "rank": 2})
    plan = plan_recipe(recipe)
    trained = trainable_parameters(recipe, shape_of(recipe, world.model))
    assert plan.parameters["trainable"] == trained < plan.parameters["total"]
    assert plan.disk == {"checkpoint": 12 * trained, "result": 4 * trained}


def test_a_result_in_fewer_bits_is_smaller(make: Make) -> None:
    full, half = plan_recipe(make()), plan_recipe(make(output={"dtype": "bf16"}))
    assert half.disk["result"] * 2 == full.disk["result"]


def test_without_packing_the_longest_document_sets_the_memory(make: Make) -> None:
    packed, apart = plan_recipe(make()), plan_recipe(make(pack={"kind": "none"}))
    assert apart.memory["activations"] < packed.memory["activations"]
    assert apart.efficiency == 1.0 and apart.packs == apart.documents


def scratch(world: World, **sections: Any) -> Recipe:
    tree = world.recipe(
        **{"tokenizer": {"train": {"vocabulary": 320}}, "method": {"kind": "pretrain"}, **sections},
    )
    tree["model"] = {"scratch": {"hidden": 32, "layers": 1, "heads": 4}, **sections.get("model", {})}
    tree["data"] = {"train": [{"path": str(world.stories)}], "max_length": 64}
    return Recipe.model_validate_json(json.dumps(tree))


def test_a_model_from_scratch_is_planned_before_its_tokenizer_is_there(world: World) -> None:
    from luthier.plan.inputs import tokenizer_directory

    recipe = scratch(world)
    guessed = plan_recipe(recipe)
    assert not guessed.exact and "exact once the data are prepared" in guessed.warnings[0]
    tokenizer_directory(recipe)
    known = plan_recipe(recipe)
    assert known.exact and known.documents == 60
    assert known.parameters == guessed.parameters
    assert shape_of(recipe, None, 320).vocabulary == 320


def test_a_model_from_scratch_takes_its_vocabulary_from_the_tokenizer_that_is_there(world: World) -> None:
    from luthier.data.encoder import Encoder

    vocabulary = Encoder.open(world.model).vocabulary
    plan = plan_recipe(scratch(world, tokenizer={"path": str(world.model)}))
    assert plan.parameters["total"] == shape_of(scratch(world), None, vocabulary).count


def test_the_embedding_is_rounded_up_as_the_model_rounds_it(world: World) -> None:
    from luthier.model.load import build_model

    recipe = scratch(world, model={"vocabulary_multiple": 64})
    built = build_model(recipe, 301, None)
    assert shape_of(recipe, None, 301).count == sum(one.numel() for one in built.parameters())
    assert shape_of(recipe, None, 301).vocabulary == 320


@pytest.mark.parametrize(
    ("sections", "warning"),
    [
        ({"schedule": {"warmup_steps": 5}, "batch": {"steps": 5}}, "all 5 steps are warm-up"),
        ({"checkpoint": {"weights_only": True}}, "cannot be resumed"),
        ({}, "no evaluation rows"),
    ],
)
def test_what_would_surprise_is_warned_of(make: Make, sections: dict[str, Any], warning: str) -> None:
    quiet = {"data": {"holdout": 2}}
    assert any(warning in told for told in plan_recipe(make(**sections)).warnings)
    assert not any(warning in told for told in plan_recipe(make(**quiet)).warnings)


def test_a_plan_without_surprises_warns_of_nothing(make: Make) -> None:
    assert plan_recipe(make(data={"holdout": 2}, schedule={"warmup_steps": 4}, batch={"steps": 5})).warnings == ()


def test_four_bit_rows_that_a_cpu_reads_wrongly_are_told(make: Make) -> None:
    quantised = {"quantise": {"bits": 4}, "adapter": {"kind": "lora"}, "data": {"holdout": 2}}
    told = plan_recipe(make(**quantised, runtime={"device": "cpu"})).warnings
    assert any("no multiple of 64" in one and "gate_proj" in one for one in told)
    assert not any("multiple of 64" in one for one in plan_recipe(make(data={"holdout": 2})).warnings)


def test_rows_that_are_both_learned_and_evaluated_on_are_told(make: Make, world: World) -> None:
    rows = [{"path": str(world.questions)}]
    (told,) = plan_recipe(make(data={"train": rows, "evaluate": rows})).warnings
    assert "overfitting will not be seen" in told and str(world.questions) in told


def shown(recipe: Recipe, width: int = 200) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        console.print(describe(plan_recipe(recipe), recipe))
    return console.export_text()


def test_the_page_shows_every_figure_of_the_plan(make: Make) -> None:
    recipe = make(model={"path": make().model.path})
    plan, text = plan_recipe(recipe), shown(recipe)
    for figure in (
        f"{plan.parameters['total']:,}",
        f"{plan.documents:,} with {plan.tokens:,} tokens",
        f"{plan.steps:,}:",
    ):
        assert figure in text
    assert not re.search(r"(documents|steps) +about", text) and "! there are no evaluation rows" in text


def test_the_page_says_about_where_it_is_a_guess(world: World) -> None:
    text = shown(scratch(world))
    assert re.search(r"documents +about", text) and re.search(r"steps +about", text)


def test_names_with_brackets_are_shown_as_they_are(make: Make, world: World, tmp_path: Path) -> None:
    odd = tmp_path / "[red]model"
    odd.symlink_to(world.model)
    assert "[red]model" in shown(make(model={"path": str(odd)}), width=400)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.0 MB"), (5 * 2**20, "5.0 MB"), (2**29, "0.50 GB"), (3 * 2**30, "3.00 GB")]
)
def test_bytes_read_as_people_read_them(size: int, text: str) -> None:
    assert gigabytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"), (3599.6, "1 h 0 min"), (7300, "2 h 1 min")],
)
def test_times_read_as_people_say_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_rows_of_added_tokens_are_in_the_counts(make: Make, world: World) -> None:
    shape = shape_of(make(), world.model)
    plain = plan_recipe(make())
    added = plan_recipe(make(tokenizer={"added": ["<a>", "<b>"]}))
    assert added.parameters["total"] == plain.parameters["total"] + 2 * 2 * shape.hidden
    assert added.parameters["trainable"] == added.parameters["total"]


def test_the_plain_copy_of_a_chatglm_base_takes_disk_under_an_adapter(make: Make, tmp_path: Path) -> None:
    from tests.model.chatglm3 import write_checkpoint, write_sentencepiece

    write_sentencepiece(write_checkpoint(tmp_path / "glm"))
    sections: dict[str, Any] = {"model": {"path": str(tmp_path / "glm")}, "tokenizer": {}}
    size = sum(path.stat().st_size for path in (tmp_path / "glm").glob("*.safetensors"))
    assert plan_recipe(make(**sections, adapter={"kind": "lora"})).disk["base"] == size > 0
    assert "base" not in plan_recipe(make(**sections)).disk

"""Tokens that a recipe adds: in the tokenizer, in the embeddings, trained, and saved with the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.model.new_tokens import changes_tokens, new_ids, write_changed
from luthier.recipe.tokenizer import Tokenizer
from tests.conftest import World

Run = Callable[..., Any]
ADDED = Tokenizer(added=("Mira lives",), added_special=("<|tool|>",), eos="<|stop|>", pad="<|endoftext|>")


def test_named_tokens_are_control_tokens_and_new_ones_come_last(world: World, tmp_path: Path) -> None:
    write_changed(world.model, tmp_path / "t", ADDED)
    before, after = Encoder.open(world.model), Encoder.open(tmp_path / "t")
    count = before.vocabulary
    assert new_ids(world.model, tmp_path / "t") == (count, count + 1, count + 2)
    assert after.encode(["<|tool|><|stop|>Mira lives"]) == [[count, count + 1, count + 2]]
    assert after.control == before.control | {"<|tool|>", "<|stop|>"}
    assert after.tokens["eos_token"] == "<|stop|>" and after.id_of("pad_token") == before.id_of("pad_token")


def test_plain_transformers_reads_it_so(world: World, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_changed(world.model, tmp_path / "t", ADDED)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "t")
    assert tokenizer.eos_token == "<|stop|>" and len(tokenizer) == Encoder.open(tmp_path / "t").vocabulary
    assert tokenizer.decode(tokenizer("a<|tool|>b").input_ids, skip_special_tokens=True) == "ab"


def test_older_lists_of_added_tokens_are_brought_up_to_date(world: World, tmp_path: Path) -> None:
    write_changed(world.model, tmp_path / "old", Tokenizer())
    config = tmp_path / "old" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "added_tokens_decoder": {}}))
    (tmp_path / "old" / "special_tokens_map.json").write_text('{"eos_token": "<|im_end|>"}')
    write_changed(tmp_path / "old", tmp_path / "new", ADDED)
    listed = json.loads((tmp_path / "new" / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    assert "<|stop|>" in [one["content"] for one in listed.values()]
    assert json.loads((tmp_path / "new" / "special_tokens_map.json").read_text())["eos_token"] == "<|stop|>"


def test_nothing_is_changed_unless_asked() -> None:
    assert not changes_tokens(Tokenizer(path="x")) and changes_tokens(Tokenizer(unk="<unk>"))


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["lora", "ia3", "none"])
@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_train_and_the_result_opens(
    adapter: str, tied: bool, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    import shutil

    import torch
    from transformers import AutoTokenizer

    from luthier.use.result import open_result
    from tests.conftest import make_model

    vocabulary = Encoder.open(world.model).vocabulary
    base = Path(shutil.copytree(world.model, tmp_path / "base"))
    make_model(base, vocabulary, tie_word_embeddings=tied)
    special = ["<|u|>", "<|a|>"]
    template = tmp_path / "t.jinja"
    template.write_text(
        "{% for m in messages %}{{ '<|u|>' if m.role == 'user' else '<|a|>' }}{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|a|>{% endif %}"
    )
    tree = world.recipe(
        model={"path": str(base)},
        data={"template": str(template)},
        tokenizer={"added_special": special},
        adapter={"kind": adapter, "rank": 2},
        batch={"micro": 1, "epochs": 1, "steps": 3},
        schedule={"warmup_steps": 0},
        optimizer={"lr": 0.05, "weight_decay": 0.1 if adapter != "none" else 0.0},
        output={"dir": str(tmp_path / "run")},
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    result = open_result(tmp_path / "run")
    ids = result.encoder.encode(["".join(special)])[0]
    assert ids == [vocabulary, vocabulary + 1]
    assert AutoTokenizer.from_pretrained(tmp_path / "run" / "model")("<|u|><|a|>").input_ids == ids
    end = result.model.get_input_embeddings()
    rows = (end.token_adapter.get_merged_weights(["default"]) if adapter != "none" else end.weight).detach()
    assert rows.shape[0] > max(ids) and torch.isfinite(rows).all()
    fresh = _before(tree, vocabulary + 2, base)
    moved = (rows[: vocabulary + 2] - fresh).abs().amax(dim=1) > 1e-4
    assert moved[ids].all(), "the new rows have trained"
    if adapter != "none":
        assert not moved[:vocabulary].any(), "the old rows have not"


def _before(tree: dict[str, Any], vocabulary: int, base: Path) -> Any:
    """The input embedding as the run began with it."""
    from luthier.model.load import build_model
    from luthier.recipe.validate import build

    return build_model(build(tree, str), vocabulary, base).get_input_embeddings().weight[:vocabulary].detach()

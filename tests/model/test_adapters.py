"""Every kind of adapter: trains packed as it would alone, moves nothing else, is saved so that plain PEFT opens it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from luthier.data.batch import collate
from luthier.data.encoder import Encoder
from luthier.data.tokens import Tokens
from luthier.errors import ModelError
from luthier.methods.causal import SupervisedFineTuning
from luthier.model.adapters import add_adapter
from luthier.model.frozen import fingerprints, moved
from luthier.model.load import build_model
from luthier.model.quantise import settle
from luthier.recipe import Recipe
from luthier.recipe.validate import build
from luthier.use.result import open_result
from tests.conftest import World, make_model

Run = Callable[..., Any]
NF4 = {"bits": 4, "double": True, "compute": "fp32"}
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"adapter": {"kind": "lora", "rank": 4}},
    "lora patterns": {
        "adapter": {
            "kind": "lora",
            "rank": 4,
            "targets": ["q_proj", "down_proj"],
            "rank_pattern": {"q_proj": 2},
            "alpha_pattern": {r"layers\.1\..*": 5.0},
            "modules_to_save": ["lm_head"],
        }
    },
    "lora regex": {"adapter": {"kind": "lora", "rank": 4, "targets": r".*layers\.1.*(up|v)_proj"}},
    "dora": {"adapter": {"kind": "lora", "rank": 4, "dora": True}},
    "rslora": {"adapter": {"kind": "lora", "rank": 4, "rslora": True}},
    "pissa": {"adapter": {"kind": "lora", "rank": 4, "init": "pissa", "rank_pattern": {"q_proj": 2}}},
    "pissa rslora": {"adapter": {"kind": "lora", "rank": 4, "init": "pissa", "rslora": True}},
    "pissa dora": {"adapter": {"kind": "lora", "rank": 4, "init": "pissa", "dora": True}},
    "olora": {"adapter": {"kind": "lora", "rank": 4, "init": "olora"}},
    "orthogonal": {"adapter": {"kind": "lora", "rank": 4, "init": "orthogonal"}},
    "ia3": {"adapter": {"kind": "ia3"}},
    "ia3 named": {"adapter": {"kind": "ia3", "targets": ["k_proj", "v_proj", "down_proj"]}},
    "prefix": {"adapter": {"kind": "prefix", "virtual_tokens": 5}},
    "prefix projection": {"adapter": {"kind": "prefix", "virtual_tokens": 5, "projection": True}},
    "prompt": {"adapter": {"kind": "prompt", "virtual_tokens": 5}},
    "qlora nf4": {"adapter": {"kind": "lora", "rank": 4}, "quantise": NF4},
    "qlora fp4": {
        "adapter": {"kind": "lora", "rank": 4},
        "quantise": {"bits": 4, "kind": "fp4", "storage": "bf16", "compute": "fp32"},
    },
    "qlora int8": {"adapter": {"kind": "lora", "rank": 4}, "quantise": {"bits": 8}},
    "loftq": {"adapter": {"kind": "lora", "rank": 4, "init": "loftq"}, "quantise": NF4},
    "prefix nf4": {"adapter": {"kind": "prefix", "virtual_tokens": 5}, "quantise": NF4},
    "ia3 nf4": {"adapter": {"kind": "ia3"}, "quantise": NF4},
}
VIRTUAL = ("prefix", "prefix projection", "prompt")
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base"), 300)


def recipe_of(base: Path, **sections: Any) -> Recipe:
    return build({"model": {"path": str(base)}, "data": {"train": [{"path": "rows.jsonl"}]}, **sections}, str)


def documents() -> list[Tokens]:
    return [Tokens(RANDOM.integers(3, 300, n).astype(np.int32), np.ones(n, np.bool_), "test") for n in (7, 21, 3, 12)]


def model_of(base: Path, **sections: Any) -> Any:
    recipe = recipe_of(base, **sections)
    return add_adapter(build_model(recipe, 300, base), recipe)


def loss_and_gradients(model: Any, groups: list[list[Tokens]]) -> tuple[float, dict[str, torch.Tensor]]:
    method, total = SupervisedFineTuning(), 0.0
    model.zero_grad()
    for group in groups:
        loss = method.loss(model, method.collate(group)).total
        torch.autograd.backward(loss)
        total += float(loss.detach())
    return total, {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def shaken(model: Any) -> Any:
    """Away from where adapters start, at which half of their gradients are zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3", *VIRTUAL, "qlora nf4", "prefix nf4"])
def test_packed_training_equals_unpacked_training(kind: str, base: Path) -> None:
    model, rows = shaken(model_of(base, **KINDS[kind])), documents()
    packed, gradients = loss_and_gradients(model, [rows])
    alone, expected = loss_and_gradients(model, [[one] for one in rows])
    assert packed == pytest.approx(alone, abs=1e-4 if "nf4" in kind else 1e-5, rel=1e-6)
    assert gradients.keys() == expected.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5)
        assert gradient.any(), name


@pytest.mark.parametrize("kind", VIRTUAL)
@pytest.mark.parametrize("window", [None, 9])
def test_virtual_tokens_before_each_document_are_those_that_peft_puts_before_a_row(
    kind: str, window: int | None, tmp_path: Path
) -> None:
    """The loss of a pack is the sum of PEFT's own losses of its documents, each in a forward pass of its own."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    settings = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 12}
    config = MistralConfig(**settings, num_attention_heads=4, num_key_value_heads=2, sliding_window=window)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    model, rows = shaken(model_of(tmp_path, **KINDS[kind])).eval(), documents()
    method = SupervisedFineTuning()
    ours = [float(method.loss(model, method.collate(group)).total.detach()) for group in (rows, rows[:1])]
    model.get_base_model().set_attn_implementation("eager")
    theirs = []
    for row in rows:
        ids = torch.from_numpy(row.ids.astype(np.int64))[None]
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0, -len(row) :]
        theirs.append(float(cross_entropy(logits[:-1], ids[0, 1:], reduction="sum")))
    assert ours[0] == pytest.approx(sum(theirs), rel=1e-6, abs=1e-5)
    assert ours[1] == pytest.approx(theirs[0], rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("kind", ["lora", "ia3", *VIRTUAL, "qlora nf4"])
def test_gradient_checkpointing_changes_no_gradient(kind: str, base: Path) -> None:
    rows = documents()
    plain = loss_and_gradients(shaken(model_of(base, **KINDS[kind])), [rows])
    saving = shaken(model_of(base, **KINDS[kind], runtime={"gradient_checkpointing": True}))
    assert saving.get_base_model().is_gradient_checkpointing
    again = loss_and_gradients(saving.train(), [rows])
    assert again[0] == pytest.approx(plain[0], rel=1e-6)
    assert again[1].keys() == plain[1].keys()
    for name, gradient in plain[1].items():
        torch.testing.assert_close(again[1][name], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_trainable_tensor_moves_and_no_frozen_one(kind: str, base: Path) -> None:
    model = model_of(base, **KINDS[kind]).train()
    before = fingerprints(model)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-2)
    for _ in range(3):
        loss_and_gradients(model, [documents()])
        optimizer.step()
    found = moved(before, model)
    assert (found.stood_still, found.drifted) == ((), ())
    assert found.trained == sum(one.trains for one in before.values()) > 0
    assert found.frozen == len(before) - found.trained > 10


@pytest.mark.parametrize("kind", ["default", "pissa", "olora", "orthogonal", "gaussian"])
def test_an_adapter_starts_as_the_model_itself(kind: str, base: Path) -> None:
    batch = collate(documents())
    lengths = tuple(batch.boundaries.diff().tolist())
    plain, model = model_of(base), model_of(base, adapter={"kind": "lora", "rank": 4, "init": kind})
    with torch.no_grad():
        expected, found = (
            one(input_ids=batch.input_ids, position_ids=batch.position_ids, document_lengths=lengths).logits
            for one in (plain, model)
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_loftq_starts_nearer_to_the_full_weights_than_plain_quantisation(base: Path) -> None:
    ids = torch.arange(3, 60)[None]

    def distance(init: str) -> float:
        model = model_of(base, adapter={"kind": "lora", "rank": 12, "init": init}, quantise=NF4)
        with torch.no_grad():
            return float((model(input_ids=ids, document_lengths=(57,)).logits - expected).norm())

    with torch.no_grad():
        expected = model_of(base)(input_ids=ids, document_lengths=(57,)).logits
    assert distance("loftq") < 0.8 * distance("default")


def test_targets_that_match_nothing_are_told(base: Path) -> None:
    with pytest.raises(ModelError, match="no layer of the model is called 'no_such_layer'"):
        model_of(base, adapter={"kind": "lora", "targets": ["no_such_layer"]})


def plain_peft(base: Path, result: Path, **quantise: Any) -> Any:
    """The result as plain transformers and PEFT open it."""
    extra: dict[str, Any] = {}
    if quantise.get("bits") == 8:
        extra = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True), "device_map": {"": "cpu"}}
    if quantise.get("bits") == 4:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantise.get("kind", "nf4"),
            bnb_4bit_use_double_quant=quantise.get("double", False),
            bnb_4bit_compute_dtype=torch.float32,
        )
        extra = {"quantization_config": config, "device_map": {"": "cpu"}}
    model = AutoModelForCausalLM.from_pretrained(base, **extra)
    settle(model)
    return PeftModel.from_pretrained(model, result).eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_is_saved_opens_with_peft_and_speaks(
    kind: str, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    out = tmp_path / "run"
    tree = world.recipe(
        **KINDS[kind], optimizer={"lr": 0.02}, batch={"steps": 4}, output={"dir": str(out)}, pack={"length": 256}
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    recipe = build(tree, str)
    vocabulary = Encoder.open(world.model).vocabulary
    trained = add_adapter(build_model(recipe, vocabulary, world.model), recipe).eval()
    started = {name: one.detach().clone() for name, one in trained.named_parameters() if one.requires_grad}
    weights = load_file(max((out / "checkpoints").glob("step-*")) / "weights.safetensors")
    assert weights.keys() == started.keys(), "a checkpoint holds what trains and nothing else"
    assert not any(torch.equal(weights[name], started[name]) for name in started)
    with torch.no_grad():
        for name, one in trained.named_parameters():
            one.copy_(weights.get(name, one))
    ids = torch.tensor([[5, 9, 11, 30, 7, 41]])
    theirs, ours = plain_peft(world.model, out / "model", **tree.get("quantise", {})), open_result(out).model
    with torch.no_grad():
        expected = trained(input_ids=ids, document_lengths=(6,), use_cache=False).logits
        found = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[:, -6:]
        again = ours(input_ids=ids, document_lengths=(6,), use_cache=False).logits
    tolerance = 2e-3 if "int8" in kind else 2e-5
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(again, expected, rtol=0, atol=tolerance)
    if kind in ("lora", "ia3", *VIRTUAL, "qlora nf4"):
        said = luthier("generate", out, "--prompt", "Where does Mira live?", "--max-new-tokens", "8")
        assert said.returncode == 0, said.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", VIRTUAL)
def test_generation_is_the_likeliest_next_token_each_time(
    kind: str, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    """What luthier generate says, token by token from whole forward passes; prompts of unlike length in one batch."""
    from luthier.evaluate.generate import generate
    from luthier.recipe.evaluate import Generation

    out = tmp_path / "run"
    tree = world.recipe(**KINDS[kind], optimizer={"lr": 0.05}, batch={"epochs": 6}, output={"dir": str(out)})
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    model = open_result(out).model
    prompts = [[5, 9, 11, 30, 7, 41], [12, 8]]
    said = generate(model, prompts, Generation(max_new_tokens=6), stops=[], pad=0)
    for prompt, answer in zip(prompts, said, strict=True):
        ids = list(prompt)
        for _ in range(6):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids]), document_lengths=(len(ids),), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
        assert answer == ids[len(prompt) :]


@pytest.mark.slow
def test_a_projected_prefix_resumes_exactly_and_is_saved_as_a_prefix(
    world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    """The network that makes it is in the checkpoint; in the result is what it made."""
    tree = world.recipe(
        adapter={"kind": "prefix", "virtual_tokens": 5, "projection": True, "projection_width": 12},
        optimizer={"lr": 0.02},
        batch={"steps": 4},
        checkpoint={"every": 2, "keep_last": None},
        output={"dir": str(tmp_path / "whole")},
    )
    recipe = write_recipe(tree)
    named = f"checkpoint.resume={tmp_path / 'whole' / 'checkpoints' / 'step-00000002'}"
    for words in ((), (named, f"output.dir={tmp_path / 'again'}")):
        done = luthier("train", recipe, *words)
        assert done.returncode == 0, done.stderr
    whole, again = (load_file(tmp_path / name / "model" / "adapter_model.safetensors") for name in ("whole", "again"))
    [(name, made)] = whole.items()
    assert torch.equal(made, again[name]) and made.shape == (5, 2 * 2 * 16), "keys and values of two layers"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "ia3", "prefix", "prefix projection", "prompt", "pissa"])
def test_a_trained_adapter_is_gone_on_with(
    kind: str, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    tree = world.recipe(**KINDS[kind], optimizer={"lr": 0.02}, batch={"steps": 4}, output={"dir": str(first)})
    assert luthier("train", write_recipe(tree)).returncode == 0
    tree = world.recipe(
        adapter={"kind": KINDS[kind]["adapter"]["kind"], "continue_from": str(first)},
        optimizer={"lr": 1e-3},
        schedule={"warmup_steps": 0},
        batch={"steps": 2},
        output={"dir": str(second)},
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    assert "the adapter that is gone on with has it so" in " ".join(done.stdout.split())
    before, after = (load_file(run / "model" / "adapter_model.safetensors") for run in (first, second))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert 0 < (after[name] - tensor).abs().max() < 5e-3, "two small steps away from where the first run ended"


@pytest.mark.slow
def test_an_adapter_of_another_kind_or_base_is_not_gone_on_with(
    world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    first = tmp_path / "first"
    tree = world.recipe(adapter={"kind": "prompt"}, batch={"steps": 1}, output={"dir": str(first)})
    assert luthier("train", write_recipe(tree)).returncode == 0
    other = luthier("plan", write_recipe(world.recipe(adapter={"kind": "lora", "continue_from": str(first)})))
    assert other.returncode == 2 and "PROMPT_TUNING adapter, not lora" in " ".join(other.stdout.split())
    wide = Path(shutil.copytree(world.model, tmp_path / "wide"))
    make_model(wide, Encoder.open(world.model).vocabulary, hidden_size=64)
    tree = world.recipe(
        model={"path": str(wide)},
        adapter={"kind": "prompt", "continue_from": str(first)},
        output={"dir": str(tmp_path / "second")},
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 2 and "does not fit the model" in done.stderr and "Traceback" not in done.stderr

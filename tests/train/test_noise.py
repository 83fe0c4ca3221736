"""NEFTune: the size, spread and place of the noise, and that it is the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from luthier.data.batch import collate
from luthier.data.tokens import Tokens
from luthier.methods.causal import SupervisedFineTuning
from luthier.model.attention import register
from luthier.train.noise import Noise
from tests.conftest import World

LENGTHS = (5, 40, 19)
BOUNDARIES = torch.tensor([0, 5, 45, 64], dtype=torch.int32)


class Embedding(torch.nn.Module):
    """A model that is an embedding of zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = torch.nn.Embedding(7, width)
        torch.nn.init.zeros_(self.layer.weight)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.layer


def drawn(step: int = 3, micro: int = 0, seed: int = 1) -> torch.Tensor:
    """The noise itself [T, 256]."""
    model = Embedding(256)
    noise = Noise(model, 5.0, seed)
    before = torch.get_rng_state()
    with noise.of(BOUNDARIES, step, micro):
        found: torch.Tensor = model.layer(torch.zeros(1, 64, dtype=torch.long))[0].detach()
    assert torch.equal(torch.get_rng_state(), before), "training's own random numbers stay as they are"
    return found


def test_the_noise_is_uniform_within_alpha_over_the_root_of_each_documents_own_size() -> None:
    for part, length in zip(drawn().split(LENGTHS), LENGTHS, strict=True):
        bound = 5.0 / (length * 256) ** 0.5
        assert float(part.abs().max()) <= bound
        assert float(part.abs().max()) > 0.99 * bound
        assert float(part.mean()) == pytest.approx(0, abs=0.05 * bound)
        assert float(part.var()) == pytest.approx(bound**2 / 3, rel=0.1)


def test_one_document_has_the_distribution_of_transformers_own_hook() -> None:
    from transformers.integrations.neftune import neftune_post_forward_hook

    layer = torch.nn.Embedding(7, 512)
    torch.nn.init.zeros_(layer.weight)
    layer.neftune_noise_alpha = 5.0  # type: ignore[assignment]
    torch.manual_seed(0)
    theirs = neftune_post_forward_hook(layer, None, layer(torch.zeros(1, 64, dtype=torch.long))).detach()
    model = Embedding(512)
    with Noise(model, 5.0, 1).of(torch.tensor([0, 64]), 0, 0):
        ours = model.layer(torch.zeros(1, 64, dtype=torch.long)).detach()
    levels = torch.linspace(0.02, 0.98, 25)
    quantiles = [one.flatten().quantile(levels) for one in (theirs, ours)]
    torch.testing.assert_close(*quantiles, atol=0.02 * float(theirs.max()), rtol=0)
    assert float(ours.max()) == pytest.approx(float(theirs.max()), rel=1e-3)


def test_it_depends_on_seed_step_and_micro_batch_alone() -> None:
    first = drawn()
    torch.manual_seed(99)
    torch.rand(10)
    assert torch.equal(drawn(), first)
    for other in (drawn(step=4), drawn(micro=1), drawn(seed=2)):
        assert not torch.equal(other, first)


def batch_of() -> Any:
    rows = [torch.arange(3, 3 + length).numpy().astype("int32") for length in LENGTHS]
    return collate([Tokens(ids, ids > 4, f"a:{number}") for number, ids in enumerate(rows)])


def checkpointed(model: Any, *, reentrant: bool) -> None:
    options = {"use_reentrant": reentrant}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(options)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    model.enable_input_require_grads()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
@pytest.mark.parametrize("kind", ["full", "lora", "checkpointed", "reentrant"])
def test_it_changes_the_loss_in_training_alone(world: World, kind: str) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register())
    if kind == "lora":
        model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    if kind in ("checkpointed", "reentrant"):
        checkpointed(model, reentrant=kind == "reentrant")
    model.train()
    noise, method, batch = Noise(model, 50.0, 1), SupervisedFineTuning(), batch_of()

    def loss() -> torch.Tensor:
        return method.loss(model, batch).total

    plain = loss()
    with noise.of(batch.boundaries, 0, 0):
        noisy = loss()
        with torch.no_grad():
            reference = loss()
    assert abs(float(noisy.detach()) - float(plain.detach())) > 1e-3
    assert float(reference) == pytest.approx(float(plain.detach()), rel=1e-6), "a reference model's pass is not noisy"
    assert float(loss().detach()) == float(plain.detach())
    noisy.backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in model.parameters() if one.requires_grad)


def test_checkpointing_computes_the_gradients_of_the_same_noise(world: World) -> None:
    gradients = []
    for again in (False, True):
        model = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register())
        if again:
            checkpointed(model, reentrant=False)
        model.train()
        noise, batch = Noise(model, 50.0, 1), batch_of()
        with noise.of(batch.boundaries, 2, 1):
            SupervisedFineTuning().loss(model, batch).total.backward()
        gradients.append(torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_noise(world: World, tmp_path: Path, luthier: Any, write_recipe: Any) -> None:
    from luthier.record.events import Stepped, read_events

    def losses(name: str, *words: str) -> list[float]:
        tree = world.recipe(
            method={"neftune_alpha": 50.0},
            batch={"steps": 6},
            checkpoint={"every": 2, "keep_last": 9},
            output={"dir": str(tmp_path / name)},
        )
        done = luthier("train", write_recipe(tree), *words)
        assert done.returncode == 0, done.stderr
        events = read_events(tmp_path / name / "events.jsonl")
        return [event.loss for event in events if isinstance(event, Stepped)]

    whole = losses("whole")
    again = losses("again", f"checkpoint.resume={tmp_path / 'whole' / 'checkpoints' / 'step-00000004'}")
    assert again == whole[4:]
    assert losses("plain", "method.neftune_alpha=null") != whole

"""The same tiny Llama, rows, order and settings through transformers' own Trainer give the same losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from luthier.data.pipeline import prepare
from luthier.dialects import read
from luthier.record.events import Stepped, read_events
from tests.conftest import World

pytestmark = pytest.mark.oracle

STEPS, MICRO, ACCUMULATION = 50, 2, 2


class Sequential(Trainer):
    """Keeps the rows' order and every step's exact loss."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.losses: list[float] = []

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self.losses.append(float(loss))
        return loss


def padded(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    def stack(name: str, fill: int) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence([row[name] for row in rows], batch_first=True, padding_value=fill)

    return {
        "input_ids": stack("input_ids", 0),
        "labels": stack("labels", -100),
        "attention_mask": stack("attention_mask", 0),
    }


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_fifty_losses_equal_the_trainers(
    adapter: str, world: World, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    from rich.console import Console

    from luthier.train.display import Display
    from luthier.train.run import run

    rate = 2e-3 if adapter == "none" else 2e-2
    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj", "down_proj"]}
    tree = world.recipe(
        adapter={"kind": adapter, **(lora if adapter == "lora" else {})},
        data={"shuffle": False},
        pack={"kind": "none"},
        batch={"micro": MICRO, "accumulation": ACCUMULATION, "steps": STEPS},
        optimizer={"lr": rate, "weight_decay": 0.1, "clip": 1.0},
        schedule={"kind": "cosine", "warmup_steps": 5},
        checkpoint={"every": "never"},
        output={"dir": str(tmp_path / "run")},
    )
    reading = read(write_recipe(tree))
    folder = run(reading, Display(Console(quiet=True), live=False))
    ours = [event.loss for event in read_events(folder.events) if isinstance(event, Stepped)]

    store, _ = prepare(reading.recipe, reading.recipe.data.train, world.model)
    rows = []
    for tokens in store:
        ids = torch.from_numpy(tokens.ids.astype("int64"))
        labels = torch.where(torch.from_numpy(tokens.trained.copy()), ids, -100)
        rows.append({"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)})
    model = AutoModelForCausalLM.from_pretrained(world.model, dtype=torch.float32)
    if adapter == "lora":
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(reading.recipe.seed)
        model = get_peft_model(
            model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"])
        )
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "trainer"),
        max_steps=STEPS,
        per_device_train_batch_size=MICRO,
        gradient_accumulation_steps=ACCUMULATION,
        learning_rate=rate,
        weight_decay=0.1,
        max_grad_norm=1.0,
        lr_scheduler_type="cosine",
        warmup_steps=5,
        optim="adamw_torch_fused",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = Sequential(model=model, args=arguments, train_dataset=rows, data_collator=padded)
    trainer.train()
    per_epoch = -(-len(rows) // MICRO)
    theirs = steps_of(trainer.losses, per_epoch)

    assert len(ours) == STEPS == len(theirs)
    assert ours[-1] < 0.95 * ours[0]
    assert ours == pytest.approx(theirs, abs=1e-4)


def steps_of(losses: list[float], per_epoch: int) -> list[float]:
    """Micro-batch losses summed over each step; an epoch's last step may be short."""
    steps: list[float] = []
    for start in range(0, len(losses), per_epoch):
        epoch = losses[start : start + per_epoch]
        steps += [sum(epoch[at : at + ACCUMULATION]) for at in range(0, len(epoch), ACCUMULATION)]
    return steps

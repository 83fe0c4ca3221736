"""Runs where TRL is installed, in a process of its own: ``python trl_side.py ORDER.json ANSWER.json``.

An order is a list of jobs: losses of given tensors, or steps of a real trainer on given token ids. TRL's own code does
all of it.
"""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import torch


class Alone:
    """What TRL's loss code asks of accelerate in a single process."""

    device = torch.device("cpu")

    @staticmethod
    def gather(value: Any) -> Any:
        return value

    gather_for_metrics = gather


def trainer_like(**attributes: Any) -> Any:
    from collections import defaultdict

    return types.SimpleNamespace(
        accelerator=Alone(),
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        aux_loss_enabled=False,
        **attributes,
    )


class Given(torch.nn.Module):
    """Returns log-probabilities that were given, one token an answer and ``lengths`` tokens in its mask."""

    def __init__(self, log_probs: torch.Tensor) -> None:
        super().__init__()
        self.log_probs = log_probs

    def forward(self, **_: Any) -> Any:
        zeros = torch.zeros_like(self.log_probs)
        return types.SimpleNamespace(
            log_probs=self.log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), log_sum_sq_probs=zeros
        )


def dpo_loss(job: dict[str, Any]) -> float:
    """TRL's DPO loss of summed log-probabilities and lengths."""
    from trl import DPOTrainer

    lengths = torch.tensor(job["chosen_tokens"] + job["rejected_tokens"])
    width = int(lengths.max()) + 1
    mask = (torch.arange(width)[None] > 0) & (torch.arange(width)[None] <= lengths[:, None])
    sums = torch.tensor(job["chosen"] + job["rejected"], dtype=torch.float64)
    by_token = (sums / lengths)[:, None] * mask[:, 1:]
    reference = torch.tensor(job["ref_chosen"] + job["ref_rejected"], dtype=torch.float64)
    half = len(job["chosen"])
    this = trainer_like(
        model=Given(by_token),
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=job["losses"],
        loss_weights=job["weights"],
        beta=job["beta"],
        label_smoothing=job["smoothing"],
        use_weighting=False,
    )
    inputs = {
        "input_ids": torch.ones_like(mask, dtype=torch.long),
        "attention_mask": torch.ones_like(mask, dtype=torch.long),
        "completion_mask": mask.long(),
        "ref_chosen_logps": reference[:half],
        "ref_rejected_logps": reference[half:],
    }
    return float(DPOTrainer._compute_loss(this, this.model, inputs, False))


def likelihood_loss(job: dict[str, Any]) -> list[float]:
    """TRL's CPO, SimPO and ORPO terms of log-probabilities."""
    chosen, rejected = (torch.tensor(job[name], dtype=torch.float32) for name in ("chosen", "rejected"))
    if job["loss"] == "orpo":
        from trl.experimental.orpo import ORPOTrainer

        ratio = ORPOTrainer.odds_ratio_loss(trainer_like(beta=job["beta"]), chosen, rejected)[0]
        return [float(one) for one in -ratio]
    from trl.experimental.cpo import CPOTrainer

    this = trainer_like(
        alpha=0.0,
        beta=job["beta"],
        loss_type=job["loss"],
        simpo_gamma=job["margin"],
        label_smoothing=job["smoothing"],
    )
    return [float(one) for one in CPOTrainer.cpo_loss(this, chosen, rejected)[0]]


def kto_loss(job: dict[str, Any]) -> float:
    """TRL's KTO loss of log-probabilities of matched and mismatched answers."""
    from trl import KTOTrainer

    count = len(job["label"])
    mask = torch.tensor([[0, 1]] * count)
    ones = torch.ones_like(mask)
    this = trainer_like(
        calculate_KL=True,
        precompute_ref_logps=True,
        loss_type="kto",
        beta=job["beta"],
        desirable_weight=job["wanted"],
        undesirable_weight=job["unwanted"],
    )
    matched = torch.tensor(job["sums"], dtype=torch.float64)[:, None]
    this.model = Given(matched)
    this._compute_kl_logps = lambda model, batch: torch.tensor(job["kl_sums"], dtype=torch.float64)
    inputs = {
        "input_ids": ones,
        "attention_mask": ones,
        "completion_mask": mask,
        "label": torch.tensor(job["label"]),
        "ref_logps": torch.tensor(job["ref_sums"], dtype=torch.float64),
        "ref_KL_logps": torch.tensor(job["ref_kl_sums"], dtype=torch.float64),
    }
    return float(KTOTrainer._compute_loss(this, this.model, inputs, False))


def reward_loss(job: dict[str, Any]) -> float:
    """TRL's loss of rewards."""
    from trl import RewardTrainer

    rewards = torch.tensor(job["chosen"] + job["rejected"], dtype=torch.float64)[:, None]
    this = trainer_like(
        args=types.SimpleNamespace(center_rewards_coefficient=job["centre"] or None),
        model=types.SimpleNamespace(training=False),
    )
    model = lambda **_: types.SimpleNamespace(logits=rewards)  # noqa: E731
    return float(RewardTrainer.compute_loss(this, model, {}))


def versions(job: dict[str, Any]) -> dict[str, str]:
    """What answers."""
    from importlib.metadata import version

    return {name: version(name) for name in ("trl", "transformers", "torch", "peft")}


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Losses of a real trainer's steps, on rows of token ids taken in their order; and whether the trainer itself makes
    these ids of the same texts."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    tokenizer.chat_template = job.get("template") or tokenizer.chat_template
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    reward = job["kind"] == "reward"
    if reward:
        model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=1, dtype=torch.float32)
        torch.manual_seed(job["seed"])
        model.score = torch.nn.Linear(model.score.in_features, 1, bias=False)
        torch.nn.init.normal_(model.score.weight, std=model.config.initializer_range)
    else:
        model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    trainer_class, config_class, rows = _kind(job)
    losses: list[float] = []

    class Watched(trainer_class):  # type: ignore[misc, valid-type]
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            losses.append(float(loss))
            return loss

    arguments = config_class(
        output_dir=job["out"],
        max_steps=job["steps"],
        per_device_train_batch_size=job["micro"],
        learning_rate=job["lr"],
        lr_scheduler_type="constant",
        warmup_steps=0,
        max_grad_norm=1.0,
        weight_decay=0.0,
        optim="adamw_torch",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        max_length=512,
        **job["settings"],
    )
    texts = Dataset.from_list(job["texts"])
    extra: dict[str, Any] = {}
    if job.get("lora"):
        from peft import LoraConfig

        torch.manual_seed(job["seed"])
        extra["peft_config"] = LoraConfig(task_type="CAUSAL_LM", **job["lora"])
    trainer = Watched(model=model, args=arguments, train_dataset=texts, processing_class=tokenizer, **extra)
    shared = [key for key in rows[0] if key in trainer.train_dataset.column_names and not key.startswith("KL_")]
    same_ids = bool(shared) and all(
        own[key] == row[key] for own, row in zip(trainer.train_dataset, rows, strict=True) for key in shared
    )
    if job.get("weights"):
        from safetensors.torch import load_file

        saved = {_loaded_name(name): one for name, one in load_file(job["weights"]).items()}
        missed = trainer.model.load_state_dict(saved, strict=False).unexpected_keys
        assert saved and not missed, missed
    kept = [{name: row[name] for name in row if name.startswith("ref_")} for row in trainer.train_dataset]
    trainer.train_dataset = Dataset.from_list([row | reference for row, reference in zip(rows, kept, strict=True)])
    trainer.train()
    return {"losses": losses, "same_ids": same_ids}


def _loaded_name(name: str) -> str:
    """What a saved adapter's tensor is called in a model that trains it."""
    return name.removesuffix(".weight") + ".default.weight"


def _kind(job: dict[str, Any]) -> tuple[Any, Any, list[dict[str, Any]]]:
    kind, rows = job["kind"], job["rows"]
    if kind == "dpo":
        from trl import DPOConfig, DPOTrainer

        return DPOTrainer, DPOConfig, rows
    if kind == "kto":
        from trl import KTOConfig, KTOTrainer

        size = job["micro"]
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            shifted = [part[-1]["completion_ids"], *(one["completion_ids"] for one in part[:-1])]
            for one, other in zip(part, shifted, strict=True):
                one["KL_completion_ids"] = other
        return KTOTrainer, KTOConfig, rows
    if kind == "sft":
        from trl import SFTConfig, SFTTrainer

        return SFTTrainer, SFTConfig, rows
    if kind == "reward":
        from trl import RewardConfig, RewardTrainer

        whole = [
            {
                "chosen_ids": row["prompt_ids"] + row["chosen_ids"],
                "rejected_ids": row["prompt_ids"] + row["rejected_ids"],
            }
            for row in rows
        ]
        return RewardTrainer, RewardConfig, whole
    made = []
    for row in rows:
        one = {"prompt_input_ids": row["prompt_ids"], "prompt_attention_mask": [1] * len(row["prompt_ids"])}
        for name in ("chosen", "rejected"):
            ids = row["prompt_ids"] + row[f"{name}_ids"]
            one |= {
                f"{name}_input_ids": ids,
                f"{name}_attention_mask": [1] * len(ids),
                f"{name}_labels": [-100] * len(row["prompt_ids"]) + row[f"{name}_ids"],
            }
        made.append(one)
    if kind == "orpo":
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        return ORPOTrainer, ORPOConfig, made
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    return CPOTrainer, CPOConfig, made


JOBS = {
    "dpo_loss": dpo_loss,
    "kto_loss": kto_loss,
    "likelihood_loss": likelihood_loss,
    "reward_loss": reward_loss,
    "run": run,
    "versions": versions,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    with open(sys.argv[1], encoding="utf-8") as file:
        order = json.load(file)
    answers = [JOBS[job["job"]](job) for job in order]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(answers, file)

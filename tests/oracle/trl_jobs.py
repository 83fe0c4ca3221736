"""What TRL is asked, and our answers to it: losses of given numbers, and thirty steps from given weights.

TRL's answers are kept in ``golden/trl.json``, which ``python -m tests.oracle.write_trl`` writes; the weights and rows
are made here without a random generator that could change.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import yaml

from luthier.data.pipeline import prepare
from luthier.data.preference import taken_apart
from luthier.data.tokens import Tokens
from luthier.dialects import read
from luthier.dialects.reading import Reading
from luthier.methods import preference
from luthier.methods.answers import Likelihood
from luthier.methods.likelihood_losses import bradley_terry, contrast, kahneman_tversky, odds_ratio, simpo
from luthier.methods.pair_losses import PAIR_LOSSES, Ratios
from luthier.recipe.method import Method
from luthier.record.events import Stepped, read_events
from tests.conftest import HOMES, NAMES, TEMPLATES, write_jsonl

STEPS, MICRO, RATE = 30, 4, 2e-3
GOLDEN = Path(__file__).parent / "golden" / "trl.json"

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Ends with the answer's last token, so that TRL's answers, which go on to the end of the text, end there too."""

Job = dict[str, Any]


def numbers(count: int, seed: int, low: float = 3, high: float = 60) -> list[float]:
    """Numbers below zero; NumPy keeps the numbers of this generator for good."""
    drawn = numpy.random.RandomState(seed).uniform(low, high, count)
    return [-round(float(one), 6) for one in drawn]


def loss_jobs() -> list[Job]:
    """Every loss of every objective, of the same numbers; TRL's sigmoid no longer goes by label_smoothing."""
    pairs = {
        "chosen": numbers(6, 1),
        "rejected": numbers(6, 2),
        "ref_chosen": numbers(6, 3),
        "ref_rejected": numbers(6, 4),
        "chosen_tokens": [3, 5, 8, 2, 13, 21],
        "rejected_tokens": [4, 4, 9, 1, 30, 7],
    }
    one: dict[str, Any] = {"job": "dpo_loss", **pairs, "weights": [1.0], "beta": 0.1, "smoothing": 0.0}
    plain = [(loss, 0.0) for loss in PAIR_LOSSES if loss != "exo_pair"]
    smoothed = [("exo_pair", 0.001), ("exo_pair", 0.2), ("robust", 0.2)]
    jobs = [
        {**one, "losses": [loss], "beta": beta, "smoothing": smoothing}
        for beta in (0.1, 0.5)
        for loss, smoothing in (*plain, *smoothed)
    ]
    jobs += [{**one, "losses": [loss, "sft"], "weights": [1.0, 0.3]} for loss in ("sigmoid", "hinge")]
    kept = {"chosen": [-0.3, -1.5, -4.0, -0.7], "rejected": [-0.2, -2.5, -0.6, -9.0], "beta": 0.3, "margin": 0.5}
    jobs += [
        {"job": "likelihood_loss", **kept, "loss": loss, "smoothing": smoothing}
        for loss in ("orpo", "simpo", "sigmoid", "hinge", "ipo")
        for smoothing in ((0.0,) if loss == "orpo" else (0.0, 0.1))
    ]
    kto = {
        "job": "kto_loss",
        "sums": numbers(5, 5),
        "ref_sums": numbers(5, 6),
        "kl_sums": [number + 3 for number in numbers(5, 7)],
        "ref_kl_sums": numbers(5, 7),
        "label": [True, False, True, True, False],
        "beta": 0.2,
        "wanted": 0.7,
        "unwanted": 1.3,
    }
    jobs += [kto, {**kto, "kl_sums": [number - 3 for number in numbers(5, 7)]}]
    rewards = {"job": "reward_loss", "chosen": numbers(6, 8, -2, 3), "rejected": numbers(6, 9, -2, 3)}
    return [*jobs, *({**rewards, "centre": centre} for centre in (0.0, 0.01))]


def loss_of(job: Job) -> Any:
    """Our answer to a job of ``loss_jobs``."""
    if job["job"] == "dpo_loss":
        return _dpo_loss(job)
    if job["job"] == "kto_loss":
        names = ("sums", "ref_sums", "kl_sums", "ref_kl_sums")
        every = {name: torch.tensor(job[name], dtype=torch.float64) for name in names}
        drift = (every["kl_sums"] - every["ref_kl_sums"]).mean().clamp(min=0)
        own = every["sums"] - every["ref_sums"]
        losses = kahneman_tversky(own, torch.tensor(job["label"]), drift, job["beta"], job["wanted"], job["unwanted"])
        return float(losses.mean())
    if job["job"] == "reward_loss":
        double = [torch.tensor(job[name], dtype=torch.float64) for name in ("chosen", "rejected")]
        return float(bradley_terry(double[0], double[1], job["centre"]).mean())
    chosen, rejected = torch.tensor(job["chosen"]), torch.tensor(job["rejected"])
    if job["loss"] == "orpo":
        return odds_ratio(chosen, rejected, job["beta"]).tolist()
    if job["loss"] == "simpo":
        return simpo(chosen, rejected, job["beta"], job["margin"], job["smoothing"]).tolist()
    return contrast(chosen, rejected, job["beta"], job["loss"], job["smoothing"]).tolist()


def _dpo_loss(job: Job) -> float:
    names = ("chosen", "rejected", "ref_chosen", "ref_rejected", "chosen_tokens", "rejected_tokens")
    double = {name: torch.tensor(job[name], dtype=torch.float64) for name in names}
    if len(job["losses"]) == 1:
        ratios = Ratios(
            double["chosen"] - double["ref_chosen"],
            double["rejected"] - double["ref_rejected"],
            double["chosen_tokens"],
            double["rejected_tokens"],
            job["beta"],
            job["smoothing"],
        )
        return float(PAIR_LOSSES[job["losses"][0]](ratios).mean())
    return _with_likelihood(job, double)


def _with_likelihood(job: Job, double: dict[str, torch.Tensor]) -> float:
    """The whole method, whose likelihood is given: each answer's sum, spread evenly over its tokens."""

    def by_turns(name: str) -> torch.Tensor:
        return torch.stack([double[f"chosen{name}"], double[f"rejected{name}"]], 1).flatten()

    sums, lengths = by_turns(""), by_turns("_tokens")
    reference = torch.stack([double["ref_chosen"], double["ref_rejected"]], 1).flatten()
    answer = torch.repeat_interleave(torch.arange(len(sums)), lengths.long())
    batch: Any = _Batch(answer, len(sums) // 2)
    method = preference.DirectPreference(
        Method(beta=job["beta"], loss=job["losses"][0], nll_weight=job["weights"][1])  # type: ignore[call-arg]
    )
    method.reference = lambda model, batch, chunked: reference
    found = Likelihood(sums, lengths, (sums / lengths)[answer])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preference, "likelihood", lambda model, batch, chunked: found)
        patch.setattr(preference, "AnswerBatch", _Batch)
        return float(method.loss(torch.nn.Identity(), batch).total / batch.units)


class _Batch:
    """The answer that each token belongs to, and the number of pairs."""

    def __init__(self, answer: torch.Tensor, units: int) -> None:
        self.answer, self.units = answer, units


LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}

RUNS: dict[str, tuple[Job, Job]] = {
    "dpo": ({"beta": 0.2}, {"beta": 0.2}),
    "dpo robust": (
        {"beta": 0.2, "loss": "robust", "preference_smoothing": 0.1},
        {"beta": 0.2, "loss_type": ["robust"], "label_smoothing": 0.1},
    ),
    "dpo rpo": (
        {"beta": 0.2, "nll_weight": 0.3},
        {"beta": 0.2, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]},
    ),
    "dpo precomputed": ({"beta": 0.2, "reference": "precomputed"}, {"beta": 0.2, "precompute_ref_log_probs": True}),
    "dpo lora": ({"beta": 0.2, "reference": "adapter_off"}, {"beta": 0.2}),
    "dpo packed": ({"beta": 0.2}, {"beta": 0.2}),
    "ipo": ({"beta": 0.1}, {"beta": 0.1, "loss_type": ["ipo"]}),
    "kto": (
        {"beta": 0.3, "desirable_weight": 0.8, "undesirable_weight": 1.2},
        {"beta": 0.3, "desirable_weight": 0.8, "undesirable_weight": 1.2},
    ),
    "orpo": ({"beta": 0.2}, {"beta": 0.2}),
    "simpo": ({"beta": 2.0, "margin": 0.7}, {"beta": 2.0, "simpo_gamma": 0.7, "loss_type": "simpo", "cpo_alpha": 0.0}),
    "cpo": ({"beta": 0.2}, {"beta": 0.2, "cpo_alpha": 1.0}),
    "cpo packed": ({"beta": 0.2}, {"beta": 0.2, "cpo_alpha": 1.0}),
    "reward": ({}, {"center_rewards_coefficient": None}),
    "reward centred": ({"center_rewards": 0.1}, {"center_rewards_coefficient": 0.1}),
    "sft": ({}, {}),
    "sft packed": ({}, {}),
    "pretrain": ({}, {}),
}
"""A method and what is special about its run: our settings of the method, and TRL's."""


def write_model(folder: Path) -> Path:
    """A tiny Llama and its tokenizer of single bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    train_tokenizer(["a"], TokenizerTraining(vocabulary=300, special=special, eos="<|im_end|>"), folder)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=259,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=None,
            eos_token_id=2,
        )
    )
    with torch.no_grad():
        for seed, (_, parameter) in enumerate(sorted(model.named_parameters())):
            if parameter.ndim > 1:
                drawn = numpy.random.RandomState(seed).standard_normal(tuple(parameter.shape)) / math.sqrt(16)
                parameter.copy_(torch.from_numpy(drawn))
    model.save_pretrained(folder)
    return folder


def write_adapter(folder: Path, model: Path) -> Path:
    """A LoRA adapter at its start: B is zero, and the reference is the model without it."""
    from peft import LoraConfig
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    LoraConfig(task_type="CAUSAL_LM", base_model_name_or_path=str(model), **LORA).save_pretrained(folder)
    rank, targets, tensors = LORA["r"], LORA["target_modules"], {}
    weights = AutoModelForCausalLM.from_pretrained(model).named_parameters()
    for seed, (name, weight) in enumerate(sorted(weights)):
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] in targets:  # type: ignore[operator]
            out, into = weight.shape
            drawn = numpy.random.RandomState(seed).uniform(-0.4, 0.4, (rank, into))
            tensors[f"base_model.model.{module}.lora_A.weight"] = torch.from_numpy(drawn).float()
            tensors[f"base_model.model.{module}.lora_B.weight"] = torch.zeros(out, rank)  # type: ignore[call-overload]
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def _rows(count: int) -> list[dict[str, Any]]:
    made = []
    for number in range(count):
        who = number * 5 % len(NAMES)
        other = HOMES[(who + 1 + number % 4) % len(HOMES)]
        made.append(
            {
                "prompt": TEMPLATES[number % len(TEMPLATES)].format(NAMES[who]) + " Now!" * (number % 3),
                "chosen": f"{NAMES[who]} lives in the {HOMES[who]}." + " Yes." * (number % 2),
                "rejected": f"In the {other}, or not.",
                "label": number % 3 != 0,
            }
        )
    return made


def _talk(row: dict[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A row as we read it, and as TRL's trainer of the kind does."""
    if kind == "pretrain":
        text = f"{row['prompt']} {row['chosen']}"
        return {"text": text}, {"text": text}
    answer = "chosen" if row["label"] or kind == "sft" else "rejected"
    turns = {
        name: [{"role": role, "content": row[name]}]
        for name, role in (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant"))
    }
    single = {"prompt": turns["prompt"], "completion": turns[answer]}
    if kind == "sft":
        return {"messages": turns["prompt"] + turns["chosen"]}, single
    if kind == "kto":
        own = {"prompt": row["prompt"], "completion": row[answer], "label": row["label"]}
        return own, {**single, "label": row["label"]}
    own = {name: row[name] for name in turns}
    return own, turns if kind in ("dpo", "ipo", "reward") else own


def reading_of(name: str, folder: Path, model: Path) -> tuple[Reading, list[dict[str, Any]]]:
    """Our recipe of a run, its rows on disk, and the rows as TRL reads them."""
    kind, _, special = name.partition(" ")
    packed = special == "packed"
    pairs = [_talk(row, kind) for row in _rows(MICRO if packed else 10 * MICRO)]
    template = folder / "plain.jinja"
    template.write_text(TEMPLATE, encoding="utf-8")
    rows = write_jsonl(folder / "rows.jsonl", [own for own, _ in pairs])
    tree: dict[str, Any] = {
        "model": {"path": str(model)},
        "method": {"kind": kind, **RUNS[name][0]},
        "data": {
            "train": [{"path": str(rows)}],
            "template": str(template),
            "shuffle": False,
            "max_length": 256,
        },
        "pack": {"kind": "best_fit", "length": 2048} if packed else {"kind": "none"},
        "batch": {"micro": 1 if packed else MICRO, "steps": STEPS},
        "optimizer": {"lr": RATE, "weight_decay": 0.0, "clip": 1.0},
        "schedule": {"kind": "constant", "warmup_share": 0.0},
        "precision": {"compute": "fp32"},
        "checkpoint": {"every": "never"},
        "output": {"dir": str(folder / "run")},
    }
    if special == "lora":
        adapter = write_adapter(folder / "adapter", model)
        tree["adapter"] = {"kind": "lora", "continue_from": str(adapter)}
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return read(recipe), [theirs for _, theirs in pairs]


def our_losses(reading: Reading) -> list[float]:
    """The losses of a run."""
    from rich.console import Console

    from luthier.train.display import Display
    from luthier.train.run import run

    folder = run(reading, Display(Console(quiet=True), live=False))
    return [event.loss for event in read_events(folder.events) if isinstance(event, Stepped)]


def ids_of(reading: Reading, model: Path, kind: str) -> list[dict[str, Any]]:
    """The token ids of the rows, as TRL's trainer of the kind calls them."""
    store, _ = prepare(reading.recipe, reading.recipe.data.train, model)
    form: Callable[[Any], dict[str, Any]] = {"sft": _labelled, "pretrain": _labelled, "kto": _judged}.get(kind, _paired)
    return [form(tokens) for tokens in store]


def _labelled(tokens: Tokens) -> dict[str, Any]:
    labels = [int(one) if trained else -100 for one, trained in zip(tokens.ids, tokens.trained, strict=True)]
    return {"input_ids": tokens.ids.tolist(), "labels": labels}


def _judged(tokens: Any) -> dict[str, Any]:
    one = taken_apart(tokens)
    return {"prompt_ids": one.prompt.tolist(), "completion_ids": one.answers[0].tolist(), "label": one.wanted}


def _paired(tokens: Any) -> dict[str, Any]:
    one = taken_apart(tokens)
    chosen, rejected = (answer.tolist() for answer in one.answers)
    return {"prompt_ids": one.prompt.tolist(), "chosen_ids": chosen, "rejected_ids": rejected}


def digest(rows: list[dict[str, Any]]) -> str:
    """What the rows' ids come to, short."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def run_job(name: str, folder: Path, model: Path) -> Job:
    """What TRL is asked to do for a run."""
    kind, _, special = name.partition(" ")
    reading, texts = reading_of(name, folder, model)
    ids = ids_of(reading, model, kind)
    repeated = STEPS * MICRO // len(ids) if special == "packed" else 1
    job: Job = {
        "job": "run",
        "kind": {"simpo": "cpo", "ipo": "dpo", "pretrain": "sft"}.get(kind, kind),
        "model": str(model),
        "template": TEMPLATE,
        "texts": texts * repeated,
        "rows": ids * repeated,
        "out": str(folder / "trl"),
        "steps": STEPS,
        "micro": MICRO,
        "lr": RATE,
        "settings": RUNS[name][1],
        "seed": reading.recipe.seed,
    }
    if special == "lora":
        job |= {"lora": LORA, "weights": str(folder / "adapter" / "adapter_model.safetensors")}
    return job

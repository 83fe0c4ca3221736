"""How fast a small Llama trains: ``python bench/train.py [ROUNDS] [--trl PYTHON] [--only NAME ...]``.

A Llama of 27 million parameters (hidden 512, 6 layers, 8 heads, 8,000 ids) learns rows as long as Alpaca's (lognormal,
cut to [12, 2048], 200 tokens on average, the last 55 % of each trained on). ``--trl`` names a Python that has TRL.
Every contender has the same weights, rows, tokens a step (2 packs of 2,048, or as many rows as fill them) and threads,
and is a process of its own, which lives through all rounds and takes its steps when it is asked to: three in a turn if
it is ours, else one. Each measures the machine's own product of 2048^3 numbers between its steps, since other work on
the cores falls on both alike. Speed is in real tokens, padding not counted. On a processor without bf16 instructions
ours computes in fp32 what is asked for in bf16, as a run does there.
Useful operations are 6 for each inner weight and token, 6 for each weight of the output layer and *trained* token, and
those of causal attention within documents (12 x heads x head size x layers x half the squared lengths). Medians of all
steps but a contender's first two. Everything together holds some 18 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.plan.compute import compute_here, device_here

COMMON = """
import json, os, resource, sys, time
import numpy as np, torch
folder, precision, threads, setting = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(threads)
lengths, ids, trained = (np.load(f"{folder}/{name}.npy") for name in ("lengths", "ids", "trained"))
bounds = np.concatenate([[0], np.cumsum(lengths)])
device = "cuda" if torch.cuda.is_available() else "cpu"
kind = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
one, two = torch.randn(2048, 2048, device=device, dtype=kind), torch.randn(2048, 2048, device=device, dtype=kind)

def now():
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()

def product():
    best = 1e9
    for _ in range(3):
        begun = now()
        one @ two
        best = min(best, now() - begun)
    return 2 * 2048**3 / best

def asked():
    if not sys.stdin.readline():
        os._exit(0)

def told(step):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    print("STEP " + json.dumps({**step, "peak": peak}), flush=True)
"""

OURS = (
    """
from luthier.environment import yield_idle_threads
yield_idle_threads()
"""
    + COMMON
    + """
from pathlib import Path
from luthier.data.order import Feed
from luthier.data.store import collect
from luthier.data.tokens import Tokens
from luthier.methods.method import method_of
from luthier.model.adapters import add_adapter
from luthier.model.kernels.apply import facts_of, put_kernels
from luthier.model.kernels.choose import choose
from luthier.model.load import build_model
from luthier.recipe.validate import build
from luthier.train.engines.single import SingleDevice
from luthier.train.loop import Work, one_step, planned_steps
from luthier.train.optimizer import build_optimizer

micro, adapter = int(setting.split()[0]), setting.split()[1]
recipe = build({
    "model": {"path": folder}, "data": {"train": [{"path": "none"}], "max_length": 2048},
    "adapter": {"kind": adapter, "rank": 16, "alpha": 32}, "precision": {"compute": precision},
    "batch": {"micro": micro, "accumulation": 2 // micro}, "runtime": {"threads": threads},
}, str)
engine = SingleDevice(recipe)
model = add_adapter(build_model(recipe, 8000, Path(folder)), recipe)
kernels = choose(recipe, facts_of(model, engine.device, engine.compute))
model = engine.wrap(put_kernels(model, recipe, kernels, engine.device))
model.train()
store = collect((Tokens(ids[a:b], trained[a:b], "row") for a, b in zip(bounds, bounds[1:])), {})
feed = Feed(store.lengths, 2048, micro, 2 // micro, shuffle=True, seed=0)
method, optimizer = method_of(recipe), build_optimizer(model, recipe)
spent = 0.0

def timed(function):
    def call(*args, **settings):
        global spent
        begun = now()
        result = function(*args, **settings)
        spent += now() - begun
        return result
    return call

class Timed:
    collate = staticmethod(method.collate)
    loss = staticmethod(timed(method.loss))

engine.backward, engine.clip, optimizer.step = timed(engine.backward), timed(engine.clip), timed(optimizer.step)
work = Work(
    model=model, method=Timed(), engine=engine, optimizer=optimizer, rate=lambda step: 1e-4, store=store,
    documents=list(range(len(store))), feed=feed, total=10**6, clip=1.0,
)
for step, epoch, micros in planned_steps(feed, 0, 10**6):
    asked()
    rate, spent = product(), 0.0
    event = one_step(work, step, epoch, micros)
    inside = [len(store[item]) for items in micros for item in items]
    told({
        "tokens": event.tokens, "targets": event.targets, "squared": sum(n * n for n in inside),
        "seconds": event.seconds, "product": max(rate, product()), "around": event.seconds - spent, "loss": event.loss,
    })
"""
)

THEIRS = (
    COMMON
    + '''
os.environ["HF_HUB_OFFLINE"] = "1"
import datasets, transformers
datasets.disable_caching()
name, size = setting.split()[0], int(setting.split()[1])

class Counting:
    """Times whole steps, and counts what in them is no padding."""

    def training_step(self, model, inputs, *rest, **more):
        if self.micro % self.args.gradient_accumulation_steps == 0:
            asked()
            self.rate, self.real, self.targets = product(), 0, 0
            self.begun = now()
        mask = inputs.get("attention_mask")
        self.real += int(inputs["input_ids"].numel() if mask is None else (mask > 0).sum())
        self.targets += int((inputs["labels"] != -100).sum())
        result = super().training_step(model, inputs, *rest, **more)
        self.micro += 1
        self.loss = float(result)
        return result

class Ends(transformers.TrainerCallback):
    def on_step_end(self, *args, **more):
        told({
            "tokens": trainer.real, "targets": trainer.targets, "seconds": now() - trainer.begun,
            "product": max(trainer.rate, product()), "loss": trainer.loss,
        })

chosen = range(1000)
rows = {"input_ids": [ids[bounds[n]:bounds[n + 1]].tolist() for n in chosen]}
common = dict(
    output_dir=folder + "/out", max_steps=10**4, learning_rate=1e-4, max_grad_norm=1.0, report_to=[],
    save_strategy="no", disable_tqdm=True, use_cpu=device == "cpu", bf16=precision == "bf16", optim="adamw_torch_fused",
    dataloader_pin_memory=False, gradient_checkpointing=False, logging_strategy="no", per_device_train_batch_size=size,
)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
if name == "trainer":
    rows["labels"] = [
        np.where(trained[bounds[n]:bounds[n + 1]], ids[bounds[n]:bounds[n + 1]], -100).tolist() for n in chosen
    ]
    def padded(batch):
        longest = max(len(row["input_ids"]) for row in batch)
        def filled(key, value):
            return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in batch])
        mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch])
        return {"input_ids": filled("input_ids", 0), "labels": filled("labels", -100), "attention_mask": mask}
    class Trainer(Counting, transformers.Trainer):
        micro = 0
    trainer = Trainer(
        model=model, train_dataset=datasets.Dataset.from_dict(rows), data_collator=padded, callbacks=[Ends()],
        args=transformers.TrainingArguments(
            **common, gradient_accumulation_steps=20 // size, remove_unused_columns=False
        ),
    )
else:
    import trl
    rows["completion_mask"] = [trained[bounds[n]:bounds[n + 1]].astype(int).tolist() for n in chosen]
    packed = name == "packed"
    class Trainer(Counting, trl.SFTTrainer):
        micro = 0
    trainer = Trainer(
        model=model, train_dataset=datasets.Dataset.from_dict(rows), callbacks=[Ends()],
        processing_class=transformers.PreTrainedTokenizerFast.from_pretrained(folder),
        args=trl.SFTConfig(
            **common, gradient_accumulation_steps=(2 if packed else 20) // size, max_length=2048, packing=packed,
            completion_only_loss=True,
        ),
    )
trainer.train()
'''
)


def make_folder(folder: Path) -> None:
    """The rows, the weights and a tokenizer to please those who want one."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    chance = np.random.default_rng(0)
    lengths = np.clip(chance.lognormal(5.0, 0.8, 4000).astype(np.int64), 12, 2048)
    np.save(folder / "lengths.npy", lengths)
    np.save(folder / "ids.npy", (chance.zipf(1.3, int(lengths.sum())) % 7990 + 5).astype(np.int32))
    np.save(folder / "trained.npy", np.concatenate([np.arange(n) >= int(0.45 * n) for n in lengths]))
    train_tokenizer(["a b c d e f"], TokenizerTraining(vocabulary=300), folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 6, "num_attention_heads": 8}
    config = LlamaConfig(vocab_size=8000, max_position_embeddings=4096, tie_word_embeddings=False, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)


def useful(step: dict[str, Any]) -> float:
    """Operations of a step of ours that its result needs."""
    inner = 6 * (4 * 512 * 512 + 3 * 512 * 1376)
    attention = 12 * 512 * 6 * step["squared"] / 2
    return float(6 * inner * step["tokens"] + 6 * 8000 * 512 * step["targets"] + attention)


class Contender:
    """A process that takes a step whenever it is asked to, and tells about it."""

    def __init__(
        self, folder: Path, python: str, program: str, precision: str, setting: str, environment: Mapping[str, str] = {}
    ) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.steps: list[dict[str, Any]] = []
        self.many = 3 if program is OURS else 1
        threads = str(len(os.sched_getaffinity(0)))
        self.process = subprocess.Popen(
            [python, "-c", program, str(folder), precision, threads, setting],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **environment},
        )

    def step(self) -> dict[str, Any]:
        """One step; what the process said on its way down is shown, if it went."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        for line in self.process.stdout:
            if line.startswith("STEP "):
                found: dict[str, Any] = json.loads(line.removeprefix("STEP "))
                return found
        self.errors.seek(0)
        sys.exit(self.errors.read()[-3000:])

    def close(self) -> None:
        """End the process, which waits to be asked."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def field(trl: str | None) -> list[tuple[str, str, str, str]]:
    """(name, Python, program, setting) of each contender."""
    ours = [("1 pack", "1 none"), ("2 packs", "2 none"), ("LoRA, 2 packs", "2 lora")]
    theirs = [("packed, 1 row", "packed 1"), ("packed, 2 rows", "packed 2"), ("padded", "padded 4")] if trl else []
    return [
        *((f"luthier, {name}", sys.executable, OURS, setting) for name, setting in ours),
        *((f"TRL, {name}", trl or "", THEIRS, setting) for name, setting in theirs),
        ("transformers.Trainer, padded", sys.executable, THEIRS, "trainer 4"),
    ]


def main(rounds: int, trl: str | None, precisions: list[str], out: Path | None, only: list[str]) -> None:
    every: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_folder(folder)
        for precision in precisions:
            contenders: dict[str, Contender] = {}
            for name, python, program, setting in field(trl):
                if not only or any(word in name for word in only):
                    computed = compute_here(precision, device_here("auto")) if program is OURS else precision
                    contenders[name] = Contender(folder, python, program, computed, setting)
                    for _ in range(2):
                        contenders[name].step()
            for number in range(rounds):
                for name, one in contenders.items():
                    one.steps += [one.step() for _ in range(one.many)]
                    speed = one.steps[-1]["tokens"] / one.steps[-1]["seconds"]
                    told = f"  round {number + 1}, {precision}, {name}: {speed:,.0f} tokens/s"
                    print(told, file=sys.stderr, flush=True)
                every[precision] = {name: one.steps for name, one in contenders.items()}
                if out:
                    out.write_text(json.dumps(every))
            for one in contenders.values():
                one.close()
            table(precision, every[precision])


def table(precision: str, taken: dict[str, list[dict[str, Any]]]) -> None:
    """A line for each contender; the share of the machine's product is taken step by step."""
    print(f"| {precision} | tokens/s | tokens per 10^12 operations of the product | useful | memory | loop around |")
    print("|---|---|---|---|---|---|")
    for name, steps in taken.items():
        speed = statistics.median(step["tokens"] / step["seconds"] for step in steps)
        worth = statistics.median(1e12 * step["tokens"] / step["seconds"] / step["product"] for step in steps)
        share = around = ""
        if "squared" in steps[0]:
            share = f"{statistics.median(useful(step) / step['seconds'] / step['product'] for step in steps):.0%}"
            around = f"{statistics.median(step['around'] / step['seconds'] for step in steps):.2%}"
        peak = max(step["peak"] for step in steps) / 1e9
        print(f"| {name} | {speed:,.0f} | {worth:,.0f} | {share} | {peak:.2f} GB | {around} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    parser.add_argument("--trl", help="a Python that has TRL")
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp32"], choices=["bf16", "fp32"])
    parser.add_argument("--out", type=Path, help="where to keep every step's figures as JSON")
    parser.add_argument("--only", nargs="+", default=[], help="words of the contenders' names")
    given = parser.parse_args()
    main(given.rounds, given.trl, given.precisions, given.out, given.only)

"""DPO on pairs: ``python bench/dpo.py [ROUNDS] [--trl PYTHON]`` prints pairs per second, ours and TRL's in turns.

Both train the same 26M-parameter Llama (random weights, 16,000 words) on the same token ids with a copy of it as the
reference, 8 pairs a step, AdamW, in bf16 or (``--precision``) fp32. Ours lays the pairs of a step in rows without
padding and computes each prompt once; "apart" is the same with a copy of the prompt before each answer. TRL tries
several batch sizes.
Each run is a process of its own; the first step does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PAIRS, STEPS, COLD = 8, 5, 1
PRECISION = "bf16"
LENGTHS = {"long prompts": (300, 80), "short prompts": (100, 100)}
"""Mean words of a prompt and of an answer."""


def make(root: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    chance = random.Random(0)
    words = ["".join(chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(3)) for _ in range(1500)]

    def text(mean: int) -> str:
        return " ".join(chance.choices(words, k=max(8, min(4 * mean, round(chance.lognormvariate(0, 0.5) * mean)))))

    train_tokenizer(words * 5, TokenizerTraining(vocabulary=4000), root / "model")
    for name, (prompt, answer) in LENGTHS.items():
        rows = [
            {"prompt": text(prompt), "chosen": text(answer), "rejected": text(answer)} for _ in range(PAIRS * STEPS)
        ]
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16000, hidden_size=384, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=6,
        num_key_value_heads=6, max_position_embeddings=4096, bos_token_id=None, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(root / "model")


def recipe(root: Path, rows: str, micro: int) -> dict[str, Any]:
    return {
        "model": {"path": str(root / "model")},
        "method": {"kind": "dpo"},
        "data": {"train": [{"path": str(root / f"{rows}.jsonl")}], "template": "chatml", "max_length": 2048,
                 "shuffle": False, "cache": str(root / "cache")},
        "pack": {"kind": "none"},
        "batch": {"micro": micro, "accumulation": PAIRS // micro, "steps": STEPS},
        "precision": {"compute": PRECISION},
        "optimizer": {"lr": 1e-5},
        "checkpoint": {"every": "never"},
        "output": {"dir": str(root / "run")},
    }  # fmt: skip


def ours(root: Path, rows: str, micro: int, shared: bool) -> None:
    import shutil

    from rich.console import Console

    from luthier.data.pipeline import prepare
    from luthier.data.preference import taken_apart
    from luthier.dialects import read
    from luthier.methods.preference import DirectPreference
    from luthier.record.events import Stepped, read_events
    from luthier.train.display import Display
    from luthier.train.run import run

    if not shared:
        of = DirectPreference.of
        DirectPreference.of = classmethod(lambda kind, recipe: kind(of(recipe).settings, shared=False))  # type: ignore[assignment, method-assign]
    import yaml

    shutil.rmtree(root / "run", ignore_errors=True)
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe(root, rows, micro)))
    reading = read(root / "recipe.yaml")
    folder = run(reading, Display(Console(quiet=True), live=False))
    steps = [event for event in read_events(folder.events) if isinstance(event, Stepped)]
    store, _ = prepare(reading.recipe, reading.recipe.data.train, root / "model")
    parts = [taken_apart(one) for one in store]
    ids = [
        {
            "prompt_ids": one.prompt.tolist(),
            "chosen_ids": one.answers[0].tolist(),
            "rejected_ids": one.answers[1].tolist(),
        }
        for one in parts
    ]
    (root / f"{rows}.ids.json").write_text(json.dumps(ids))
    _tell([one.seconds for one in steps], [one.loss for one in steps])


def theirs(root: Path, rows: str, micro: int) -> None:
    import time

    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    class Clock(TrainerCallback):
        seconds: list[float]
        losses: list[float]

        def __init__(self) -> None:
            self.seconds, self.losses, self.begun = [], [], 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.begun)

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                self.losses.append(logs["loss"])

    class Sequential(DPOTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    torch.set_num_threads(os.cpu_count() or 1)
    tokenizer = AutoTokenizer.from_pretrained(root / "model")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    clock = Clock()
    arguments = DPOConfig(
        output_dir=str(root / "trl"), max_steps=STEPS, per_device_train_batch_size=micro,
        gradient_accumulation_steps=PAIRS // micro, learning_rate=1e-5, bf16=PRECISION == "bf16",
        use_cpu=not torch.cuda.is_available(), gradient_checkpointing=False, report_to=[], save_strategy="no",
        disable_tqdm=True, max_length=None, logging_steps=1,
    )  # fmt: skip
    small = Dataset.from_list([{"prompt": "bada", "chosen": "bodo", "rejected": "bidi"}] * 4)
    model = AutoModelForCausalLM.from_pretrained(root / "model", dtype=torch.float32)
    trainer = Sequential(
        model=model, args=arguments, train_dataset=small, processing_class=tokenizer, callbacks=[clock]
    )
    trainer.train_dataset = Dataset.from_list(json.loads((root / f"{rows}.ids.json").read_text()))
    trainer.train()
    _tell(clock.seconds, clock.losses)


def _tell(seconds: list[float], losses: list[float]) -> None:
    rate = PAIRS * len(seconds[COLD:]) / sum(seconds[COLD:])
    print("RESULT " + json.dumps({"rate": rate, "first": losses[0]}))


def measured(python: str, root: Path, *words: str) -> float:
    done = subprocess.run(
        [python, __file__, "--one", str(root), *words, str(PAIRS), str(STEPS), PRECISION],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        raise SystemExit(done.stderr[-3000:])
    answer = json.loads(found[-1].removeprefix("RESULT "))
    assert abs(answer["first"] - 0.6931) < 1e-3, answer
    return float(answer["rate"])


def main(rounds: int, trl: str | None, kinds: list[str], sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root)
        for rows in kinds:
            runs = [
                ("ours", sys.executable, "ours", rows, str(PAIRS)),
                ("ours, apart", sys.executable, "apart", rows, str(PAIRS)),
            ]
            runs += [(f"TRL, {size} at a time", trl, "theirs", rows, str(size)) for size in sizes if trl]
            rates: dict[str, list[float]] = {name: [] for name, *_ in runs}
            for _ in range(rounds):
                for name, python, *words in runs:
                    rates[name].append(measured(python, root, *words))
            best = statistics.median(rates["ours"])
            load = os.getloadavg()[0]
            print(f"{rows} (load average {load:.1f})")
            for name, found in rates.items():
                middle = statistics.median(found)
                print(f"  {name:20} {middle:8.2f} pairs/s   ours is {best / middle:5.2f} times that")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        place, what, kind, size = Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
        PAIRS, STEPS, PRECISION = int(sys.argv[6]), int(sys.argv[7]), sys.argv[8]
        if what == "theirs":
            theirs(place, kind, size)
        else:
            ours(place, kind, size, what == "ours")
    else:
        words = argparse.ArgumentParser(description=__doc__)
        words.add_argument("rounds", nargs="?", type=int, default=3)
        words.add_argument("--trl", help="a Python that has TRL")
        words.add_argument("--pairs", type=int, default=PAIRS, help="of a step")
        words.add_argument("--steps", type=int, default=STEPS)
        words.add_argument("--rows", nargs="*", choices=LENGTHS, default=list(LENGTHS))
        words.add_argument("--sizes", nargs="*", type=int, default=[2, 4, 8], help="batch sizes that TRL tries")
        words.add_argument("--precision", choices=["bf16", "fp32"], default=PRECISION)
        given = words.parse_args()
        PAIRS, STEPS, PRECISION = given.pairs, given.steps, given.precision
        main(given.rounds, given.trl, given.rows, given.sizes)

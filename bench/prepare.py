"""How fast chat rows are prepared: ``python bench/prepare.py [ROWS] [ROUNDS] [--trl PYTHON]`` prints medians;
``--growth ROWS ROWS …`` how seconds and memory grow with short rows, ``--size GB`` what a large file takes.

What is compared takes turns, so that a busy moment of the machine falls on all alike. The rows are made from a seed
(words of a made-up language, as frequent as in a natural one), the tokenizer (byte-level BPE, 8,000 ids) is trained on
the first of them. ``--trl`` names a Python that has TRL: its SFTTrainer prepares the same file with 1, 2 and 4
processes; ``--axolotl`` one that has Axolotl: so does its ``preprocess``. Every preparation is a process of its own,
with peak memory; seconds are those of the preparation alone. CPU seconds tell more where others are at work.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TEMPLATE = (
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)

CLOCK = """
import resource, sys, time
WHOSE = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
def clock():
    used = [resource.getrusage(who) for who in WHOSE]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)
def report(rows, begun):
    taken = [now - then for now, then in zip(clock(), begun)]
    print()
    print(rows, *taken, *(resource.getrusage(who).ru_maxrss / 1024 for who in WHOSE))
"""
"""Shared by all: seconds and CPU seconds (those of child processes too), and the most memory of the process and of its
largest child."""

OURS = """
import shutil
from pathlib import Path
from luthier.data.pipeline import prepare
from luthier.recipe.validate import build
folder, fresh = Path(sys.argv[1]), sys.argv[2] == "fresh"
if fresh:
    shutil.rmtree(folder / "cache", ignore_errors=True)
data = {"train": [{"path": sys.argv[3]}], "template": "chatml", "max_length": 2048, "cache": str(folder / "cache")}
recipe = build({"model": {"path": "none"}, "data": data}, str)
begun = clock()
store, cached = prepare(recipe, recipe.data.train, folder / "tokenizer")
assert cached is not fresh
report(len(store), begun)
"""

LIBRARY = """
import json
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer/tokenizer.json")
rows = [json.loads(line)["messages"] for line in open(sys.argv[3])]
texts = ["".join(f"<|im_start|>{m['role']}\\n{m['content']}<|im_end|>\\n" for m in row) for row in rows]
begun = clock()
tokenizer.encode_batch_fast(texts, add_special_tokens=False)
report(len(texts), begun)
"""

TRL = """
import os
os.environ["HF_HUB_OFFLINE"] = "1"
import datasets, torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer
datasets.disable_caching()
folder, processes = sys.argv[1], int(sys.argv[2])
tokenizer = PreTrainedTokenizerFast(
    tokenizer_file=folder + "/tokenizer/tokenizer.json", eos_token="<|im_end|>", pad_token="<|endoftext|>"
)
tokenizer.chat_template = open(folder + "/chatml.jinja").read()
tiny = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
model = LlamaForCausalLM(LlamaConfig(vocab_size=8000, **tiny))
rows = datasets.load_dataset("json", data_files=sys.argv[3], split="train", cache_dir=folder + "/hf")
settings = SFTConfig(
    output_dir=folder + "/trl", max_length=2048, packing=True, dataset_num_proc=processes, use_cpu=True, bf16=False,
    report_to=[],
)
begun = clock()
SFTTrainer(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)
report(len(rows), begun)
"""

AXOLOTL = """
import json, os, shutil
os.environ.update(HF_HUB_OFFLINE="1", AXOLOTL_DO_NOT_TRACK="1", DO_NOT_TRACK="1")
os.environ["HF_DATASETS_CACHE"] = sys.argv[1] + "/hfa"
from transformers import LlamaConfig, PreTrainedTokenizerFast
from axolotl.cli.preprocess import do_cli
folder, processes = sys.argv[1], int(sys.argv[2])
special = dict(eos_token="<|im_end|>", **dict.fromkeys(("bos_token", "pad_token", "unk_token"), "<|endoftext|>"))
tokenizer = PreTrainedTokenizerFast(tokenizer_file=folder + "/tokenizer/tokenizer.json", **special)
tokenizer.chat_template = open(folder + "/chatml.jinja").read()
tokenizer.save_pretrained(folder + "/axolotl")
tiny = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
LlamaConfig(vocab_size=8000, architectures=["LlamaForCausalLM"], **tiny).save_pretrained(folder + "/axolotl")
settings = dict(
    base_model=folder + "/axolotl", chat_template="tokenizer_default", dataset_prepared_path=folder + "/prepared",
    datasets=[dict(path=sys.argv[3], ds_type="json", type="chat_template", field_messages="messages")],
    output_dir=folder + "/out", sequence_len=2048, sample_packing=True, micro_batch_size=1, num_epochs=1,
    gradient_accumulation_steps=1, learning_rate=1e-4, optimizer="adamw_torch", bf16=False,
    dataset_processes=processes,
)
for name in ("/prepared", "/hfa"):
    shutil.rmtree(folder + name, ignore_errors=True)
with open(folder + "/axolotl.yml", "w") as file:
    json.dump(settings, file)
begun = clock()
do_cli(folder + "/axolotl.yml")
report(sum(1 for _ in open(sys.argv[3])), begun)
"""


def make_rows(path: Path, count: int, *, short: bool = False) -> None:
    """Conversations of 2 to 6 turns in a made-up language; Zipf's law for its words. ``short``: a few words each."""
    chance = random.Random(1)
    starts = ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "gr", "pl"]
    syllables = [start + end for start in starts for end in ["a", "e", "i", "o", "u", "ai", "ou", "er", "in", "on"]]
    words = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3)))) for _ in range(20_000)]
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))

    def text(length: int) -> str:
        drawn = chance.choices(words, cum_weights=weights, k=length)
        return " ".join(word + ("." if n % 11 == 10 else "," if n % 17 == 16 else "") for n, word in enumerate(drawn))

    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            if short:
                asked, answer = text(chance.randint(3, 8)), text(chance.randint(2, 6))
                file.write(f'{{"messages": [{{"role": "user", "content": "{asked}?"}}, ')
                file.write(f'{{"role": "assistant", "content": "{answer}."}}]}}\n')
                continue
            turns = [{"role": "system", "content": "You are a helpful assistant."}] if number % 2 else []
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                turns.append({"role": "user", "content": text(chance.randint(6, 30)) + "?"})
                turns.append({"role": "assistant", "content": text(chance.randint(10, 60)) + "."})
            file.write(json.dumps({"messages": turns}) + "\n")


def prepare_folder(folder: Path, rows: int, *, short: bool = False) -> Path:
    """The rows, the tokenizer and the template; returns the file of the rows."""
    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    path = folder / "rows.jsonl"
    make_rows(path, rows, short=short)
    with path.open(encoding="utf-8") as file:
        some = [json.loads(line)["messages"] for line in itertools.islice(file, 5000)]
    texts = [turn["content"] for turns in some for turn in turns]
    train_tokenizer(texts, TokenizerTraining(vocabulary=8000), folder / "tokenizer")
    (folder / "chatml.jinja").write_text(TEMPLATE)
    return path


def measured(python: str, program: str, folder: Path, word: str, rows: Path) -> list[float]:
    """Rows, seconds, CPU seconds, MB of the process at its peak, MB of its largest child."""
    done = subprocess.run(
        [python, "-c", CLOCK + program, str(folder), word, str(rows)], check=True, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return [float(value) for value in done.stdout.split("\n")[-2].split()]


def main(count: int, rounds: int, trl: str | None, axolotl: str | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = prepare_folder(folder, count)
        contenders = {
            "luthier": (sys.executable, OURS, "fresh"),
            "luthier, second run": (sys.executable, OURS, "cached"),
            "tokenizers alone": (sys.executable, LIBRARY, ""),
            **({f"TRL, {n} processes": (trl, TRL, str(n)) for n in (1, 2, 4)} if trl else {}),
            **({f"Axolotl, {n} processes": (axolotl, AXOLOTL, str(n)) for n in (1, 2, 4)} if axolotl else {}),
        }
        taken: dict[str, list[list[float]]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, (python, program, word) in contenders.items():
                taken[name].append(measured(python, program, folder, word, rows))
        size, load = rows.stat().st_size / count, os.getloadavg()[1]
        print(f"{count:,} rows, {size:.0f} bytes each; medians of {rounds} rounds, in turns; load {load:.1f}")
        for name, figures in taken.items():
            seconds, used = (statistics.median(one[at] for one in figures) for at in (1, 2))
            own, worker = (max(one[at] for one in figures) for at in (3, 4))
            print(
                f"{name:22} {seconds:8.2f} s {count / seconds:9,.0f} rows/s, {used:7.2f} CPU s"
                f" {used / count * 1e6:6.0f} us/row, {own:.0f} MB, a child {worker:.0f} MB"
            )


def growth(counts: list[int]) -> None:
    """How seconds and memory grow with the rows: one preparation of each size, and the exponent fitted to them."""
    taken = []
    for count in counts:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            rows = prepare_folder(folder, count, short=True)
            figures = measured(sys.executable, OURS, folder, "fresh", rows)
            show(figures, rows)
        taken.append(figures)
    if len(counts) > 1:
        for at, name in ((1, "seconds"), (2, "CPU seconds")):
            values = [math.log(one[at]) for one in taken]
            slope = statistics.linear_regression([math.log(one) for one in counts], values).slope
            print(f"{name} grow with the rows to the power {slope:.3f}")


def large(gigabytes: float) -> None:
    """One preparation of a file of that size, which repeats 200,000 rows."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        some = prepare_folder(folder, 200_000)
        rows = folder / "large.jsonl"
        with rows.open("wb") as file:
            while file.tell() < gigabytes * 1e9:
                with some.open("rb") as once:
                    shutil.copyfileobj(once, file)
        show(measured(sys.executable, OURS, folder, "fresh", rows), rows)


def show(figures: list[float], rows: Path) -> None:
    """One preparation's figures."""
    count, seconds, used, own, worker = figures
    print(
        f"{count:11,.0f} rows, {rows.stat().st_size / 1e6:7,.0f} MB: {seconds:8.2f} s, {used:7.2f} CPU s, "
        f"{own:.0f} MB, a worker {worker:.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="?", type=int, default=50_000)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--trl", help="a Python that has TRL")
    parser.add_argument("--axolotl", help="a Python that has Axolotl")
    parser.add_argument("--growth", type=int, nargs="+", help="numbers of rows, each prepared once")
    parser.add_argument("--size", type=float, help="gigabytes of one file, prepared once")
    given = parser.parse_args()
    if given.growth:
        growth(given.growth)
    elif given.size:
        large(given.size)
    else:
        main(given.rows, given.rounds, given.trl, given.axolotl)

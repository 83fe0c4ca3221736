"""How fast chat rows are prepared: ``python bench/prepare.py [ROWS] [ROUNDS] [--trl PYTHON]`` prints medians;
``--growth ROWS ROWS …`` how seconds and memory grow with the rows.

What is compared takes turns, so that a busy moment of the machine falls on all alike. The rows are made from a seed
(words of a made-up language, as frequent as in a natural one), the tokenizer (byte-level BPE, 8,000 ids) is trained on
the first of them. ``--trl`` names a Python that has TRL: its SFTTrainer prepares the same file with 1, 2 and 4
processes. Every preparation is a process of its own, with peak memory; seconds are those of the preparation alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TEMPLATE = (
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)

OURS = """
import resource, shutil, sys, time
from pathlib import Path
from luthier.data.pipeline import prepare
from luthier.recipe.validate import build
folder, fresh = Path(sys.argv[1]), sys.argv[2] == "fresh"
if fresh:
    shutil.rmtree(folder / "cache", ignore_errors=True)
data = {"train": [{"path": sys.argv[3]}], "template": "chatml", "max_length": 2048, "cache": str(folder / "cache")}
recipe = build({"model": {"path": "none"}, "data": data}, str)
begun = time.perf_counter()
store, cached = prepare(recipe, recipe.data.train, folder / "tokenizer")
taken = time.perf_counter() - begun
assert cached is not fresh
own, workers = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(len(store), taken, own, workers)
"""

LIBRARY = """
import json, sys, time
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer/tokenizer.json")
rows = [json.loads(line)["messages"] for line in open(sys.argv[3])]
texts = ["".join(f"<|im_start|>{m['role']}\\n{m['content']}<|im_end|>\\n" for m in row) for row in rows]
begun = time.perf_counter()
tokenizer.encode_batch_fast(texts, add_special_tokens=False)
print(len(texts), time.perf_counter() - begun, 0, 0)
"""

TRL = """
import os, sys, time
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
begun = time.perf_counter()
SFTTrainer(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)
print(len(rows), time.perf_counter() - begun, 0, 0)
"""


def make_rows(path: Path, count: int) -> None:
    """Conversations of 2 to 6 turns in a made-up language; Zipf's law for its words."""
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
            turns = [{"role": "system", "content": "You are a helpful assistant."}] if number % 2 else []
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                turns.append({"role": "user", "content": text(chance.randint(6, 30)) + "?"})
                turns.append({"role": "assistant", "content": text(chance.randint(10, 60)) + "."})
            file.write(json.dumps({"messages": turns}) + "\n")


def prepare_folder(folder: Path, rows: int) -> Path:
    """The rows, the tokenizer and the template; returns the file of the rows."""
    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    path = folder / "rows.jsonl"
    make_rows(path, rows)
    with path.open(encoding="utf-8") as file:
        some = [json.loads(line)["messages"] for line in itertools.islice(file, 5000)]
    texts = [turn["content"] for turns in some for turn in turns]
    train_tokenizer(texts, TokenizerTraining(vocabulary=8000), folder / "tokenizer")
    (folder / "chatml.jinja").write_text(TEMPLATE)
    return path


def measured(python: str, program: str, folder: Path, word: str, rows: Path) -> list[float]:
    """Rows, seconds, MB of the process at its peak, MB of its largest child."""
    done = subprocess.run(
        [python, "-c", program, str(folder), word, str(rows)], check=True, capture_output=True, text=True
    )
    return [float(value) for value in done.stdout.split("\n")[-2].split()]


def main(count: int, rounds: int, trl: str | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = prepare_folder(folder, count)
        contenders = {
            "luthier": (sys.executable, OURS, "fresh"),
            "luthier, second run": (sys.executable, OURS, "cached"),
            "tokenizers alone": (sys.executable, LIBRARY, ""),
            **({f"TRL, {n} processes": (trl, TRL, str(n)) for n in (1, 2, 4)} if trl else {}),
        }
        taken: dict[str, list[list[float]]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, (python, program, word) in contenders.items():
                taken[name].append(measured(python, program, folder, word, rows))
        print(f"{count:,} rows, {rows.stat().st_size / count:.0f} bytes each; medians of {rounds} rounds, in turns")
        for name, figures in taken.items():
            seconds = statistics.median(one[1] for one in figures)
            peak = max(one[2] for one in figures), max(one[3] for one in figures)
            memory = f"  {peak[0]:.0f} MB, a worker {peak[1]:.0f} MB" if peak[0] else ""
            print(f"{name:22} {seconds:8.2f} s {count / seconds:9,.0f} rows/s{memory}")


def growth(counts: list[int]) -> None:
    """How seconds and memory grow with the rows: one preparation of each size, and the exponent fitted to them."""
    taken = []
    for count in counts:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            rows = prepare_folder(folder, count)
            _, seconds, own, worker = measured(sys.executable, OURS, folder, "fresh", rows)
            size = rows.stat().st_size / 2**20
        taken.append(seconds)
        print(
            f"{count:11,} rows, {size:7,.0f} MB: {seconds:8.2f} s, {own:.0f} MB, a worker {worker:.0f} MB", flush=True
        )
    if len(counts) > 1:
        slope = statistics.linear_regression([math.log(one) for one in counts], [math.log(one) for one in taken]).slope
        print(f"seconds grow with the rows to the power {slope:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="?", type=int, default=50_000)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--trl", help="a Python that has TRL")
    parser.add_argument("--growth", type=int, nargs="+", help="numbers of rows, each prepared once")
    given = parser.parse_args()
    if given.growth:
        growth(given.growth)
    else:
        main(given.rows, given.rounds, given.trl)

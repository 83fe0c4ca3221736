"""What going on from a checkpoint takes of memory: ``python bench/resume_memory.py [CASE ...]``.

A Llama of 62 million parameters (hidden 768, 7 layers, 8,000 ids) trains whole in fp32 under AdamW, four steps with a
checkpoint after each second one; then a copy of the run as it was after step 2 goes on to its end. Both are the real
command in fresh processes (two but for ``single``), and the largest resident memory of each process, from its start to
its end, is what the system counted (``ru_maxrss``). The runs are short of everything but weights: rows of 64 tokens.
What one of two processes takes differs by a tenth from run to run, as its heap happens to be laid out; both together
do not, so that the sum is what is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from luthier.environment import World, environment_of_rank
from luthier.train.launch import free_port

CASES: dict[str, dict[str, Any]] = {
    "single": {},
    "ddp": {"engine": "ddp"},
    "fsdp": {"engine": "fsdp", "stage": 3},
    "zero-2": {"engine": "deepspeed", "stage": 2},
    "zero-3": {"engine": "deepspeed", "stage": 3},
}
ALLOWED = 1.01
"""Largest memory of all processes of a run that goes on, over that of one which was never stopped."""


def make(root: Path) -> None:
    """A model, and rows."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    lines = [f"Number {one} lives in house {one * 7 % 100} and likes it there." for one in range(400)]
    (root / "rows.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
    train_tokenizer(lines, TokenizerTraining(vocabulary=400), root / "model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8000, hidden_size=768, intermediate_size=2048, num_hidden_layers=7, num_attention_heads=12,
        num_key_value_heads=12, bos_token_id=None, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(root / "model")


def recipe(root: Path, parallel: dict[str, Any], out: Path) -> Path:
    """The recipe's file."""
    tree = {
        "model": {"path": str(root / "model")},
        "method": {"kind": "pretrain"},
        "data": {"train": [{"path": str(root / "rows.jsonl")}], "max_length": 64, "cache": str(root / "cache")},
        "batch": {"micro": 1, "accumulation": 2, "world": 1, "steps": 4},
        "checkpoint": {"every": 2, "keep_last": None},
        "precision": {"compute": "fp32"},
        "runtime": {"device": "cpu", "threads": 1},
        "parallel": parallel,
        "output": {"dir": str(out)},
    }
    file = out.with_suffix(".json")
    file.write_text(json.dumps(tree), encoding="utf-8")
    return file


def peaks(file: Path, processes: int) -> list[float]:
    """Train; the largest resident memory of each process in MB."""
    port, command = free_port(), [sys.executable, "-m", "luthier", "train", str(file), "--quiet"]
    places = [World(rank, processes, rank, "127.0.0.1", port) for rank in range(processes)]
    environments = [environment_of_rank(place, processes) if processes > 1 else dict(os.environ) for place in places]
    running = [subprocess.Popen(command, env=environment) for environment in environments]
    found = []
    for one in running:
        _, status, used = os.wait4(one.pid, 0)
        one.returncode = os.waitstatus_to_exitcode(status)
        found.append(used.ru_maxrss / 1024)
    if any(one.returncode for one in running):
        sys.exit(f"{file.name} failed")
    return found


def as_it_was(run: Path, step: int) -> None:
    """Undo what a run did after a checkpoint."""
    shutil.rmtree(run / "model")
    for path in (run / "checkpoints").iterdir():
        if path.name != f"step-{step:08d}":
            shutil.rmtree(path)
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (run / "events.jsonl").write_text("".join(one for one in lines if '"finished"' not in one), encoding="utf-8")


def main(cases: list[str]) -> int:
    """Measure, tell, and say by the exit code whether any went above what is allowed."""
    above = 0
    print("| engine | process | trained throughout, MB | gone on from step 2, MB | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make(root)
        for case in cases:
            file = recipe(root, CASES[case], root / case)
            processes = 1 if case == "single" else 2
            whole = peaks(file, processes)
            as_it_was(root / case, 2)
            again = peaks(file, processes)
            for rank, (one, other) in enumerate(zip(whole, again, strict=True)):
                print(f"| {case} | {rank} | {one:,.0f} | {other:,.0f} | {other / one:.3f} |")
            ratio = sum(again) / sum(whole)
            print(f"| {case} | all | {sum(whole):,.0f} | {sum(again):,.0f} | {ratio:.3f} |", flush=True)
            above += ratio > ALLOWED
            shutil.rmtree(root / case)
    return int(above > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="engines; else all of them")
    sys.exit(main(parser.parse_args().cases or list(CASES)))

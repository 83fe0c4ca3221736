"""Each kernel on and off, side by side: one step of a 27M-parameter Llama on packs of 2048 tokens, taking turns.

    python bench/model_kernels.py [ROUNDS] [--fp32] [--compile] [--only NAME ...]

Prints medians of a step (forward, backward, AdamW) by the clock and by the processor's own time, which other work on
the machine disturbs less, the ratio of both to the model's own operations, and how far the first loss lies from theirs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from luthier.environment import yield_idle_threads

yield_idle_threads()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from luthier.data.tokens import Tokens  # noqa: E402
from luthier.methods.causal import SupervisedFineTuning  # noqa: E402
from luthier.model.kernels.apply import facts_of, put_kernels  # noqa: E402
from luthier.model.kernels.choose import choose, choose_attention  # noqa: E402
from luthier.model.load import build_model  # noqa: E402
from luthier.recipe.validate import build  # noqa: E402
from luthier.train.engines.single import SingleDevice  # noqa: E402
from luthier.train.optimizer import build_optimizer  # noqa: E402

VOCABULARY, PACK = 16_384, 2048
OFF: dict[str, Any] = {"rms_norm": "off", "rotary": "off", "fuse_qkv": "off", "fuse_mlp": "off", "liger": "off"}
ALL = dict.fromkeys(("rms_norm", "rotary", "fuse_qkv", "fuse_mlp"), "on")
CASES: dict[str, dict[str, Any]] = {
    "none": {},
    **{name: {"kernels": {name: "on"}} for name in ALL},
    "attention": {"attention": "auto"},
    "auto": {"attention": "auto", "kernels": dict.fromkeys(OFF, "auto")},
    "all": {"attention": "auto", "kernels": ALL},
    "checkpointing": {"gradient_checkpointing": True},
    "checkpoint_every_2": {"gradient_checkpointing": True, "checkpoint_every": 2},
    "compile": {"compile": True},
}


class Case:
    """A model with some kernels, and its optimiser."""

    def __init__(self, name: str, compute: str, attention: str = "sdpa", **runtime: Any) -> None:
        kernels = {**OFF, **runtime.pop("kernels", {})}
        recipe = build(
            {
                "model": {
                    "scratch": {"hidden": 512, "layers": 6, "heads": 8, "intermediate": 1376},
                    "attention": attention,
                },
                "tokenizer": {"path": "none"},
                "data": {"train": [{"path": "none"}]},
                "precision": {"compute": compute},
                "runtime": {**runtime, "kernels": kernels},
            },
            str,
        )
        self.name, self.engine, self.method = name, SingleDevice(recipe), SupervisedFineTuning()
        model = build_model(recipe, VOCABULARY, None)
        self.chosen = choose(recipe, facts_of(model, self.engine.device, self.engine.compute))
        self.model = self.engine.wrap(put_kernels(model, recipe, self.chosen, self.engine.device)).train()
        self.optimizer = build_optimizer(self.model, recipe)
        self.seconds: list[float] = []
        self.work: list[float] = []
        self.first = 0.0

    def step(self, items: list[Tokens]) -> None:
        batch = self.method.collate(items).to(self.engine.device)
        begun, worked = time.perf_counter(), time.process_time()
        with self.engine.autocast():
            loss = self.method.loss(self.model, batch)
        self.engine.backward(loss.total / loss.count)
        self.engine.clip(self.model, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        mean = float(loss.total.detach()) / loss.count
        self.seconds.append(time.perf_counter() - begun)
        self.work.append(time.process_time() - worked)
        self.first = self.first or mean


def pack(random: np.random.Generator) -> list[Tokens]:
    """Documents as long as Alpaca's, in full packs; two thirds of each are trained."""
    items, left = [], PACK
    while left:
        length = min(int(np.clip(random.lognormal(5, 0.8), 12, PACK)), left)
        ids = random.integers(3, VOCABULARY, length).astype(np.int32)
        items.append(Tokens(ids, np.arange(length) >= length // 3, "bench"))
        left -= length
    return items


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=15)
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", nargs="*", default=[], choices=list(CASES))
    given = parser.parse_args()
    compute = "fp32" if given.fp32 else "bf16"
    wanted = [one for one in CASES if one in ("none", *given.only) or not given.only]
    cases = [Case(name, compute, **CASES[name]) for name in wanted if name != "compile" or given.compile]
    random = np.random.default_rng(0)
    for number in range(given.rounds + 2):
        items = pack(random)
        for case in cases if number % 2 else reversed(cases):
            case.step(items)
    attention = choose_attention("auto", facts_of(cases[0].model, cases[0].engine.device, cases[0].engine.compute)).name
    print(f"{compute}, {cases[0].engine.device}, {torch.get_num_threads()} threads, attention auto: {attention}")
    print("| kernels | step | of none | processor time | of none | first loss |\n|---|---|---|---|---|---|")
    wall, work = (statistics.median(one[2:]) for one in (cases[0].seconds, cases[0].work))
    for case in cases:
        seconds, busy = (statistics.median(one[2:]) for one in (case.seconds, case.work))
        off = abs(case.first - cases[0].first) / cases[0].first
        figures = f"{1e3 * seconds:.0f} ms | {seconds / wall:.2f} | {1e3 * busy:.0f} ms | {busy / work:.3f}"
        print(f"| {case.name} | {figures} | {off:.1e} |")


if __name__ == "__main__":
    main()

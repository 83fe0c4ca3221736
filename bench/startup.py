"""How long the commands that only look take: ``python bench/startup.py [ROUNDS]`` prints medians.

The commands take turns, so that a busy moment of the machine falls on all of them alike. The recipe is written anew:
a tokenizer trained on 200 short rows, a model of which only the config and the header of its weights are there.
"""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = [{"instruction": f"How many is {n} and {n}?", "output": f"{n} and {n} is {2 * n}."} for n in range(200)]
CONFIG = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 400,
}


def make_recipe(root: Path) -> Path:
    """A recipe with everything a plan looks at."""
    from luthier.model.shape import llama_parameters
    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    rows = root / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    texts = [text for row in ROWS for text in row.values()]
    train_tokenizer(texts, TokenizerTraining(vocabulary=400), root / "model")
    (root / "model" / "config.json").write_text(json.dumps(CONFIG))
    header = {
        name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 0]}
        for name, (shape, _) in llama_parameters(CONFIG).items()
    }
    text = json.dumps(header).encode()
    (root / "model" / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    recipe = root / "recipe.yaml"
    recipe.write_text(
        f"model: {{path: {root / 'model'}}}\n"
        f"data: {{train: [{{path: {rows}}}], template: chatml, max_length: 256, holdout: 0.1}}\n"
        "adapter: {kind: lora}\n"
    )
    return recipe


def seconds_of(command: list[str], env: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
    return time.perf_counter() - begun


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recipe = str(make_recipe(Path(folder)))
        env = {**os.environ, "LUTHIER_CACHE": str(Path(folder) / "cache")}
        luthier = [sys.executable, "-m", "luthier"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "luthier --help": [*luthier, "--help"],
            "luthier read FILE": [*luthier, "read", recipe],
            "luthier plan FILE": [*luthier, "plan", recipe],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(rounds + 1):
            for name, command in commands.items():
                taken = seconds_of(command, env)
                if turn:
                    times[name].append(taken)
    print(f"medians of {rounds} rounds, in turns, after one to warm up")
    for name, taken_all in times.items():
        print(f"{name:20} {statistics.median(taken_all) * 1000:6.0f} ms  (fastest {min(taken_all) * 1000:.0f} ms)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)

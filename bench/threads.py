"""How idle OpenMP threads wait: ``python bench/threads.py [ROUNDS]`` trains with threads that sleep at once, spin for a
while or spin for long, and then with two processes at a time on the same cores.

The model, rows and steps are those of ``bench/train.py`` (LoRA, fp32); the processes take turns. Prints the median of a
step alone, and the time of a step each of two processes at once.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from train import OURS, Contender, make_folder

WAYS = {
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "2,000 turns": {"GOMP_SPINCOUNT": "2000"},
    "5,000 turns (ours)": {"GOMP_SPINCOUNT": "5000"},
    "20,000 turns": {"GOMP_SPINCOUNT": "20000"},
    "300,000 (libgomp's own)": {"GOMP_SPINCOUNT": "300000"},
}


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_folder(folder)
        alone = {way: _contender(folder, way) for way in WAYS}
        for _ in range(rounds):
            for one in alone.values():
                one.steps.append(one.step())
        for way, one in alone.items():
            second = _contender(folder, way)
            begun = time.perf_counter()
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(Contender.step, (one, second)))
            together = time.perf_counter() - begun
            middle = statistics.median(step["seconds"] for step in one.steps)
            print(f"{way:28} {middle:6.2f} s a step   two at once {together:6.2f} s", flush=True)
            one.close()
            second.close()


def _contender(folder: Path, way: str) -> Contender:
    """A process that has taken its first step."""
    one = Contender(folder, sys.executable, OURS, "fp32", "2 lora", WAYS[way])
    one.step()
    return one


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5)

"""Planning an epoch's packs: ``python bench/packing.py [MILLIONS]`` prints a line for each kind and capacity.

Lengths are like Alpaca's: lognormal, cut to [12, capacity]. Each line is a process of its own, so that its peak memory
(the lengths, numpy and the interpreter included) is its own too. Planned is what the loop asks for: the epoch shuffled,
filled, and its packs put in order. No planner needs fewer packs than the lower bound, ceil(tokens / capacity).
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np

from luthier.data.order import Feed

KINDS = ("best_fit", "first_fit", "concatenate")


def one(kind: str, capacity: int, count: int) -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(5.0, 0.8, count).astype(np.int64), 12, capacity)
    feed = Feed(lengths, capacity, micro=1, accumulation=1, shuffle=True, seed=0, kind=kind)  # type: ignore[arg-type]
    begun = time.perf_counter()
    packs = len(feed.packs(0))
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tokens = int(lengths.sum())
    fewest = -(-tokens // capacity)
    print(
        f"{kind:12} {capacity:6} {seconds:8.1f} s {peak / 1e9:6.2f} GB"
        f" {packs:10,} packs, at least {fewest:10,} ({packs / fewest:.5f}) {tokens / (packs * capacity):9.4%} full"
    )


def main(count: int) -> None:
    print(f"{count:,} documents; kind, capacity, time to plan an epoch, peak memory, packs")
    for capacity in (2048, 4096):
        for kind in KINDS:
            subprocess.run([sys.executable, __file__, kind, str(capacity), str(count)], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        one(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(round(1e6 * float(sys.argv[1] if len(sys.argv) > 1 else 10)))

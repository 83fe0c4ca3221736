"""What looking for near-duplicates holds and costs: ``python bench/near.py [ROWS]``.

Signatures of rows that are unlike one another, the worst case: all of them are kept.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from luthier.data.near import HASHES, Near

BLOCK = 512


def main(rows: int) -> None:
    draw, index, cpu = np.random.default_rng(0), Near(0.8), 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(0, rows, BLOCK):
        signatures = draw.integers(0, 2**32, (BLOCK, HASHES), dtype=np.uint32)
        begun = time.process_time()
        index.add(signatures)
        cpu += time.process_time() - begun
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{rows:,} rows: {held * 1024 / rows:.0f} bytes a row at the peak, {cpu / rows * 1e6:.0f} microseconds a row")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)

"""What is tuned on a CPU computes what it computed before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from luthier.train.engines.host import keep_pages

FAULTS = """
import resource, sys, torch
from luthier.train.engines.host import keep_pages
if sys.argv[1] == "kept":
    assert keep_pages()
torch.set_num_threads(1)
def step():
    held = [torch.ones(1 << size) for size in (20, 21, 22, 23)]
for _ in range(20):  # where the heap lies decides how many steps it takes to have its pages
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_pages(), reason="a setting of glibc")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert 3 * faults("kept") < faults("as it is")

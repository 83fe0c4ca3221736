"""Batch scripts for Slurm: what they ask for, and that nothing in them is more than a word."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.train.slurm import Job, script


def test_a_script_asks_for_the_processes_and_starts_the_same_command_in_each(tmp_path: Path) -> None:
    text = script(
        ["my recipe.yaml", "output.dir=$(touch pwned); x"],
        Job(processes=8, nodes=4, gpus=8, cpus=12, time="1-00:00:00", partition="long"),
    )
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    for line in ("--nodes=4", "--ntasks-per-node=8", "--gpus-per-node=8", "--cpus-per-task=12", "--partition=long"):
        assert f"#SBATCH {line}" in lines
    assert "#SBATCH --signal=TERM@300" in lines
    words = shlex.split(lines[-1])
    assert words[:3] == ["exec", "srun", "--kill-on-bad-exit=1"]
    assert words[-5:] == ["-m", "luthier", "train", "my recipe.yaml", "output.dir=$(touch pwned); x"]
    (tmp_path / "srun").write_text(f"#!{sys.executable}\nimport sys; print(sys.argv[1:])\n")
    (tmp_path / "srun").chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", text], cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.stdout.rstrip().endswith("'my recipe.yaml', 'output.dir=$(touch pwned); x']"), done.stderr
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("partition", ["a\n#SBATCH --wrap=x", "a b", "$(x)", ""])
def test_a_value_that_is_more_than_a_word_is_refused(partition: str) -> None:
    with pytest.raises(RunError, match="--partition"):
        script(["r.yaml"], Job(processes=1, partition=partition))

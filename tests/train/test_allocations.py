"""Allocations of schedulers that are really there: Slurm's own daemons, and Open MPI's mpirun."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import World
from tests.processes import Forked
from tests.train.engines.runs import alone, assert_alike, recipe
from tests.train.slurm_cluster import Cluster, cluster, lacking
from tests.train.test_launch import joined, takes_step

Write = Callable[..., Path]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if missing := lacking():
        pytest.skip(f"Slurm cannot be started here: no {', '.join(missing)}")
    with cluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture
def written(luthier: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Path]:
    """Has the command write the batch script of a recipe."""

    def write(file: Path, *words: str) -> Path:
        out = file.with_suffix(".sbatch")
        done = luthier("launch", file, "--slurm", "--gpus", "0", "--out", out, *words)
        assert done.returncode == 0, done.stderr
        return out

    return write


def output(script: Path, job: str) -> str:
    return (script.parent / f"luthier-{job}.out").read_text(encoding="utf-8")


@pytest.mark.parametrize(("processes", "nodes"), [(2, 1), (1, 2)])
def test_a_script_that_slurm_runs_trains_as_one_process_does(
    processes: int,
    nodes: int,
    slurm: Cluster,
    written: Write,
    world: World,
    write_recipe: Write,
    forked: Forked,
    tmp_path: Path,
) -> None:
    tree = recipe(world)
    script = written(
        write_recipe(tree), f"output.dir={tmp_path / 'run'}", "--processes", str(processes), "--nodes", str(nodes)
    )
    job = slurm.submit(script)
    known = slurm.ended(job)
    assert (known["JobState"], known["NumNodes"]) == ("COMPLETED", str(nodes)), output(script, job)
    assert output(script, job).count("the result") == 1
    assert joined(tmp_path / "run") == (2, "DataParallel")
    assert_alike(alone(forked, tree), tmp_path / "run")


@pytest.mark.parametrize("limit", [(), ("--time", "2", "--grace", "20")], ids=["scancel", "its time is up"])
def test_a_job_that_is_told_to_end_saves_and_goes_on_when_it_is_submitted_again(
    limit: tuple[str, ...], slurm: Cluster, written: Write, world: World, write_recipe: Write, tmp_path: Path
) -> None:
    """By the signal that ``#SBATCH --signal`` asks for, which Slurm sends to every process of the step: as it is told
    to, or of its own accord before the job's time is up (by up to a minute earlier than is asked)."""
    tree = recipe(world, batch={"steps": 100_000}, checkpoint={"every": 50_000}, evaluate={"every": "never"})
    run = tmp_path / "run"
    script = written(write_recipe(tree), f"output.dir={run}", "--processes", "2", *limit)
    first = slurm.submit(script)
    takes_step(3, run)
    if not limit:
        slurm.call("scancel", "--signal=TERM", first)
    assert slurm.ended(first)["JobState"] == "FAILED"
    assert output(script, first).count("stopped by SIGTERM") == 1
    [kept] = (run / "checkpoints").glob("step-*")
    reached = int(kept.name.removeprefix("step-"))
    second = slurm.submit(script)
    takes_step(reached + 2, run)
    slurm.call("scancel", "--signal=TERM", second)
    slurm.ended(second)
    said = output(script, second)
    assert "going on from" in said and kept.name in said


@pytest.mark.parametrize(
    ("format", "spoilt", "said"),
    [
        ("messages", "", "rows.jsonl:1"),
        ("unheard_of", "", "'unheard_of' is not there"),
        ("messages", "batch: {steps: many}\n", "batch.steps"),
    ],
    ids=["its rows", "what the plan refuses", "its recipe"],
)
def test_a_job_that_cannot_begin_fails_with_one_error(
    format: str,  # noqa: A002
    spoilt: str,
    said: str,
    slurm: Cluster,
    written: Write,
    world: World,
    write_recipe: Write,
    tmp_path: Path,
) -> None:
    """Slurm ends all processes once one has failed: the first one tells why before that."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"conversations": 1}\n', encoding="utf-8")
    file = write_recipe(recipe(world, data={"train": [{"path": str(rows), "format": format}]}))
    script = written(file, f"output.dir={tmp_path / 'run'}", "--processes", "2")
    if spoilt:
        file.write_text(spoilt, encoding="utf-8")
    job = slurm.submit(script)
    assert slurm.ended(job)["JobState"] == "FAILED"
    told = output(script, job)
    assert told.count(said) == 1 and "Traceback" not in told


@pytest.mark.skipif(not shutil.which("mpirun"), reason="Open MPI is not installed")
def test_processes_that_mpirun_starts_are_joined(
    write_recipe: Write, world: World, forked: Forked, tmp_path: Path
) -> None:
    tree = recipe(world)
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"]
    luthier = [sys.executable, "-m", "luthier", "train", str(write_recipe(tree)), f"output.dir={tmp_path / 'run'}"]
    ended = subprocess.run([*mpirun, *luthier], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("the result") == 1
    assert joined(tmp_path / "run") == (2, "DataParallel")
    assert_alike(alone(forked, tree), tmp_path / "run")

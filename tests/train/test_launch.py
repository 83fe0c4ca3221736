"""Processes that are started, watched and told of: real ones, that die and hang."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from luthier.environment import World as Place
from luthier.environment import first_node, world
from luthier.errors import RunError
from luthier.plan.instead import installed
from luthier.record.events import Started, read_events
from luthier.train.launch import Machines, free_port
from tests.conftest import World
from tests.processes import Forked
from tests.train.engines.runs import alone, assert_alike, recipe

Write = Callable[..., Path]


def test_places_are_numbered_over_machines() -> None:
    places = list(Machines(2, nodes=3, node=1, rendezvous="node0:29400").places())
    assert places == [Place(2, 6, 0, "node0", 29400), Place(3, 6, 1, "node0", 29400)]
    [alone] = Machines(1).places()
    assert (alone.rank, alone.size, alone.address) == (0, 1, "127.0.0.1") and alone.port > 1024


@pytest.mark.parametrize(
    ("machines", "place"),
    [
        (Machines(1, nodes=2, node=2, rendezvous="x"), "--node-rank"),
        (Machines(1, nodes=2), "--rendezvous"),
        (Machines(1, nodes=2, rendezvous="host:port"), "--rendezvous"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(machines: Machines, place: str) -> None:
    with pytest.raises(RunError, match=place):
        list(machines.places())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Place()),
        (
            {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "n0", "MASTER_PORT": "29500"},
            Place(3, 8, 1, "n0", 29500),
        ),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True"},
            Place(0, 2, 0, "127.0.0.1", 29500, hosted=True),
        ),
        (
            {
                "SLURM_STEP_NUM_TASKS": "16",
                "SLURM_PROCID": "9",
                "SLURM_LOCALID": "1",
                "SLURM_STEP_NODELIST": "gpu[07,09-10]",
                "SLURM_JOB_ID": "12345",
            },
            Place(9, 16, 1, "gpu07", 32345),
        ),
        ({"SLURM_NTASKS": "16", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}, Place()),
        (
            {
                "OMPI_COMM_WORLD_RANK": "5",
                "OMPI_COMM_WORLD_SIZE": "8",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "MASTER_ADDR": "n2",
            },
            Place(5, 8, 1, "n2", 29500),
        ),
        (
            {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MASTER_PORT": "4000"},
            Place(1, 2, 1, "127.0.0.1", 4000),
        ),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, Place()),
    ],
    ids=["alone", "torchrun", "agent", "srun", "batch script", "Open MPI", "MPICH", "MPI of one"],
)
def test_the_place_that_a_launcher_gives_is_taken(
    variables: dict[str, str], expected: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        one
        for one in os.environ
        if re.match(r"(SLURM|MASTER|RANK|WORLD_SIZE|LOCAL_RANK|TORCHELASTIC|OMPI|MV2|PMI|MPI)", one)
    ]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert world() == expected


def test_the_first_node_of_a_list() -> None:
    assert [first_node(one) for one in ("a", "a,b", "n[1-4]", "n[08,11]x,m")] == ["a", "a", "n1", "n08x"]


LESS_PATIENT = """
from luthier.cli.app import main
from luthier.train import launch

launch.GRACE = {}
main()
"""
"""The command, which gives those that do not end by themselves less time."""


@pytest.fixture
def started(world: World, write_recipe: Write, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a long run of two processes; they are gone at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str, grace: float | None = None) -> subprocess.Popen[str]:
        tree = recipe(world, batch={"steps": 100_000}, checkpoint={"every": 50_000}, evaluate={"every": "never"})
        luthier = ["-m", "luthier"] if grace is None else ["-c", LESS_PATIENT.format(grace)]
        command = [sys.executable, *luthier, "train", str(write_recipe(tree)), "--processes", "2", *words]
        running.append(
            subprocess.Popen(
                [*command, f"output.dir={tmp_path / 'run'}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return running[-1]

    yield start
    for process in running:
        for child in (*_children(process.pid), process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.communicate()


def _children(parent: int) -> list[int]:
    text = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True).stdout
    return sorted(map(int, text.split()))


def takes_step(number: int, run: Path) -> None:
    """Wait until a run has taken a step."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        events = run / "events.jsonl"
        if events.exists() and f'"step", "step": {number},' in events.read_text():
            return
        time.sleep(0.2)
    raise AssertionError(f"it does not get to step {number}")


@pytest.mark.slow
def test_a_process_that_is_killed_is_named_and_the_others_stop(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = started()
    takes_step(3, tmp_path / "run")
    os.kill(_children(process.pid)[1], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "rank 1 died or hangs: it was last heard of" in said and "at step" in said
    assert "rank 1 was ended by SIGKILL" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_process_that_hangs_is_named_within_the_time_set(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = started("parallel.timeout=5", grace=2.0)
    takes_step(3, tmp_path / "run")
    os.kill(_children(process.pid)[1], signal.SIGSTOP)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "rank 1 died or hangs: it was last heard of" in said and "Traceback" not in said


@pytest.mark.slow
def test_a_signal_stops_all_at_one_whole_checkpoint(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = started()
    takes_step(3, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.count("stopped by SIGTERM") == 1 and "Traceback" not in said
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) == 1


@pytest.mark.slow
def test_what_is_wrong_for_all_is_told_once(write_recipe: Write, world: World, tmp_path: Path) -> None:
    tree = recipe(world, data={"train": [{"path": "no-such-rows.jsonl"}]})
    ended = subprocess.run(
        [sys.executable, "-m", "luthier", "train", str(write_recipe(tree)), "--processes", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    assert ended.stderr.count("no-such-rows.jsonl") == 1 and "Traceback" not in ended.stderr


LAUNCHERS = {
    "torchrun": ("torch.distributed.run", "--nproc-per-node=2", "--master-port={port}", "-m"),
    "accelerate": (
        *("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"),
        *("--mixed_precision=no", "--dynamo_backend=no", "--main_process_port={port}", "-m"),
    ),
    "deepspeed": ("deepspeed.launcher.runner", "--num_gpus=2", "--master_port={port}", "--module"),
}
"""What stands between a Python and what it is to start; accelerate starts one process where it is told ``--cpu``."""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_of_another_launcher_are_joined(
    launcher: str, write_recipe: Write, world: World, tmp_path: Path
) -> None:
    if not installed(LAUNCHERS[launcher][0].split(".")[0]):
        pytest.skip(f"{launcher} is not installed")
    file, port = write_recipe(recipe(world)), free_port()
    luthier = ["luthier", "train", str(file), f"output.dir={tmp_path / 'run'}"]
    start = [sys.executable, "-m", *(word.format(port=port) for word in LAUNCHERS[launcher])]
    ended = subprocess.run([*start, *luthier], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("the result") == 1
    assert joined(tmp_path / "run") == (2, "DataParallel")


@pytest.mark.slow
def test_processes_of_mpirun_are_joined(write_recipe: Write, world: World, forked: Forked, tmp_path: Path) -> None:
    """Which accelerate starts on CPUs, and which has names of its own."""
    theirs = dict.fromkeys(("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    named = [
        {
            **theirs,
            "OMPI_COMM_WORLD_RANK": str(rank),
            "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
        }
        for rank in range(2)
    ]
    tree = recipe(world)
    words = ("train", write_recipe(tree), f"output.dir={tmp_path / 'run'}")
    ended = forked(*words, cwd=tmp_path, processes=2, environments=named)
    assert ended.returncode == 0, ended.stderr
    assert joined(tmp_path / "run") == (2, "DataParallel")
    assert_alike(alone(forked, tree), tmp_path / "run")


def joined(run: Path) -> tuple[int, str]:
    """How many processes began a run, and under which engine."""
    started = next(one for one in read_events(run / "events.jsonl") if isinstance(one, Started))
    return int(started.environment["processes"]), str(started.environment["engine"])


@pytest.mark.slow
def test_the_same_command_on_two_machines_is_one_run(
    write_recipe: Write, world: World, forked: Forked, tmp_path: Path
) -> None:
    """Two command lines, which differ in ``--node-rank`` alone; here both machines are this one."""
    file = write_recipe(recipe(world))
    words = [sys.executable, "-m", "luthier", "train", str(file), f"output.dir={tmp_path / 'run'}"]
    words += ["--nodes", "2", "--rendezvous", f"127.0.0.1:{free_port()}"]
    both = [
        subprocess.Popen(
            [*words, "--node-rank", str(rank)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in (1, 0)
    ]
    try:
        said = [one.communicate(timeout=200) for one in both]
    finally:
        for one in both:
            one.kill()
    assert [one.returncode for one in both] == [0, 0], said
    assert said[1][0].count("the result") == 1 and said[0][0] == ""
    assert joined(tmp_path / "run") == (2, "DataParallel")
    assert_alike(alone(forked, recipe(world)), tmp_path / "run")

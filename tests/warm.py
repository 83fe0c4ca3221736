"""The real command in real processes that need not import torch, transformers, PEFT and Luthier each time.

A server process imports them once and forks a child for each command, which runs ``python -m luthier`` to its end in
its own folder and environment, with its own exit code and signals. What depends on the environment at import
(``HF_*``, ``OMP_*`` and the like) has to be as it was when the server began: an environment that comes a second time
(libraries put variables of their own into it) gets a server of its own, and any other a fresh process.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

FREE = (
    *("LUTHIER_", "PYTEST_", "WANDB_", "DS_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "OMPI_"),
    *("LANG", "TORCH_CPP_LOG_LEVEL", "PYTORCH_NVML_BASED_CUDA_CHECK", "_TORCHINDUCTOR_"),
)
"""Environment variables that are read when they are needed, not when a module is imported."""


WARM = (
    "peft",
    "transformers.models.llama.modeling_llama",
    "luthier.cli.app",
    "luthier.report",
    "luthier.train.session",
)
"""What nearly every run needs."""

SAVING = "deepspeed"
"""What transformers imports whenever it saves a model, if it is installed. Where torch knows CUDA, it chooses a device
at import, and is left to each child."""


MOST = 3
"""Servers of a test process; each holds some 330 MB of its own."""


def run(
    words: list[str], *, cwd: Path, env: dict[str, str] | None = None, timeout: float = 300, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Like ``subprocess.run(..., capture_output=True, text=True)`` of the command with these words."""
    process = Process(words, cwd=cwd, env=env, stdin=stdin)
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(words, code, process.said("out"), process.said("err"))


class Process:
    """One command; like a ``subprocess.Popen`` whose output goes to files. ``said()`` is both outputs in turn."""

    def __init__(self, words: list[str], *, cwd: Path, env: dict[str, str] | None = None, stdin: str | None = None):
        env = dict(os.environ) if env is None else env
        folder = Path(tempfile.mkdtemp(prefix="luthier-process-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._files = {name: folder / name for name in ("in", "out", "err")}
        for name, text in (("in", stdin or ""), ("out", ""), ("err", "")):
            self._files[name].write_text(text, encoding="utf-8")
        self.returncode: int | None = None
        self._server = server_for(env)
        if self._server is not None:
            self.pid = self._server.start(words, cwd, env, {name: str(path) for name, path in self._files.items()})
        else:
            command = [sys.executable, "-m", "luthier", *words]
            modes = ("in", "rb"), ("out", "wb"), ("err", "wb")
            given, out, err = (self._files[name].open(mode) for name, mode in modes)
            with given, out, err:
                self._fresh = subprocess.Popen(command, cwd=cwd, env=env, stdin=given, stdout=out, stderr=err)
            self.pid = self._fresh.pid

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        if self.returncode is None:
            self.returncode = self._fresh.poll() if self._server is None else self._server.ended(self.pid)
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """The exit code; as negative as the signal's number if one killed it."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("luthier", timeout)
            time.sleep(0.01)
        return code

    def said(self, name: str = "") -> str:
        """What it has written to ``out``, ``err``, or both."""
        names = (name,) if name else ("out", "err")
        return "".join(self._files[one].read_text(encoding="utf-8", errors="replace") for one in names)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)
        self.wait(30)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            self.kill()


class Server:
    """The process that forks, and what it has told."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.warm"]
        root = str(Path(__file__).resolve().parent.parent)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env=environment
        )
        self._codes: dict[int, int] = {}
        self._started: list[int] = []
        self._rest = b""
        atexit.register(self.close)

    def close(self) -> None:
        """End the server, and with it what still runs."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def start(self, words: list[str], cwd: Path, env: dict[str, str], files: dict[str, str]) -> int:
        """Fork a child; returns its process id."""
        assert self.process.stdin is not None
        asked = {"words": words, "cwd": str(cwd), "env": env, "files": files}
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        self.process.stdin.flush()
        while not self._started:
            self._listen(None)
        return self._started.pop()

    def ended(self, pid: int) -> int | None:
        """The exit code of a child that has ended."""
        self._listen(0)
        return self._codes.pop(pid, None)

    def _listen(self, timeout: float | None) -> None:
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], timeout)[0]:
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, "the server of warm processes has died"
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                pid, code = json.loads(line)
                if code is None:
                    self._started.append(pid)
                else:
                    self._codes[pid] = code
            timeout = 0


_servers: dict[tuple[tuple[str, str], ...], Server] = {}
_met: Counter[tuple[tuple[str, str], ...]] = Counter()


def server_for(env: dict[str, str]) -> Server | None:
    """This test process's own server whose children find their imports as a process with this environment would make
    them; None where there is none. They end when their standard inputs close."""
    key = tuple(sorted(_fixed(env).items()))
    _met[key] += 1
    if key not in _servers and len(_servers) < MOST and (not _servers or _met[key] > 1):
        _servers[key] = Server(_fixed(env))
    return _servers.get(key)


def _fixed(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(FREE)}


def serve() -> None:
    """Answer requests until standard input closes; a child returns from here as the command that it is to be."""
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries speak as they are imported
    for name in WARM:
        importlib.import_module(name)
    if importlib.import_module("torch").version.cuda is None and find_spec(SAVING):
        importlib.import_module(SAVING)
    _read_conversions()
    gc.collect()
    gc.freeze()
    alive: set[int] = set()
    rest = b""
    while True:
        if select.select([0], [], [], 0.005 if alive else None)[0]:
            data = os.read(0, 1 << 20)
            if not data:
                for pid in alive:
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    os.close(answers)
                    _become(json.loads(line))
                    return
                alive.add(pid)
                _tell(answers, pid, None)
        while alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            alive.discard(pid)
            _tell(answers, pid, os.waitstatus_to_exitcode(status))


def _read_conversions() -> None:
    """Have transformers compile its thousand patterns of old weights' names, which it keeps."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("llama")


def _tell(answers: int, pid: int, code: int | None) -> None:
    os.write(answers, json.dumps([pid, code]).encode() + b"\n")


def _become(asked: dict[str, Any]) -> None:
    """Take on the request's folder, environment, arguments and files."""
    for number, name in enumerate(("in", "out", "err")):
        handle = os.open(asked["files"][name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.path[0] = asked["cwd"]
    sys.argv[1:] = asked["words"]


def _outcome() -> int:
    """Run the command as ``python -m luthier`` would; returns the exit code."""
    import runpy

    try:
        runpy.run_module("luthier", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001  (as an interpreter does)
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as an interpreter does, but without taking the imported libraries apart, which takes seconds."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
    _end(_outcome())

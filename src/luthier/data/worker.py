"""A process that makes blocks into tokens: ``python -m luthier.data.worker``, spoken to through its pipes.

A message is the length of a head (8 bytes, little-endian), the head as JSON, and as many bytes as the sizes in the
head's ``parts`` add up to. Nothing is pickled, and the caller's own program is not run again, as multiprocessing would.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import struct
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import luthier.errors as errors
from luthier.data.block import Block, Broken
from luthier.data.making import Made, Maker
from luthier.data.near import HASHES
from luthier.data.origins import Origins
from luthier.data.store import Batch
from luthier.errors import Fault, LuthierError, RunError
from luthier.recipe import Recipe
from luthier.recipe.source import Source


class Worker:
    """One such process, from the outside."""

    def __init__(self, recipe: Recipe, sources: Sequence[Source], tokenizer: Path) -> None:
        environment = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from luthier.data.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._into: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._out: BinaryIO = self._process.stdout  # type: ignore[assignment]
        start = {
            "recipe": recipe.model_dump_json(),
            "sources": [source.model_dump_json() for source in sources],
            "tokenizer": str(tokenizer),
        }
        _send(self._into, start, [])

    @property
    def process(self) -> int:
        """Its id."""
        return self._process.pid

    def make(self, number: int, block: Block) -> Made | None:
        """What a block of the ``number``-th source becomes; None for one that cannot be sent.

        Raises:
            LuthierError: as ``Maker.block``.
            RunError: the process has died.
        """
        rows = _lines(block)
        if rows is None:
            return None
        head = {"source": number, "name": block.name, "numbers": list(block.numbers)}
        try:
            _send(self._into, head, rows)
            answer, parts = _receive(self._out)
        except (OSError, EOFError) as error:
            code = self._process.wait()
            raise RunError(
                f"a process that prepared rows has ended ({_ending(code)})",
                place=f"{block.name}:{abs(block.numbers[0])}",
                remedy="free memory, or set data.workers: 1 to prepare in one process",
            ) from error
        if "error" in answer:
            kind = getattr(errors, answer["error"], LuthierError)
            raise kind(*(Fault(*fault) for fault in answer["faults"]))
        if "bug" in answer:
            raise RuntimeError(answer["bug"])
        return _made(answer, parts)

    def stop(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._into.close()
        self._out.close()


def main() -> None:
    """The process itself: it ends with the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(200_000, 20, 100)  # the words met so far are many small lists, and looking through them takes long
    into, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    start, _ = _receive(into)
    sources = [Source.model_validate_json(text) for text in start["sources"]]
    maker: Maker | None = None
    while True:
        try:
            head, rows = _receive(into)
        except EOFError:
            return
        try:
            if maker is None:
                maker = Maker.open(Recipe.model_validate_json(start["recipe"]), Path(start["tokenizer"]))
            made = maker.block(sources[head["source"]], Block(head["name"], head["numbers"], rows))
            _send(out, *_answer(made))
        except LuthierError as error:
            faults = [[fault.reason, fault.place, fault.remedy] for fault in error.faults]
            _send(out, {"error": type(error).__name__, "faults": faults}, [])
        except Exception:  # noqa: BLE001 - a bug, which the caller raises again
            _send(out, {"bug": traceback.format_exc()}, [])


def _lines(block: Block) -> list[bytes] | None:
    """The rows as JSON text; None where there is no saying them so."""
    try:
        return [row if isinstance(row, bytes) else json.dumps(row).encode() for row in block.rows]
    except (TypeError, ValueError):
        return None


def _answer(made: Made) -> tuple[dict[str, Any], list[Any]]:
    batch = made.batch
    origins = batch.origins if isinstance(batch.origins, Origins) else Origins.of(batch.origins)
    head = {
        "names": origins.names,
        "heads": list(batch.heads) if any(batch.heads) else [],
        "broken": [[one.fault.reason, one.fault.place, one.fault.remedy, one.raw] for one in made.broken],
        "signed": made.signatures is not None,
        "remarks": made.remarks,
        "silent": made.silent,
    }
    arrays = [
        batch.ids,
        batch.trained,
        batch.lengths,
        origins.places,
        *([made.signatures] if made.signatures is not None else []),
    ]
    return head, [np.ascontiguousarray(array).data.cast("B") if array.size else b"" for array in arrays]


def _made(head: dict[str, Any], parts: list[bytes]) -> Made:
    types: list[Any] = [np.int32, np.bool_, np.int64, np.int64, np.uint32]
    arrays: list[Any] = [np.frombuffer(part, kind) for part, kind in zip(parts, types, strict=False)]
    origins = Origins(tuple(head["names"]), arrays[3].reshape(-1, 2))
    return Made(
        Batch(arrays[0], arrays[1], arrays[2], origins, head["heads"] or [0] * len(origins)),
        arrays[4].reshape(-1, HASHES) if head["signed"] else None,
        [Broken(Fault(reason, place, remedy), raw) for reason, place, remedy, raw in head["broken"]],
        head["remarks"],
        head["silent"],
    )


def _send(pipe: BinaryIO, head: dict[str, Any], parts: Sequence[Any]) -> None:
    text = json.dumps({**head, "parts": [len(part) for part in parts]}).encode()
    pipe.write(struct.pack("<Q", len(text)) + text)
    for part in parts:
        pipe.write(part)
    pipe.flush()


def _receive(pipe: BinaryIO) -> tuple[dict[str, Any], list[bytes]]:
    head = json.loads(_exactly(pipe, struct.unpack("<Q", _exactly(pipe, 8))[0]))
    whole = memoryview(_exactly(pipe, sum(head["parts"])))
    parts: list[bytes] = []
    for size in head.pop("parts"):
        parts.append(bytes(whole[:size]))
        whole = whole[size:]
    return head, parts


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) != size:
        raise EOFError("the pipe has ended")
    return data


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"code {code}"

"""A ChatGLM3 checkpoint copied as a plain GLM model that opens anywhere: bytes and new headers alone, no torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

from luthier.errors import ModelError
from luthier.model.chatglm import Parts, check_tensors, glm_config


def write_glm(directory: Path, files: list[Path], into: Path) -> None:
    """Write a ChatGLM3 checkpoint as a GLM model, byte by byte, a tensor at a time: no number changes.

    Args:
        files: its weight files, safetensors.

    Raises:
        ModelError: see ``check_tensors``; or a file is shorter than its header says.
    """
    glm = glm_config(json.loads((directory / "config.json").read_text(encoding="utf-8")), str(directory))
    headers = {path: _header(path) for path in files}
    sizes = {name: tuple(one["shape"]) for header, _ in headers.values() for name, one in header.items()}
    becomes = check_tensors(glm, sizes, str(directory))
    index: dict[str, str] = {}
    for number, (path, (header, begin)) in enumerate(headers.items(), 1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        index |= dict.fromkeys(_copy(path, header, begin, becomes, into / name), name)
    tree = {"metadata": {}, "weight_map": dict(sorted(index.items()))}
    for file, value in (("model.safetensors.index.json", tree), ("config.json", glm)):
        (into / file).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """(name -> type, shape and place of a tensor, where the numbers begin) of a safetensors file."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    return {name: one for name, one in header.items() if name != "__metadata__"}, 8 + size


def _copy(path: Path, header: dict[str, Any], begin: int, becomes: dict[str, Parts], into: Path) -> list[str]:
    """Write one file's tensors under their new names, which are returned."""
    new: dict[str, Any] = {}
    ranges: list[tuple[int, int]] = []
    done = 0
    for name in sorted((name for name in header if name in becomes), key=lambda one: header[one]["data_offsets"][0]):
        one = header[name]
        first, last = one["data_offsets"]
        for part, rows in becomes[name]:
            size = (last - first) // one["shape"][0] * rows
            new[part] = {**one, "shape": [rows, *one["shape"][1:]], "data_offsets": [done, done + size]}
            done += size
        ranges.append((first, last))
    text = json.dumps({"__metadata__": {"format": "pt"}, **new}).encode()
    text += b" " * (-len(text) % 8)
    with path.open("rb") as source, into.open("wb") as target:
        target.write(struct.pack("<Q", len(text)) + text)
        for first, last in ranges:
            source.seek(begin + first)
            _stream(source, target, last - first, path)
    return list(new)


def _stream(source: BinaryIO, target: BinaryIO, count: int, path: Path) -> None:
    while count:
        piece = source.read(min(count, 1 << 24))
        if not piece:
            raise ModelError("is shorter than its header says", place=str(path), remedy="download it again")
        target.write(piece)
        count -= len(piece)

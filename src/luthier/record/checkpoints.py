"""Checkpoints as files: which are there, which are whole, which go. No torch.

A checkpoint is written aside, flushed to the disk, listed with sizes and SHA-256 in a manifest that is written last,
and then renamed into place; so it is whole or not there, and damage that comes later is found by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from luthier.record.folder import sync_folder

MANIFEST = "manifest.json"
NAME = re.compile(r"step-(\d{8})")


def put_in_place(aside: Path, place: Path) -> None:
    """Seal every file of ``aside``, list them in its manifest, and rename it to ``place``.

    Raises:
        OSError: the disk is full or failing; what lies at ``place`` is untouched.
    """
    files = {path.relative_to(aside).as_posix(): _sealed(path) for path in sorted(aside.rglob("*")) if path.is_file()}
    (aside / MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
    _sealed(aside / MANIFEST)
    for folder in (*(path for path in aside.rglob("*") if path.is_dir()), aside):
        sync_folder(folder)
    replace_folder(aside, place)


def replace_folder(aside: Path, place: Path) -> None:
    """Rename a finished folder to ``place``; what lies there is renamed first, and deleted last.

    A process that dies in between leaves no folder at ``place`` but the earlier one beside it, for ``put_back``.

    Raises:
        OSError: the disk is failing; what lay at ``place`` lies there again.
    """
    earlier = place.with_name(f".{place.name}.earlier")
    put_back(place)
    if place.exists():
        os.replace(place, earlier)
    try:
        os.replace(aside, place)
    except OSError:
        put_back(place)
        raise
    sync_folder(place.parent)
    shutil.rmtree(earlier, ignore_errors=True)


def put_back(place: Path) -> None:
    """Rename the earlier folder of a replacement that came to no end back to ``place``; one that did is deleted."""
    earlier = place.with_name(f".{place.name}.earlier")
    if not earlier.exists():
        return
    if place.exists():
        shutil.rmtree(earlier, ignore_errors=True)
    else:
        os.replace(earlier, place)
        sync_folder(place.parent)


def put_back_all(folder: Path) -> None:
    """The same for every checkpoint of a folder."""
    found = list(folder.glob(".step-*.earlier")) if folder.is_dir() else []
    for earlier in found:
        put_back(folder / earlier.name.removeprefix(".").removesuffix(".earlier"))


def size_of(path: Path) -> int:
    """The bytes of a folder's files, those that can be asked."""
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):
            total += file.stat().st_size
    return total


def _sealed(path: Path) -> dict[str, Any]:
    """A file's size and hash, once it is on the disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return {"bytes": path.stat().st_size, "sha256": digest}


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first; unfinished ones have other names and are not among them."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None when every file has the size and hash its manifest gives."""
    try:
        files: dict[str, dict[str, Any]] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, sealed in files.items():
            file = path / name
            if file.stat().st_size != sealed["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {sealed['bytes']}"
            with file.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != sealed["sha256"]:
                    return f"{name} is not what was written (its hash differs)"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and what was wrong with those passed over."""
    skipped: list[str] = []
    for path in checkpoints(folder):
        wrong = damage(path)
        if wrong is None:
            return path, skipped
        skipped.append(f"{path}: {wrong}")
    return None, skipped


def step_of(path: Path | None) -> int:
    """The step of a checkpoint, by its name; 0 of none."""
    found = NAME.fullmatch(path.name) if path else None
    return int(found[1]) if found else 0


_HELD: list[Path] = []
_AT_ONCE = Lock()


def hold(path: Path) -> None:
    """Keep this process from deleting a checkpoint, which another of its threads is to read, until ``release``."""
    with _AT_ONCE:
        _HELD.append(path.resolve())


def release(path: Path) -> None:
    """What was held once may be deleted again."""
    with _AT_ONCE:
        _HELD.remove(path.resolve())


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Within: the checkpoint is held."""
    hold(path)
    try:
        yield
    finally:
        release(path)


def retire(folder: Path, keep: int | None, spare: int | None = None, every: int | None = None) -> None:
    """Delete all but the newest ``keep`` checkpoints, that of step ``spare`` and those of multiples of ``every`` steps,
    and what an interrupted save left. One that is held stays until the next time.

    Raises:
        OSError: the disk is failing; whatever stands under a checkpoint's name is whole.
    """
    put_back_all(folder)
    for path in _leftovers(folder):
        shutil.rmtree(path, ignore_errors=True)
    spared = None if spare is None else f"step-{spare:08d}"
    for path in [one for one in checkpoints(folder)[keep:] if one.name != spared] if keep else []:
        if every and int(path.name.removeprefix("step-")) % every == 0:
            continue
        doomed = path.with_name(f".{path.name}.deleting")
        with _AT_ONCE:
            if path.resolve() in _HELD:
                continue
            os.replace(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _leftovers(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.name.startswith(".step-"))

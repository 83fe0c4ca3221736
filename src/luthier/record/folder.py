"""Where things lie in a run's folder."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import RunError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder; nothing is created by naming it."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The whole recipe as it ran, defaults included (YAML)."""
        return self.root / "recipe.yaml"

    @property
    def accounts(self) -> Path:
        """What was read from which file, with an account of every key (JSON)."""
        return self.root / "reading.json"

    @property
    def plan(self) -> Path:
        """What was to happen (JSON)."""
        return self.root / "plan.json"

    @property
    def wanted(self) -> Path:
        """A file that anybody may put here to have a checkpoint saved after the step; it is then deleted."""
        return self.root / "save-now"

    @property
    def events(self) -> Path:
        """What happened (JSON lines)."""
        return self.root / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Whole states to go on from."""
        return self.root / "checkpoints"

    @property
    def model(self) -> Path:
        """The result, in the Hugging Face layout."""
        return self.root / "model"

    @property
    def merged(self) -> Path:
        """The adapter merged into its base, where the recipe asks for it."""
        return self.root / "merged"

    @property
    def drafts(self) -> Path:
        """The model as it was at checkpoints that are being uploaded."""
        return self.root / ".drafts"

    @property
    def answers(self) -> Path:
        """Generated answers (JSON lines), one file for each time they were asked for."""
        return self.root / "answers"

    @property
    def evaluations(self) -> Path:
        """What ``luthier evaluate`` found since (JSON lines)."""
        return self.root / "evaluations.jsonl"

    @property
    def report(self) -> Path:
        """The report (one HTML file)."""
        return self.root / "report.html"

    def note_evaluation(self, found: dict[str, Any]) -> None:
        """Add a line to ``evaluations``: plain values, and when."""
        with self.evaluations.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"at": time.time(), **found}, ensure_ascii=False) + "\n")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for one process.

        Raises:
            RunError: another process holds it, or it cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"cannot be written: {error.strerror}", place=str(self.root), remedy="set output.dir to another folder"
            ) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    "another run is writing here", place=str(self.root), remedy="wait for it, or set output.dir"
                ) from error
            yield
        finally:
            os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all.

    Raises:
        OSError: the disk is full or failing; what lay there before lies there still.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write plain values as readable JSON, whole or not at all."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def sync_folder(path: Path) -> None:
    """Wait until a folder's own entries are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

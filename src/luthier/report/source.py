"""What a run folder holds, read for the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import RunError
from luthier.record.events import Event, Started, read_events
from luthier.record.folder import RunFolder
from luthier.redaction import redacted, scrubbed, scrubbed_texts


@dataclass(frozen=True, slots=True)
class Record:
    """The records of one run; what a folder does not have is empty."""

    name: str
    events: tuple[Event, ...]
    recipe_text: str
    recipe: dict[str, Any]
    reading: dict[str, Any]
    plan: dict[str, Any]
    later: tuple[dict[str, Any], ...] = ()
    """What ``luthier evaluate`` has measured of the result since."""

    def setting(self, path: str) -> Any:
        """The recipe's value under a dotted name, or None."""
        value: Any = self.recipe
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def inside(self, path: str) -> str:
        """A path as seen from the run's folder, wherever that lay when the run wrote it down."""
        return f"/{path}".rpartition(f"/{self.name}/")[2] if f"/{self.name}/" in f"/{path}" else path


def read_record(folder: RunFolder) -> Record:
    """Read a run's folder.

    Raises:
        RunError: it is not a run's folder, or one of its records is damaged.
    """
    events = _events(folder)
    text = _text(folder.recipe)
    try:
        recipe = redacted(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise _damaged(folder.recipe, "YAML") from error
    return Record(
        name=folder.root.resolve().name,
        events=events,
        recipe_text=scrubbed(text),
        recipe=recipe if isinstance(recipe, dict) else {},
        reading=scrubbed_texts(_json(folder.accounts)),
        plan=_json(folder.plan),
        later=_lines(folder.evaluations),
    )


def _events(folder: RunFolder) -> tuple[Event, ...]:
    remedy = "name a folder that `luthier train` has written"
    if not folder.root.is_dir():
        raise RunError(
            "is not there" if not folder.root.exists() else "is not a folder", place=str(folder.root), remedy=remedy
        )
    if not folder.events.is_file():
        raise RunError(f"is not a run's folder: it has no {folder.events.name}", place=str(folder.root), remedy=remedy)
    events: list[Event] = []
    try:
        events.extend(read_events(folder.events))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        place = f"{folder.events}:{len(events) + 1}"
        raise RunError(
            "is not an event of this version", place=place, remedy="restore the line, or cut the file off before it"
        ) from error
    if not any(isinstance(event, Started) for event in events):
        raise RunError("has not started: no event says so", place=str(folder.events), remedy="start the run first")
    return tuple(events)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise _damaged(path, "UTF-8") from error


def _json(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        value = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise _damaged(path, "JSON") from error
    return value if isinstance(value, dict) else {}


def _lines(path: Path) -> tuple[dict[str, Any], ...]:
    try:
        found = [json.loads(line) for line in _text(path).splitlines()]
    except ValueError as error:
        raise _damaged(path, "JSON lines") from error
    return tuple(one for one in found if isinstance(one, dict))


def _damaged(path: Path, form: str) -> RunError:
    return RunError(
        f"cannot be read as {form}", place=str(path), remedy="restore the file, or take it away to report without it"
    )

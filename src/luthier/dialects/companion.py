"""Files that a file names, and rows that look across the files: where another file's word counts more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.dialects.document import Document, read_text
from luthier.dialects.table import Effect, Row, Values
from luthier.errors import RecipeError

ENDINGS = (".json", ".yaml", ".yml")

SIGNS = frozenset(
    {
        *("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "zero_optimization"),
        *("compute_environment", "distributed_type", "deepspeed_config", "fsdp_config", "num_processes"),
    }
)
"""Keys of which every DeepSpeed or accelerate file has at least one."""


@dataclass(frozen=True, slots=True)
class Yielding(Row):
    """A row that lets ``before`` (of the value and all keys) speak first, and itself where that has nothing to say."""

    inner: Row
    before: Callable[[Any, Values], Effect | None]

    @property
    def targets(self) -> tuple[str, ...]:
        """Those of the row within."""
        return self.inner.targets

    def effect(self, value: Any, values: Values) -> Effect:
        """What ``before`` says, or else the row within."""
        found = self.before(value, values)
        return self.inner.effect(value, values) if found is None else found


def yielding(row: Row, before: Callable[[Any, Values], Effect | None]) -> Yielding:
    """``row``, which lets ``before`` speak first."""
    return Yielding(row.name, row, before, old=row.old, whole=row.whole, note=row.note)


def found(values: Values, name: str) -> Any:
    """The value of the key ``name`` in whichever of the files has it, also below a section; the first one.

    >>> found({"training_args.bf16": True, "ds.json: zero_optimization.stage": 3}, "bf16")
    True
    """
    endings = ("." + name, ": " + name)
    return next((value for key, value in values.items() if key == name or key.endswith(endings)), None)


def named_document(path: str, folder: Path, load: Callable[[str, str], Document]) -> Document:
    """The settings file that another file in ``folder`` calls ``path``, parsed; empty where there is none.

    It is looked for from the folder, from those above it and from here; then by the end of its path beside the file,
    since ``examples/sft/configs/z3.yaml`` was written for another tree. A path may lead anywhere, and what is read is
    shown. So only files whose ending says that they hold settings count, and of files that do not lie below the folder
    where they were found only real DeepSpeed or accelerate settings.

    Raises:
        RecipeError: the file is there and cannot be parsed, or lies elsewhere and is none of the two (which shows
            nothing that stands in it).
    """
    here = folder.absolute()
    parts = Path(path).parts
    places = [(base, path) for base in (here, *here.parents, Path.cwd())]
    places += [(here, str(Path(*parts[start:]))) for start in range(1, len(parts)) if ".." not in parts[start:]]
    for base, end in places if Path(path).suffix.lower() in ENDINGS else ():
        try:
            if (base / end).is_file():
                below = (base / end).resolve().is_relative_to(base.resolve()) and base != base.parent
                return _read(base / end, path, load, below=below)
        except (OSError, ValueError):
            break
    return Document(path, {})


def _read(file: Path, path: str, load: Callable[[str, str], Document], *, below: bool) -> Document:
    try:
        document = _mapping(load(read_text(file), path))
        if below or not SIGNS.isdisjoint(document.value):
            return document
        place = path
    except RecipeError as error:
        if below:
            raise
        place = error.faults[0].place
    reason = "holds no DeepSpeed or accelerate settings; what it holds is not shown, since it lies elsewhere"
    raise RecipeError(reason, place=place, remedy="correct the path, or put the file beside the recipe")


def _mapping(document: Document) -> Document:
    return document if isinstance(document.value, dict) else Document(document.name, {})


def companion_read(path: str, values: Values) -> bool:
    """Whether the file called ``path`` was found and has keys."""
    prefix = Path(path).name + ": "
    return any(key.startswith(prefix) for key in values)

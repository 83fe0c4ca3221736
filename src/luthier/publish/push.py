"""A finished run's result, put on the hub and fetched again: it counts as there when both say the same."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import RunError
from luthier.model.adapter_files import SETTINGS, rows_of
from luthier.model.agreement import distance, logits, probes
from luthier.model.load import open_model
from luthier.model.quantise import loading, read_quantisation
from luthier.model.save import base_of, open_on_base
from luthier.publish.card import card_of_run
from luthier.publish.hub import Repository, fetch, files_of, open_repository, upload
from luthier.record.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where the result lies now; ``error`` is how far the fetched model's logits are from those of the one here."""

    repository: str
    revision: str
    commit: str
    files: int
    error: float


def push(folder: RunFolder, name: str, *, private: bool | None = None, revision: str | None = None) -> Pushed:
    """Upload a run's result with its card.

    Raises:
        RunError: the run has no result, the hub cannot be reached, or what it gives back is not what was sent.
        ModelError: the result cannot be opened, so that nothing is uploaded.
    """
    if not (folder.model.is_dir() and folder.events.exists() and folder.recipe.exists()):
        raise RunError("is no finished run", place=str(folder.root), remedy="give a run's folder, with a result in it")
    wanted = _said(folder.model, folder.model)
    repository = open_repository(name, private, revision)
    files = {**files_of(folder.model), "README.md": card_of_run(folder, repository.name).encode()}
    commit = upload(repository, files, f"the result of {folder.root.resolve().name}")
    error = _fetched(repository, commit, folder.model, wanted)
    return Pushed(repository.name, repository.revision, commit, len(files), error)


def _fetched(repository: Repository, commit: str, model: Path, wanted: Any) -> float:
    with tempfile.TemporaryDirectory() as place:
        fetch(repository, commit, Path(place))
        error = distance(_said(Path(place), model), wanted)
    if not error < 1e-6:
        raise RunError(
            f"the fetched model's logits are {error:.1e} of their size away", place=repository.name, remedy="push again"
        )
    return error


def _said(directory: Path, original: Path) -> Any:
    """The logits of a model on the probes; an adapter's on the base that the original names."""
    if not (directory / SETTINGS).exists():
        model: Any = open_model(directory, None, "auto")
        ids = probes(model.get_input_embeddings().weight.shape[0], set())
    else:
        kept = read_quantisation(directory)
        quantised = loading(kept.config if kept else None, "cpu")
        model = open_on_base(directory, base_of(original), None, "auto", quantised)
        ids = probes(model.get_input_embeddings().weight.shape[0], rows_of(directory))
    found = logits(model, ids)
    del model
    gc.collect()
    return found

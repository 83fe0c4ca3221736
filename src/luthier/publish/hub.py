"""One repository on the hub, through its own library: made, filled in whole commits, and checked by hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from luthier.environment import hub_endpoint, hub_token
from luthier.errors import LuthierError, RunError
from luthier.redaction import HIDDEN, scrubbed

LOGIN = "give the run's environment HF_TOKEN, or log in with: hf auth login"
NAMES = ("base_model_name_or_path", "_name_or_path")
"""Keys of a model's settings that may hold a path of this machine."""

Upload = dict[str, Path | bytes]
"""Path in the repository -> a file, or what is in it."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository that is there: its whole name, and the branch to write to."""

    name: str
    revision: str


def open_repository(name: str, private: bool | None, revision: str | None) -> Repository:
    """The repository, made where it is not there; so is the branch.

    Raises:
        RunError: no token, no connection, or the hub refuses.
    """
    if hub_token() is None:
        raise RunError("there is no token for the hub", place=name, remedy=LOGIN)
    api = _api()
    try:
        made = api.create_repo(name, private=private, exist_ok=True)
        if revision not in (None, "main"):
            api.create_branch(made.repo_id, branch=revision, exist_ok=True)
    except Exception as error:
        raise RunError(told(error), place=name, remedy=f"check the name and the connection; {LOGIN}") from error
    return Repository(str(made.repo_id), revision or "main")


def upload(repository: Repository, files: Upload, message: str) -> str:
    """Write all files in one commit, and compare the hub's hashes with theirs; returns the commit.

    Raises:
        RunError: the connection broke, the hub refused, or has other bytes than were sent.
    """
    from huggingface_hub import CommitOperationAdd

    api = _api()
    try:
        done = api.create_commit(
            repository.name,
            [CommitOperationAdd(place, one if isinstance(one, bytes) else str(one)) for place, one in files.items()],
            commit_message=message,
            revision=repository.revision,
        )
        there = {
            one.path: one.lfs.sha256 if one.lfs else one.blob_id
            for one in api.get_paths_info(repository.name, list(files), revision=done.oid)
        }
    except Exception as error:
        raise RunError(told(error), place=repository.name, remedy="upload it later: luthier push") from error
    wrong = [place for place, one in files.items() if there.get(place) not in set(_hashes(one))]
    if wrong:
        raise RunError(f"the hub has something else as {wrong[0]}", place=repository.name, remedy="upload it again")
    return str(done.oid)


def fetch(repository: Repository, commit: str, into: Path) -> None:
    """Download a commit.

    Raises:
        RunError: it cannot be had.
    """
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository.name, revision=commit, local_dir=into, endpoint=hub_endpoint(), token=hub_token())
    except Exception as error:
        raise RunError(told(error), place=repository.name, remedy="check the connection") from error


def files_of(folder: Path, inside: str = "") -> Upload:
    """A folder's files under their places in the repository; none that is hidden, and no path of this machine in the
    settings of a model."""
    found: Upload = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in place.parts):
            found[f"{inside}{place.as_posix()}"] = _without_paths(path) if path.name in _SETTINGS else path
    return found


_SETTINGS = ("adapter_config.json", "config.json")


def _without_paths(path: Path) -> Path | bytes:
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    local = [name for name in NAMES if isinstance(settings.get(name), str) and PurePath(settings[name]).is_absolute()]
    if not local:
        return path
    settings |= {name: PurePath(settings[name]).name for name in local}
    return (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()


def _hashes(one: Path | bytes) -> Iterator[str]:
    """A file's hash in large-file storage, and as an object of git."""
    if isinstance(one, bytes):
        yield hashlib.sha256(one).hexdigest()
        size, pieces = len(one), iter([one])
    else:
        with one.open("rb") as file:
            yield hashlib.file_digest(file, "sha256").hexdigest()
        size, pieces = one.stat().st_size, _pieces(one)
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    for piece in pieces:
        blob.update(piece)
    yield blob.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def told(error: Exception) -> str:
    """The first line of what went wrong, with no token in it."""
    if isinstance(error, LuthierError):
        return error.faults[0].reason
    lines = [str(one).strip().splitlines() for one in (error, error.__cause__) if one is not None]
    text = ": ".join(one[0] for one in lines if one) or type(error).__name__
    token = hub_token()
    return scrubbed(text.replace(token, HIDDEN) if token else text)[:300]


def _api() -> Any:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    return HfApi(endpoint=hub_endpoint(), token=hub_token())

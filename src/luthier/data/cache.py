"""Prepared data are kept under the hash of everything that made them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from luthier.environment import cache_folder
from luthier.errors import DataError

VERSION = 1
"""Raised whenever the meaning of a stored file changes."""


def content_key(files: Iterable[Path], texts: Iterable[str], settings: dict[str, Any]) -> str:
    """The hash of files' bytes, of texts and of settings, in that order."""
    digest = hashlib.sha256(f"luthier {VERSION}".encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    digest.update(json.dumps(settings, sort_keys=True, ensure_ascii=True).encode())
    return digest.hexdigest()


def entry(root: str | None, kind: str, key: str) -> Path:
    """Where an entry lies, whether it is there or not."""
    return (Path(root).expanduser() if root else cache_folder()) / kind / key[:40]


def keep(path: Path, make: Callable[[Path], None]) -> None:
    """Make an entry beside its place and move it there whole; if another process was faster, its entry stays.

    Raises:
        DataError: the cache cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name[:12]}-", dir=path.parent))
        aside.chmod(0o755)
        try:
            make(aside)
            os.replace(aside, path)
        except OSError:
            if not path.is_dir():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"the cache cannot be written: {error.strerror}",
            place=str(path.parent),
            remedy="free disk space, or set data.cache",
        ) from error

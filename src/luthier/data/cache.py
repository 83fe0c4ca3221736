"""Prepared data are kept under the hash of everything that made them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from luthier.data.text_file import read_errors
from luthier.environment import cache_folder
from luthier.errors import DataError

VERSION = 4
"""Raised whenever the meaning of a stored file changes."""


def content_key(files: Iterable[Path], texts: Iterable[str], settings: dict[str, Any]) -> str:
    """The hash of files' bytes, of texts and of settings, in that order.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256(f"luthier {VERSION}".encode())
    for path in files:
        with read_errors(path), path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    digest.update(json.dumps(settings, sort_keys=True, ensure_ascii=True).encode())
    return digest.hexdigest()


def entry(root: str | None, kind: str, key: str) -> Path:
    """Where an entry lies, whether it is there or not."""
    return (Path(root).expanduser() if root else cache_folder()) / kind / key[:40]


@contextmanager
def alone(path: Path, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Be the only process that works on an entry; the others wait until it is done or dead.

    ``wait`` is told once when another one is at work. The lock lies beside the entry and goes with the process, however
    that ends. What dead processes left half made is cleared away. A file system without locks leaves it to ``keep``.

    Raises:
        DataError: the cache cannot be written.
    """
    lock = path.parent / f".{path.name}.lock"
    with write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(lock, wait)
    try:
        for half in path.parent.glob(f"{_aside(path)}*") if handle is not None else ():
            shutil.rmtree(half, ignore_errors=True)
        yield
    finally:
        if handle is not None:
            lock.unlink(missing_ok=True)
            os.close(handle)


def _locked(lock: Path, wait: Callable[[str], None] | None) -> int | None:
    """The open lock file, held; None where the file system knows no locks."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if wait is not None:
                wait("another process is preparing the same rows; waiting for it")
                wait = None
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                return None
            raise
        # Whoever held it has removed the file: another process may have made and locked a new one since.
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == lock.stat().st_ino:
                return handle
        os.close(handle)


def _aside(path: Path) -> str:
    return f".{path.name[:12]}-"


def keep(path: Path, make: Callable[[Path], None]) -> None:
    """Make an entry beside its place and move it there whole; if another process was faster, its entry stays.

    Raises:
        DataError: the cache cannot be written.
    """
    with write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=_aside(path), dir=path.parent))
        aside.chmod(0o755)
        try:
            make(aside)
            os.replace(aside, path)
        except OSError:
            if not path.is_dir():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """What the disk says, as an error of the cache."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the cache cannot be written: {error.strerror}",
            place=str(folder),
            remedy="free disk space, or set data.cache",
        ) from error

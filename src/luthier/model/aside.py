"""A folder beside the one that is asked for, where a model is made before it is called done."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from luthier.errors import ModelError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says where nothing more may be written."""


@contextmanager
def made_aside(out: Path, doing: str) -> Iterator[Path]:
    """A new folder beside ``out``, in whose name ``doing`` stands; what is left in it at the end is removed, and so is
    what an earlier attempt left.

    Raises:
        ModelError: ``out`` is a file, or a folder that is not empty, or cannot be made, or the disk is full.
    """
    if out.is_file():
        raise ModelError("is a file", place=str(out), remedy="name a folder with --out")
    aside = out.with_name(f".{out.name}.{doing}")
    try:
        if out.exists() and any(out.iterdir()):
            raise ModelError("is not empty", place=str(out), remedy="name another folder with --out")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    except OSError as error:
        reason = f"cannot be made: {error.strerror or error}"
        raise ModelError(reason, place=str(out), remedy="name another folder with --out") from error
    try:
        yield aside
    except (OSError, SafetensorError) as error:
        code = error.errno if isinstance(error, OSError) else None
        if code not in FULL and not any(f"(os error {one})" in str(error) for one in FULL):
            raise
        raise ModelError(
            "the disk is full", place=str(out), remedy="make room, or name a folder elsewhere with --out"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)

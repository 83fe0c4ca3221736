"""Optional packages: loaded when asked for, with what they warn about in themselves left out, and the root logger left
as it was."""

from __future__ import annotations

import importlib
import logging
import warnings
from typing import Any

from luthier.errors import MissingPackage


def optional(module: str, install: str) -> Any:
    """An optional module.

    Raises:
        MissingPackage: it is not installed.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f"{error}", place="optimizer.kind", remedy=f"pip install {install}") from error
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

"""Rows that are kept from training to evaluate on."""

from __future__ import annotations

import numpy as np

from luthier.data.pack import Ints
from luthier.errors import DataError


def split_holdout(rows: Ints, holdout: int | float, seed: int) -> tuple[Ints, Ints]:
    """Indices of the training and of the evaluation documents; the rows of the latter are drawn by seed.

    ``rows`` [n] are the documents' rows, numbered from 0: all that came of a row stays on one side.

    Raises:
        DataError: nothing would be left to train on.
    """
    count = int(rows.max()) + 1 if len(rows) else 0
    size = round(count * holdout) if holdout < 1 else int(holdout)
    if holdout and size < 1:
        size = 1
    if size >= count:
        raise DataError(f"{size} of {count} rows would be held out", place="data.holdout", remedy="hold out fewer")
    held = np.zeros(count, np.bool_)
    held[np.random.default_rng((seed, 0x5EED)).permutation(count)[:size]] = True
    return np.flatnonzero(~held[rows]), np.flatnonzero(held[rows])

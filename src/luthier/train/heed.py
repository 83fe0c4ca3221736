"""What the processes of a run have been asked for: to stop, or to save. They agree on it, since none can stop alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from luthier.train.interrupt import Asked, Interrupted
from luthier.train.ranks import Ranks

SAVE = 0
"""What a process says that wants a checkpoint; any signal to stop is larger."""


class Heed:
    """Listens to signals, and to the file by which anybody asks for a checkpoint (``RunFolder.wanted``).

    ``deaf`` is set where stopping would lose what no checkpoint holds.
    """

    def __init__(self, asked: Asked, ranks: Ranks, wanted: Path) -> None:
        self.asked, self.deaf = asked, False
        self._ranks, self._wanted = ranks, wanted

    def said(self) -> int | None:
        """The signal that any process has had, ``SAVE`` where a checkpoint is wanted, or None."""
        wanted = self._ranks.first and self._wanted.exists()
        if wanted:
            with suppress(OSError):
                self._wanted.unlink()
        number = self.asked.number or (SAVE if wanted or self.asked.save else None)
        self.asked.save = False
        return self._ranks.largest(number)

    def stop(self) -> None:
        """Stop here if any process has been asked to; all come here equally often.

        Raises:
            Interrupted: one has been.
        """
        number = None if self.deaf else self._ranks.largest(self.asked.number)
        if number is not None:
            raise Interrupted(number)

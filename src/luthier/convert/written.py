"""What writing a recipe in a dialect gives: the text, and what the text does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Missing:
    """A setting that the written file does not say: the value wanted, the value that the file means, and why."""

    setting: str
    value: Any
    means: Any
    why: str

    def tree(self) -> dict[str, Any]:
        """As plain values, for ``--json``."""
        return {"setting": self.setting, "value": self.value, "means": self.means, "why": self.why}


@dataclass(frozen=True, slots=True)
class Written:
    """A recipe in a dialect; ``missing`` holds every setting that reading ``text`` does not give back."""

    dialect: str
    text: str
    missing: tuple[Missing, ...] = ()

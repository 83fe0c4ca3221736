"""Chat templates that are built turn by turn from pieces of text, most tokenised apart; the data are in turns*.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PLACES = re.compile(r"\{(content|name|index|system|eos|bos|prefix)\}")
"""What a piece may leave open; any other brace is text.

content: the message. name: of the function that is called. index: the question's number, from 1. system: the system
message, once. eos, bos: the tokenizer's own. prefix: what the tokenizer itself puts before a text.
"""

FOLDER = Path(__file__).parent / "templates"
"""Where the texts of templates lie."""


@dataclass(frozen=True, slots=True)
class TurnFormat:
    """The pieces of every kind of turn.

    ``header``: how many pieces of a turn come before what its author writes. They are learned with the turn before
    them, as its end, and the assistant's are the generation prompt. Where there are none, the user's pieces are all of
    the generation prompt, and questions and answers have to alternate.
    """

    name: str
    user: tuple[str, ...]
    assistant: tuple[str, ...]
    stops: tuple[str, ...]
    begin: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    """Without pieces, and no place for it in the user's, a system message is left out."""
    tool: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    header: int = 0
    strip: bool = False
    joined: bool = False
    """Whether pieces are tokenised as what follows the ones before them, not each by itself."""
    default_system: str | None = None
    system_with_input: str | None = None
    """The default where the first question has an input."""
    input_heading: str = ""
    """What stands between a question and its input, instead of a blank line."""
    tools: str | None = None
    """What stands before the list of tools, in a system message of its own."""
    tool_entry: str = ""
    """How each tool is listed, from its ``{name}`` and its ``{json}``; without it, all of them stand there as JSON."""
    call: tuple[str, ...] = ()
    """What stands around the arguments of a call."""
    json_calls: bool = False
    """Whether a call's arguments are written as JSON, not as Python's."""
    control: tuple[str, ...] = ()

    @property
    def takes_system(self) -> bool:
        """Whether the text of a system message gets into the rendering."""
        return any("{content}" in piece for piece in self.system) or self.folds_system

    @property
    def folds_system(self) -> bool:
        """Whether the system message stands inside the first question's pieces."""
        return any("{system}" in piece for piece in self.user)

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """The pieces of each role that has its own; ChatGLM3's name for a tool's result included."""
        pieces = {"system": self.system, "user": self.user, "assistant": self.assistant}
        return {**pieces, **({"tool": self.tool, "observation": self.tool} if self.tool else {})}


@cache
def formats() -> dict[str, TurnFormat]:
    """All of them by name."""

    def frozen(value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    return {
        name: TurnFormat(name=name, **{key: frozen(value) for key, value in table.items()})
        for path in sorted(FOLDER.glob("turns*.toml"))
        for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items()
    }

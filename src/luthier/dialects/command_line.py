"""The command of a script that starts a training, as a document: its flags, its launcher's words, its environment."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from luthier.dialects.document import Document, bounded
from luthier.dialects.shell import Command, commands
from luthier.dialects.shell_word import Unclear, Word
from luthier.errors import RecipeError

_FLAG = re.compile(r"--?[A-Za-z]")
_SWITCHES = {"True": True, "true": True, "False": False, "false": False}
_SECRET = re.compile(r"(?:^|_)(?:TOKEN|KEY|SECRET|PASSWORD)(?:_|$)", re.IGNORECASE)
_SECRET_FLAGS = ("hub_token", "push_to_hub_token")
_STARTERS = ("accelerate", "torchrun", "python", "python3", "deepspeed", "uv", "poetry", "srun", "train.py")


def load_command(text: str, name: str, switches: Collection[str] = (), lists: Collection[str] = ()) -> Document:
    """The flags of a script's training command as keys, under ``launcher`` and ``environment`` what stands before them.

    Args:
        text: a shell script or a command line.
        name: how places call the file.
        switches: flags that are true or false, of which ``--no_x`` is the denial.
        lists: flags that take several words.

    Raises:
        RecipeError: there is no command with flags, it has too many, or a quote is never closed.
    """
    found = [command for command in commands(text, name) if _trains(command)]
    if not found:
        raise RecipeError(
            "starts no training", place=name, remedy="give a script or command such as: python train.py --flag value …"
        )
    chosen = max(found, key=lambda command: len(_flags(command.words)))
    rivals = [one for one in found if one is not chosen and len(_flags(one.words)) > len(_flags(chosen.words)) // 2]
    reader = _Reader(name, switches, lists)
    reader.read(chosen)
    for one in rivals:
        shown = Unclear(_program(one.words), "the file starts several trainings", "keep one")
        reader.put(("launcher", "another"), shown, one.words[0].line)
    return bounded(reader.document)


def _flags(words: list[Word]) -> list[Word]:
    return [word for word in words if _name(word)]


def _program(words: list[Word]) -> str:
    first = next((index for index, word in enumerate(words) if _long(word)), len(words))
    return " ".join(word.text for word in words[:first])


def _trains(command: Command) -> bool:
    first = command.words[0].text.rsplit("/", 1)[-1]
    starts = first in _STARTERS or first.startswith("python") or first.endswith(".py") or bool(_name(command.words[0]))
    return starts and any(_long(word) for word in command.words)


def _long(word: Word) -> bool:
    return (_name(word) or "").startswith("--")


def _name(word: Word) -> str | None:
    """The flag that a word is, by its own name, or None."""
    text = str(word.text)
    if isinstance(word.text, Unclear) and word.text.remedy.startswith("write --"):
        text = word.text.remedy.removeprefix("write ")
    return text.partition("=")[0] if _FLAG.match(text) else None


class _Reader:
    """Fills a document from a command."""

    def __init__(self, name: str, switches: Collection[str], lists: Collection[str]) -> None:
        self.document = Document(name, {})
        self.switches = switches
        self.lists = lists

    def read(self, command: Command) -> None:
        """The environment, the launcher's words, the script, its flags."""
        for variable, word in command.environment.items():
            self.put(("environment", variable), word.text, word.line)
        words = command.words
        script = next((index for index, word in enumerate(words) if word.text.endswith(".py")), None)
        if script is None:
            module = next((index for index, word in enumerate(words) if word.text == "-m"), None)
            script = module + 1 if module is not None and module + 1 < len(words) else None
        if script is not None:
            self._launcher(words[:script])
            self.put(("launcher", "script"), words[script].text, words[script].line)
        elif not _name(words[0]):
            script = next(index for index, word in enumerate(words) if _name(word)) - 1
        self._arguments(words[script + 1 if script is not None else 0 :], ())

    def _launcher(self, words: list[Word]) -> None:
        first = next((index for index, word in enumerate(words) if _long(word)), len(words))
        if first:
            self.put(("launcher", "program"), _program(words), words[0].line)
        rest = words[first:]
        self._arguments(rest[:-1] if rest and rest[-1].text == "-m" else rest, ("launcher",))

    def _arguments(self, words: list[Word], path: tuple[str, ...]) -> None:
        index = next((index for index, word in enumerate(words) if _name(word)), len(words))
        if index:
            text = " ".join(word.text for word in words[:index])
            unclear = next((word.text for word in words[:index] if isinstance(word.text, Unclear)), None)
            self.put(("launcher", "arguments"), _marked(text, unclear), words[0].line)
        while index < len(words):
            end = next((at for at in range(index + 1, len(words)) if _name(words[at])), len(words))
            self._flag(words[index], words[index + 1 : end], path)
            index = end

    def _flag(self, word: Word, given: list[Word], path: tuple[str, ...]) -> None:
        written = _name(word) or ""
        name = written.lstrip("-").replace("-", "_")
        texts: list[str] = [one.text for one in given]
        if "=" in word.text:
            texts.insert(0, word.text.partition("=")[2])
        value: Any = _SWITCHES.get(texts[0], texts[0]) if texts else True
        if len(texts) > 1 and name in self.lists:
            value = texts
        elif len(texts) > 1:
            reason = f"--{name} has {len(texts)} values"
            value = Unclear(" ".join(texts), reason, "keep one, or put quotes around them")
        denied = name.removeprefix("no_")
        if denied != name and denied in self.switches and not texts:
            name, value = denied, False
        problem = next((text for text in (word.text, *texts) if isinstance(text, Unclear)), None)
        if problem is not None:
            shown = " ".join(texts)
            remedy = (
                f"{problem.remedy} {shown}".rstrip()
                if problem is word.text and "=" not in word.text
                else problem.remedy
            )
            value = Unclear(shown, problem.reason, remedy)
        self.put((*path, name), value, word.line)

    def put(self, path: tuple[str, ...], value: Any, line: int) -> None:
        """Set a key; what is secret is not shown, and what is written twice is unclear."""
        into = self.document.value
        for part in path[:-1]:
            into = into.setdefault(part, {})
            if not isinstance(into, dict):
                return
        name = path[-1]
        if name in _SECRET_FLAGS or (path[0] == "environment" and _SECRET.search(name)):
            value = "<masked>"
        if name in into and into[name] != value:
            first = self.document.lines.get(path)
            value = Unclear(str(value), f"it is written twice, first on line {first}", "keep one of them")
        into[name] = value
        self.document.lines[path] = line


def _marked(text: str, unclear: Unclear | None) -> str:
    return text if unclear is None else Unclear(text, unclear.reason, unclear.remedy)

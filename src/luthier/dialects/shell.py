"""A shell script, or a pasted command line, as commands of words with their lines. Nothing is ever executed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from luthier.dialects.shell_word import Parts, Unclear, Word, assigned, opaque
from luthier.dialects.typography import SPACES, control_faults
from luthier.errors import RecipeError

LONGEST = 100_000
MOST_WORDS = 20_000
MOST_VARIABLES = 1_000

_CONTINUES = re.compile(r"\\[ \t]*(?:#[^\n]*)?(?:\n|$)|[\^`][ \t]*\n")
"""A line goes on: after \\, also with blanks or a comment behind it; in Windows' own shells after ^ or a backtick."""
_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$", re.MULTILINE)
_NEXT_FLAG = re.compile(
    r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*"
    r"(?:--|-?[\u2010-\u2015\u2212\uff0d]{1,2})[-A-Za-z]"
)
_COMMENT_LINES = re.compile(r"(?:[ \t]*#[^\n]*\n)+")
_REDIRECT = re.compile(r"[0-9]*(?:&>>?|<<<|>>|>\||<>|[<>])&?|&>>?")
_HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")
_ARRAY = re.compile(r"([\"']?)\$\{([A-Za-z_]\w*)\[[@*]\]\}\1(?=[\s;&|()<>]|$)")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^${}`\n]*))?\})")
_ASSIGNS = re.compile(r"([A-Za-z_]\w*)(\+?)=")
_CURLY = {"\u201c": "\u201d", "\u201d": "\u201d", "\u201e": "\u201d", "\u2018": "\u2019", "\u2019": "\u2019"}
_OPENERS = frozenset({"then", "do", "else", "if", "elif", "while", "{", "!", "$", "%", "time", "nohup", "exec", "sudo"})
_BLANK = " \t" + SPACES


@dataclass(slots=True)
class Command:
    """One simple command, and the environment it runs in: exported before it, or written in front of it."""

    words: list[Word]
    environment: dict[str, Word] = field(default_factory=dict)


def commands(text: str, name: str) -> list[Command]:
    """Every simple command of a script, its variables filled in from its own assignments.

    Raises:
        RecipeError: a quote that is never closed, a control character, or too long a text.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > LONGEST:
        raise RecipeError(f"is a script of over {LONGEST} letters", place=name, remedy="keep the command that trains")
    if faults := control_faults(text, name):
        raise RecipeError(*faults)
    return _Script(_FENCE.sub("", text), name).read()


class _Script:
    """One pass over the text."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.at = 0
        self.line = 1
        self.total = 0
        self.variables: dict[str, Word] = {}
        self.arrays: dict[str, list[Word]] = {}
        self.in_array = False
        self.exported: set[str] = set()
        self.outer: dict[str, Word] | None = None
        self.found: list[Command] = []
        self.words: list[Word] = []
        self.heredocs: list[str] = []

    def read(self) -> list[Command]:
        """All commands, in their order."""
        while self.at < len(self.text):
            self._token()
        self._end()
        return self.found

    def _move(self, count: int) -> str:
        passed = self.text[self.at : self.at + count]
        self.line += passed.count("\n")
        self.at += count
        return passed

    def _token(self) -> None:
        letter = self.text[self.at]
        continued = _CONTINUES.match(self.text, self.at)
        redirect = _REDIRECT.match(self.text, self.at)
        if letter in _BLANK:
            self._move(1)
        elif continued:
            self._move(len(continued.group()))
            comments = _COMMENT_LINES.match(self.text, self.at)
            self._move(len(comments.group()) if comments else 0)
        elif letter == "#":
            end = self.text.find("\n", self.at)
            self._move((end if end >= 0 else len(self.text)) - self.at)
        elif letter == "\n":
            self._newline()
        elif redirect:
            self._redirect(len(redirect.group()))
        elif letter == "(" and self._opens_array():
            self._array()
        elif letter in ";&|()":
            self._end()
            self._move(1)
        elif array := self._spread_array():
            self._move(len(array.group()))
            self._take(self.arrays[array[2]])
        else:
            self._word()

    def _spread_array(self) -> re.Match[str] | None:
        """The whole word ``"${name[@]}"``, where the script has said what is in it."""
        found = _ARRAY.match(self.text, self.at) if self.text[self.at] in "$\"'" else None
        return found if found and found[2] in self.arrays and found[1] != "'" else None

    def _opens_array(self) -> bool:
        """Whether the bracket at hand stands right behind ``name=``, as the last word."""
        behind = self.words and not self.in_array and self.text[self.at - 1] == "="
        return bool(behind and _ASSIGNS.fullmatch(self.words[-1].text))

    def _array(self) -> None:
        """``name=(words)``: the words, each with its line; other words for a name it has are unclear."""
        name, kept = self.words.pop().text.rstrip("+="), self.words
        self.words, self.in_array, opened = [], True, self.line
        self._move(1)
        while self.at < len(self.text) and self.text[self.at] != ")":
            self._move(1) if self.text[self.at] == "\n" else self._token()
        if self.at == len(self.text):
            raise RecipeError(f"{name}=( is never closed", place=f"{self.name}:{opened}", remedy="close it with )")
        self._move(1)
        found, self.words, self.in_array = self.words, kept, False
        before = self.arrays.setdefault(name, found)
        if before is not found:
            reason = f"${name} is put together in several places"
            for word in (*before[:1], *found):
                word.text = Unclear(word.text, reason, "write it in one")
            before.extend(found)

    def _newline(self) -> None:
        """The end of a command, unless the next line goes on with a flag."""
        self._move(1)
        for mark in self.heredocs:
            body = re.compile(rf"(?:(?!\s*{mark}[ \t]*(?:\n|$))[^\n]*\n)*[^\n]*\n?").match(self.text, self.at)
            self._move(len(body.group()) if body else 0)
        self.heredocs.clear()
        if not (self.words and _NEXT_FLAG.match(self.text, self.at)):
            self._end()

    def _redirect(self, length: int) -> None:
        heredoc = _HEREDOC.match(self.text, self.at)
        if heredoc:
            self.heredocs.append(heredoc[2])
            self._move(len(heredoc.group()))
            return
        self._move(length)
        while self.at < len(self.text) and self.text[self.at] in _BLANK:
            self._move(1)
        before = len(self.words)
        if self.at < len(self.text) and self.text[self.at] not in "\n;&|()<>#\\":
            self._word()
        del self.words[before:]

    def _word(self) -> None:
        """Read one word; an unquoted variable may make several of it, or none."""
        parts = Parts(self.line)
        start = self.at
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter in _BLANK or letter in "\n;&|()<>":
                break
            if letter == "\\":
                if _CONTINUES.match(self.text, self.at):
                    break
                self._move(1)
                parts.add(self._move(1))
            elif letter == "'" or (letter in _CURLY and self._closing(letter)):
                self._single(letter, parts)
            elif letter == '"':
                self._double(parts)
            elif letter in "$`":
                self._expand(parts, quoted=False)
            else:
                parts.add(self._move(1))
        if self.at == start:
            self._move(1)
            return
        made = parts.words(self.text[start : self.at])
        self._take(made)

    def _take(self, made: list[Word]) -> None:
        self.words.extend(made)
        self.total += len(made)
        self._bound(self.total, 0)

    def _bound(self, words: int, letters: int) -> None:
        """Refuse variables that hold one another many times over."""
        if words > MOST_WORDS or letters > LONGEST:
            remedy = "write the words out without variables, or leave out what is no setting"
            raise RecipeError("unfolds to too much text", place=f"{self.name}:{self.line}", remedy=remedy)

    def _closing(self, letter: str) -> bool:
        end = self.text.find(_CURLY[letter], self.at + 1, self.at + 1000)
        return end >= 0 and "\n" not in self.text[self.at : end]

    def _single(self, letter: str, parts: Parts) -> None:
        close = _CURLY.get(letter, "'")
        end = self.text.find(close, self.at + 1)
        if end < 0:
            raise self._unclosed()
        inner = self._move(end + 1 - self.at)[1:-1]
        parts.add(inner, quoted=True)
        parts.curly |= letter in _CURLY

    def _double(self, parts: Parts) -> None:
        opened, self.in_array = self.line, True
        self._move(1)
        parts.add("", quoted=True)
        while self.at < len(self.text) and self.text[self.at] != '"':
            letter = self.text[self.at]
            if letter == "\\" and self.text[self.at + 1 : self.at + 2] in ('"', "\\", "$", "`", "\n"):
                self._move(1)
                after = self._move(1)
                parts.add("" if after == "\n" else after, quoted=True)
            elif letter in "$`":
                self._expand(parts, quoted=True)
            else:
                parts.add(self._move(1), quoted=True)
        if self.at >= len(self.text):
            self.line = opened
            raise self._unclosed()
        self._move(1)

    def _unclosed(self) -> RecipeError:
        return RecipeError("a quote is opened and never closed", place=f"{self.name}:{self.line}", remedy="close it")

    def _expand(self, parts: Parts, *, quoted: bool) -> None:
        variable = _VARIABLE.match(self.text, self.at)
        if variable:
            written = self._move(len(variable.group()))
            name, default = variable[1] or variable[2], variable[3]
            known = self.variables.get(name)
            if known is not None:
                parts.value(known.text, quoted=quoted)
                self._bound(len(parts.pieces), len(parts.pieces[-1]))
            elif default is not None:
                parts.value(default, quoted=quoted)
            else:
                parts.unclear(written, f"{written} has no value in this file", f"write its value instead of {written}")
            return
        written = self._move(opaque(self.text, self.at))
        reason = "is what a command or the caller gives, and nothing is executed here"
        parts.unclear(written, f"{written[:60]} {reason}", "write the value itself")

    def _end(self) -> None:
        """Close the command; note what it assigns."""
        words, self.words = self.words, []
        while words and words[0].text in _OPENERS:
            words = words[1:]
        if words and words[0].text.startswith("!") and not isinstance(words[0].text, Unclear):
            words = [Word(words[0].text[1:], words[0].line, words[0].quoted), *words[1:]]
        if words and words[0].text in ("export", "declare", "local", "readonly", "env"):
            exports = words[0].text == "export"
            rest = words[1:]
        else:
            exports, rest = False, words
        given: dict[str, Word] = {}
        while rest and (match := _ASSIGNS.match(rest[0].text)):
            given[match[1]] = assigned(rest[0], match.end())
            if match[2]:
                reason = f"${match[1]} is put together in several places"
                given[match[1]].text = Unclear(given[match[1]].text, reason, "write it in one")
            rest = rest[1:]
        while given and rest and rest[0].text in _OPENERS:
            rest = rest[1:]
        if rest and not (exports or words[0].text in ("declare", "local", "readonly")):
            if self.outer is None:
                self.outer = {name: self.variables[name] for name in self.exported if name in self.variables}
            self.found.append(Command(rest, self.outer | given if given else self.outer))
            return
        self.outer = None
        self.exported |= {word.text for word in rest} if exports else set()
        for name, word in given.items():
            self._assign(name, word)
            self.exported |= {name} if exports else set()

    def _assign(self, name: str, word: Word) -> None:
        before = self.variables.get(name)
        if len(self.variables) > MOST_VARIABLES:
            reason = f"sets more than {MOST_VARIABLES} variables"
            raise RecipeError(
                reason, place=f"{self.name}:{word.line}", remedy="keep the command that starts the training"
            )
        if before is not None and before.text != word.text and not isinstance(word.text, Unclear):
            reason = f"${name} has other values on lines {before.line} and {word.line}"
            word = Word(Unclear(word.text, reason, "keep one of them"), word.line)
        self.variables[name] = word

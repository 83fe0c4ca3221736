"""The first batch, or a row's stages, on a terminal: learned tokens in colour, or between brackets without colours."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from rich.console import Console
from rich.text import Text

from luthier.show.document import Document
from luthier.show.first import FirstBatch
from luthier.show.trace import Trace
from luthier.show.words import WORDS, Pair, all_uses, counted, cut_words, fate_words, headline, place, summary
from luthier.terminal import visible

LEARNED, READ, CONTROL = "black on green", "dim", "underline"
BRACKETS, CONTROL_BRACKETS = ("⟦", "⟧"), ("⟨", "⟩")
_OURS = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in (*BRACKETS, *CONTROL_BRACKETS)})
MOST = 60
"""Characters of a run's text that stand beside its reason."""


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints in one language (``en`` or ``zh``); no text of the data can steer the terminal or look like our marks."""

    console: Console
    language: str

    def batch(self, first: FirstBatch) -> None:
        """The first batch."""
        self._line(self._of(headline(first)), "bold")
        self._line(self._of(summary(first)))
        self._legend()
        for number, document in enumerate(first.documents, 1):
            self._line("")
            self._line(f"{number}/{len(first.documents)}  {visible(document.origin)}", "bold")
            for pair in (place(document, first), cut_words(document.cut), counted(document)):
                self._line(self._of(pair))
            self._print(self._text(document))
            self._reasons(document)

    def row(self, found: Trace) -> None:
        """A row's stages."""
        self._line(f"{self._say('row')} {visible(found.example.origin)}", "bold")
        for message in found.example.messages:
            self._line(f"{visible(message.role)}: {visible(message.content)}")
        self._legend()
        self._line(self._of(counted(found.whole)))
        self._print(self._text(found.whole))
        self._print(self._tokens(found.whole))
        self._reasons(found.whole)
        fate = fate_words(found.fate.value, [len(one) for one in found.kept])
        self._line(self._say("fate") + self._say("colon") + self._of(fate))
        for use in all_uses(found.uses):
            self._line(self._say("use") + self._say("colon") + self._of(use))

    @property
    def _plain(self) -> bool:
        return self.console.color_system is None or self.console.no_color

    def _legend(self) -> None:
        line = Text(self._say("legend") + self._say("colon"))
        line.append_text(self._marked(self._say("learned"), learned=True)).append(" ")
        line.append_text(self._marked(self._say("read"), learned=False)).append(" ")
        line.append_text(self._shown(self._say("control"), learned=False, control=True))
        self._print(line)

    def _text(self, document: Document) -> Text:
        """The tokens' text; neighbours of one kind are marked together."""
        line = Text()
        tokens = zip(document.learned, document.pieces, document.control, strict=True)
        for learned, group in groupby(tokens, key=itemgetter(0)):
            inside = Text()
            for _, piece, control in group:
                inside.append_text(self._shown(piece, learned=learned, control=control))
            line.append_text(self._bracketed(inside) if learned and self._plain else inside)
        return line

    def _tokens(self, document: Document) -> Text:
        """Every token with its id."""
        line = Text()
        flags = document.learned
        for at, end in document.groups():
            learned = flags[at]
            shown = self._shown(document.pieces[at], learned=learned, control=document.control[at])
            line.append(f"{'+'.join(map(str, document.ids[at:end]))}:", READ)
            line.append_text(self._bracketed(shown) if learned and self._plain else shown).append(" ")
        return line

    def _reasons(self, document: Document) -> None:
        for run in document.runs():
            text = visible(document.text(run.begin, run.end))
            text = text if len(text) <= MOST else text[: MOST - 1] + "…"
            line = Text(f"  {run.begin}–{run.end - 1}  ")
            line.append_text(self._marked(self._say("learned" if run.learned else "read"), learned=run.learned))
            line.append(f'  "{text.translate(_OURS) if self._plain else text}"  ', READ)
            line.append(visible(run.reason.words(self.language)))
            self._print(line)

    def _marked(self, text: str, *, learned: bool) -> Text:
        shown = self._shown(text, learned=learned, control=False)
        return self._bracketed(shown) if learned and self._plain else shown

    def _shown(self, text: str, *, learned: bool, control: bool) -> Text:
        safe = visible(text)
        if self._plain:
            safe = safe.translate(_OURS)
            return Text(safe.join(CONTROL_BRACKETS) if control else safe)
        return Text(safe, style=" ".join([LEARNED if learned else READ, *[CONTROL] * control]))

    def _bracketed(self, text: Text) -> Text:
        return Text(BRACKETS[0]).append_text(text).append(BRACKETS[1])

    def _say(self, key: str) -> str:
        return self._of(WORDS[key])

    def _of(self, pair: Pair) -> str:
        return pair[self.language == "zh"]

    def _line(self, text: str, style: str = "") -> None:
        self._print(Text(text, style=style))

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=not self.console.is_terminal)

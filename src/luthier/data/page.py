"""A traced row on a terminal: tokens coloured by whether they are learned."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from luthier.data.trace import Trace
from luthier.terminal import visible

TRAINED, READ = "black on green", "white on grey23"


def describe(trace: Trace) -> RenderableType:
    """The row's origin, its turns, its text with the learned part marked, its tokens and its fate."""
    lines: list[RenderableType] = [Text(f"row       {visible(trace.example.origin)}")]
    for message in trace.example.messages:
        lines.append(Text(f"{visible(message.role):<9} {visible(message.content)}"))
    text = Text("text      ")
    for span in trace.spans:
        text.append(visible(span.text), style=TRAINED if span.trained else READ)
    tokens = Text(f"tokens    {len(trace.tokens)}, {trace.tokens.targets} learned: ")
    for index, (piece, trained) in enumerate(zip(trace.pieces, trace.tokens.trained, strict=True)):
        tokens.append(f"{int(trace.tokens.ids[index])}:", style="dim")
        tokens.append(visible(piece), style=TRAINED if trained else READ)
        tokens.append(" ")
    lengths = ", ".join(str(len(kept)) for kept in trace.kept)
    goes_on = f"{lengths} tokens go on" if lengths else "nothing goes on"
    legend = Text("legend    ")
    legend.append("learned", style=TRAINED)
    legend.append(" ")
    legend.append("read only", style=READ)
    return Group(*lines, text, tokens, Text(f"fate      {trace.fate.value}: {goes_on}"), legend)

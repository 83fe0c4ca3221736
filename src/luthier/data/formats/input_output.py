"""Rows of text in segments, each of which says whether it is learned; nothing is put around or between them."""

from __future__ import annotations

from luthier.data.example import Example, Piece, Row, RowFault, missing, pieced


def read(row: Row) -> Example:
    """The segments as they stand, control tokens and white space included.

    A segment whose ``label`` is false is learned only where the user's turns are.

    >>> segments = [{"label": False, "text": "<s>Hi\\n"}, {"label": True, "text": "Ho</s>"}]
    >>> [piece.trained for piece in read(Row("d:1", {"segments": segments})).pieces]
    [None, True]
    """
    segments = row.value.get("segments")
    if segments is None:
        raise missing(row, "segments")
    remedy = 'write [{"label": true, "text": "…"}, …]'
    if not isinstance(segments, list) or not segments:
        raise RowFault("column 'segments' is not a list of segments", remedy)
    pieces: list[Piece] = []
    for position, segment in enumerate(segments, 1):
        if not isinstance(segment, dict) or not isinstance(segment.get("text"), str):
            raise RowFault(f"segment {position} has no text", remedy)
        label = segment.get("label")
        if not isinstance(label, bool):
            raise RowFault(f"segment {position} has the label {label!r}", "write true or false")
        pieces.append(Piece(segment["text"], "assistant", True) if label else Piece(segment["text"], "user"))
    return pieced(tuple(pieces), row.origin)

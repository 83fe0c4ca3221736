"""Which parameters the expressions of ``model.trainable`` mean, by their names or by the checkpoint's own. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from luthier.errors import Fault, nearest
from luthier.model.as_loaded import EXPERT, Sources
from luthier.model.last_layers import EMBEDDINGS, LOGITS, OUTPUTS

KEY = "model.trainable"


def means(patterns: Iterable[str], name: str, sources: Sources) -> bool:
    """Whether one of the expressions is found in a parameter's name, or in one that a part of it has in the checkpoint.

    >>> means(["query_key_value"], "q_proj.weight", {"q_proj.weight": ("query_key_value.weight",)})
    True
    """
    return any(re.search(pattern, one) for pattern in patterns for one in (name, *sources.get(name, ())))


def pattern_faults(patterns: Sequence[str], names: Collection[str], sources: Sources) -> Iterator[Fault]:
    """The expressions that mean no parameter of a model, and the first tensor of experts of which they mean a part.

    A tied output layer has no parameter of its own: it may be named where the embedding is named too.
    """
    unmet = [pattern for pattern in patterns if not any(means([pattern], name, sources) for name in names)]
    tied = _tied(names)
    for pattern in unmet:
        if tied is None or not _means_output(pattern):
            yield Fault(f"{pattern!r} is found in no parameter's name", KEY, _remedy(pattern, names, sources))
        elif not means(patterns, tied, sources):
            reason = f"{pattern!r} is found in no parameter's name: the output layer's weight is the embedding's"
            yield Fault(reason, KEY, f"write {tied}, which trains both")
    for name in sorted(names):
        parts = [one for one in sources.get(name, ()) if EXPERT.search(one)]
        met = sum(means(patterns, one, {}) for one in parts)
        if 0 < met < len(parts) and not means(patterns, name, {}):
            reason = f"of {name}, one tensor of {len(parts)} of the checkpoint's, {met} are meant"
            yield Fault(reason, KEY, f"write {name.rpartition('.experts.')[2]}, or an expression that all of them meet")
            return


def _remedy(pattern: str, names: Collection[str], sources: Sources) -> str:
    known = {part: None for name in names for one in (name, *sources.get(name, ())) for part in one.split(".")}
    parts = [part for part in known if not part.isdigit()]
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]*", re.sub(r"\\[A-Za-z]", "", pattern))
    for word in words:
        near = nearest(word, parts)
        if word not in known and near is not None:
            return f"did you mean {near}?"
    like = max(sorted(names), key=lambda name: sum(word in name.split(".") for word in words), default="")
    return f"there are names such as {like}; luthier inspect shows all"


def _tied(names: Collection[str]) -> str | None:
    """The embedding's weight where the output layer has none of its own."""
    if any(name.removesuffix(".weight").endswith(OUTPUTS) for name in names):
        return None
    return next((name for name in names if name.removesuffix(".weight").endswith(EMBEDDINGS)), None)


def _means_output(pattern: str) -> bool:
    return any(re.search(pattern, f"{name}.weight") for name in LOGITS)

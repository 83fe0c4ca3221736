"""Which parameters the expressions of ``model.trainable`` mean, by their names or by the checkpoint's own. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from luthier.errors import Fault, nearest
from luthier.model.as_loaded import EXPERT, Sources
from luthier.model.last_layers import EMBEDDINGS, OUTPUTS

KEY = "model.trainable"


def means(patterns: Iterable[str], name: str, sources: Sources) -> bool:
    """Whether one of the expressions is found in a parameter's name, or in one that a part of it has in the checkpoint.

    >>> means(["query_key_value"], "q_proj.weight", {"q_proj.weight": ("query_key_value.weight",)})
    True
    """
    return any(re.search(pattern, one) for pattern in patterns for one in (name, *sources.get(name, ())))


def pattern_faults(patterns: Sequence[str], names: Collection[str], sources: Sources) -> Iterator[Fault]:
    """The expressions that mean no parameter of a model, and the first tensor of experts of which they mean a part."""
    unmet = [pattern for pattern in patterns if not any(means([pattern], name, sources) for name in names)]
    for pattern in unmet:
        yield Fault(f"{pattern!r} is found in no parameter's name", KEY, _remedy(pattern, names, sources))
    for name in sorted(names):
        parts = [one for one in sources.get(name, ()) if EXPERT.search(one)]
        met = sum(means(patterns, one, {}) for one in parts)
        if 0 < met < len(parts) and not means(patterns, name, {}):
            reason = f"of {name}, one tensor of {len(parts)} of the checkpoint's, {met} are meant"
            yield Fault(reason, KEY, f"write {name.rpartition('.experts.')[2]}, or an expression that all of them meet")
            return


def _remedy(pattern: str, names: Collection[str], sources: Sources) -> str:
    outputs = [f"{name}.weight" for name in OUTPUTS]
    tied = next((name for name in names if name.removesuffix(".weight").endswith(EMBEDDINGS)), None)
    if tied and not any(name in names for name in outputs) and means([pattern], outputs[0], {}):
        return f"the output layer's weight is the embedding's: write {tied}"
    known = {part: None for name in names for one in (name, *sources.get(name, ())) for part in one.split(".")}
    parts = [part for part in known if not part.isdigit()]
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]*", re.sub(r"\\[A-Za-z]", "", pattern))
    for word in words:
        near = nearest(word, parts)
        if word not in known and near is not None:
            return f"did you mean {near}?"
    like = max(sorted(names), key=lambda name: sum(word in name.split(".") for word in words), default="")
    return f"there are names such as {like}; luthier inspect shows all"

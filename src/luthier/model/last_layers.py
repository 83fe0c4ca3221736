"""Which parameters are those of the last layers and the output, by their names; torch is not needed to know it."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

LOGITS = ("lm_head", "embed_out", "output_layer", "output_projection")
"""What models call the layer that makes logits of the last hidden states; transformers' own the first."""

OUTPUTS = (*LOGITS, "score")
"""The same, and the layer that makes a reward."""

EMBEDDINGS = ("embed_tokens", "embed_in", "wte", "word_embeddings", "tok_embeddings", "backbone.embeddings")
"""What they call the embedding of tokens, which is the output layer too where the two are tied."""


@lru_cache(maxsize=8)
def last_layers(names: tuple[str, ...], layers: int, last: int) -> frozenset[str]:
    """The parameters of the last layers, of the norm behind them and of the output layer.

    Args:
        names: of all parameters; tied ones once.
        layers: how many decoder layers there are.
        last: how many of them count.

    >>> gpt2 = ("transformer.wte.weight", "transformer.h.0.ln_1.weight", "transformer.h.1.ln_1.weight")
    >>> sorted(last_layers((*gpt2, "transformer.ln_f.weight"), 2, 1))
    ['transformer.h.1.ln_1.weight', 'transformer.ln_f.weight', 'transformer.wte.weight']
    """
    stem = _stem(names, layers)
    found, outside = set(), []
    for name in names:
        number = re.match(rf"{re.escape(stem)}\.(\d+)\.", name) if stem else None
        if number is None:
            outside.append(name)
        elif int(number[1]) >= layers - last:
            found.add(name)
    body = stem.rpartition(".")[0]
    own = [name for name in outside if _module(name).endswith(OUTPUTS)]
    norms = [name for name in outside if _is_norm(_module(name).removeprefix(body))]
    return frozenset({*found, *norms, *(own or [name for name in outside if _module(name).endswith(EMBEDDINGS)])})


def _stem(names: Collection[str], layers: int) -> str:
    """What stands before the numbers of the layers: the shortest stem that all of these numbers follow."""
    numbers: dict[str, set[int]] = {}
    for name in names:
        for found in re.finditer(r"\.(\d+)\.", name):
            numbers.setdefault(name[: found.start()], set()).add(int(found[1]))
    full = [stem for stem, those in numbers.items() if those == set(range(layers))]
    return min(full, key=len, default="")


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _is_norm(module: str) -> bool:
    """Whether a module outside the layers is the norm behind them; some models have one behind the embedding."""
    return bool(re.search(r"norm|ln_f|ln_out", module)) and "embed" not in module

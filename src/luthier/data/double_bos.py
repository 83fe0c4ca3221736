"""Documents that begin with the begin token twice: the model has seen it once, and answers otherwise after two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from luthier.data.encoder import Encoder
from luthier.data.source import files_of
from luthier.data.store import Batch
from luthier.recipe import Recipe
from luthier.recipe.source import Source


@dataclass(slots=True)
class DoubleBos:
    """Counts them; ``first`` is where the first one came from."""

    bos: int | None
    documents: int = 0
    count: int = 0
    first: str = ""

    @classmethod
    def of(cls, encoder: Encoder) -> DoubleBos:
        """For a tokenizer, which may have no begin token."""
        return cls(encoder.id_of("bos_token"))

    def add(self, batch: Batch) -> None:
        """Count those of a batch."""
        self.documents += len(batch)
        starts = batch.bounds[:-1][batch.lengths > 1]
        if self.bos is None or not len(starts):
            return
        twice = (batch.ids[starts] == self.bos) & (batch.ids[starts + 1] == self.bos)
        found = int(np.count_nonzero(twice))
        if found and not self.count:
            self.first = batch.origins[int(np.flatnonzero(batch.lengths > 1)[np.flatnonzero(twice)[0]])]
        self.count += found

    def notes(self, recipe: Recipe, sources: Sequence[Source], encoder: Encoder) -> list[str]:
        """What to say of them: how many, what writes the second one, and what to do; nothing where there are none."""
        if not self.count:
            return []
        token = encoder.tokens.get("bos_token") or "its begin token"
        told = f"{self.count:,} of {self.documents:,} documents begin with {token} twice (the first is {self.first})"
        return [f"{told}: {self._cause(recipe, sources, token)}"]

    def _cause(self, recipe: Recipe, sources: Sequence[Source], token: str) -> str:
        name = self.first.rpartition(":")[0]
        source = next((one for one in sources if name in map(str, files_of(one))), sources[0])
        if source.prompt is not None:
            told = "the prompt's format begins with it, and the tokenizer writes one before it"
            return f"{told}; take {token} out of prompt.format"
        if source.format == "tokens":
            return (
                "the rows' own ids have it twice; tokenise them anew without special tokens where a template writes it"
            )
        if source.format == "input_output":
            return f"the rows' own segments have it twice; take one {token} out of them"
        if ":" in source.format:
            return f"rows read by {source.format} begin with it; let it leave one {token} out"
        template = recipe.data.template
        return f"the chat template writes it twice; take one bos_token (or {token}) out of the template {template}"

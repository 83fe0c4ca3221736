"""What kinds and starts of adapters cannot do, and adapters that cannot be gone on with."""

from __future__ import annotations

from collections.abc import Iterator

from luthier.errors import Fault, ModelError
from luthier.model.adapter_files import KINDS, adapter_directory, adapter_settings
from luthier.model.known_tokens import added_before_loading
from luthier.plan.refusal import Row
from luthier.recipe import Recipe


def adapter_rows(recipe: Recipe) -> tuple[Row, ...]:
    """What kinds and starts of adapters cannot do."""
    adapter, bits = recipe.adapter, recipe.quantise.bits
    added = {*added_before_loading(recipe)} & {*recipe.tokenizer.added, *recipe.tokenizer.added_special}
    lora, virtual = adapter.kind == "lora", adapter.kind in ("prefix", "prompt")
    odd = any(rank % 2 for rank in (adapter.rank, *adapter.rank_pattern.values()))
    return (
        (
            virtual and bool(adapter.modules_to_save),
            "adapter.modules_to_save",
            f"only lora and ia3 train modules beside them, {adapter.kind} does not",
            "use lora, or remove it",
        ),
        (
            virtual and recipe.output.merge,
            "output.merge",
            f"only what changes weights can be merged into them, and {adapter.kind} adds tokens",
            "set output.merge: false",
        ),
        (
            bool(added) and virtual,
            "tokenizer.added",
            f"only lora and ia3 train new tokens' rows beside them: PEFT's file of a {adapter.kind} cannot hold any",
            "use lora or ia3",
        ),
        (
            lora and adapter.init == "loftq" and (bits == 16 or adapter.dora),
            "adapter.init",
            "LoftQ needs quantised weights, whose loss it starts from, and no DoRA",
            "set quantise.bits: 4 and adapter.dora: false",
        ),
        (
            lora and adapter.init in ("pissa", "olora") and bits < 16,
            "adapter.init",
            f"{adapter.init} needs full weights to take its start from",
            "use loftq, or quantise.bits: 16",
        ),
        (
            lora and adapter.init == "orthogonal" and odd,
            "adapter.init",
            "an orthogonal start needs even ranks",
            "make adapter.rank and adapter.rank_pattern even",
        ),
    )


def continued(recipe: Recipe) -> Iterator[Fault]:
    """An adapter to go on from that is not there, or of another kind."""
    adapter = recipe.adapter
    if adapter.kind == "none" or adapter.continue_from is None:
        return
    key = "adapter.continue_from"
    try:
        kind = adapter_settings(adapter_directory(adapter.continue_from)).get("peft_type")
    except ModelError as error:
        yield from (Fault(f"{one.place}: {one.reason}", key, one.remedy) for one in error.faults)
        return
    if KINDS.get(str(kind)) != adapter.kind:
        ours = KINDS.get(str(kind))
        remedy = f"set adapter.kind: {ours}" if ours else "merge it first"
        yield Fault(f"{adapter.continue_from} holds a {kind} adapter, not {adapter.kind}", key, remedy)

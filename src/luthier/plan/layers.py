"""What an adapter's settings say of the model's layers and cannot hold, known from the checkpoint's headers alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from luthier.errors import Fault, ModelError
from luthier.model.chatglm import LIKE_LLAMA, native_names
from luthier.model.last_layers import EMBEDDINGS, OUTPUTS
from luthier.model.layer_names import EXPERTS, NO_EXPERTS, absent, beside_rows, bypassed, misnamed
from luthier.model.shape import Shape, shape_of_directory
from luthier.plan.parameters import adapted_layers
from luthier.recipe import Recipe

SAME_NAMES = (
    *LIKE_LLAMA,
    *("glm", "gemma3_text", "phi", "phi3", "gpt2", "opt", "bloom", "falcon", "gpt_neox", "mamba", "mamba2"),
)
"""Architectures whose checkpoints call the layers as transformers does, but for the output layer; of the others the
names are known when the model is there."""


def layer_faults(recipe: Recipe) -> Iterator[Fault]:
    """What is wrong with an adapter to begin on a model whose directory is here."""
    path = recipe.model.path
    if recipe.adapter.kind == "none" or recipe.adapter.continue_from is not None or path is None:
        return
    directory = Path(path).expanduser()
    if not directory.is_dir():
        return
    try:
        shape = shape_of_directory(directory)
    except ModelError:
        return
    adapter = native_names(recipe.adapter, shape.architecture)
    if shape.architecture in SAME_NAMES:
        yield from misnamed(adapter, modules_of(shape))
    yield from bypassed(adapter, shape.architecture, modules_of(shape))
    named = recipe.model_copy(update={"adapter": adapter})
    experts = adapter.kind == "lora" and any(".experts." in name for name in adapted_layers(named, shape))
    if experts and adapter.init in ("pissa", "olora"):
        yield Fault(EXPERTS.format(adapter.init), "adapter.init", NO_EXPERTS)
    layers = [name.removesuffix(".weight") for name in shape.parameters]
    embedding = next((name for name in layers if name.endswith(EMBEDDINGS)), None)
    if embedding is not None and (recipe.tokenizer.added or recipe.tokenizer.added_special):
        tied = not any(name.endswith(OUTPUTS) for name in layers)
        yield from beside_rows(adapter, embedding, OUTPUTS[0], tied=tied)


def passed_over(recipe: Recipe, shape: Shape) -> Iterator[str]:
    """What to say of targets that the model lacks and that are no mistake."""
    if recipe.adapter.kind not in ("lora", "ia3") or shape.architecture not in SAME_NAMES:
        return
    lacking = absent(recipe.adapter, modules_of(shape))
    if lacking:
        yield f"adapter.targets: the model has no {', '.join(lacking)}; only the other targets are adapted"


def modules_of(shape: Shape) -> list[str]:
    """The names of the modules that hold parameters, and of those around them, as transformers has them.

    Files on the hub may leave out the model's first name, so each stands here with it and without.
    """
    found = dict.fromkeys([OUTPUTS[0], "score"])
    for parameter in shape.parameters:
        parts = parameter.split(".")[:-1]
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name not in OUTPUTS:
                found |= dict.fromkeys([name, f"model.{name}", f"transformer.{name}"])
    return list(found)

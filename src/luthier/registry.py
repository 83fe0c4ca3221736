"""Names a recipe may use -> the code behind them, imported only when asked for.

Each table maps a name to ``"module:attribute"``. Packages add rows through the entry-point group
``luthier.<table>``; a recipe may also write ``"module:attribute"`` itself for its author's own code. Importing it runs
it, so a recipe of Luthier's own is to be trusted like a program; another system's file can name no code
(``dialects/read.py``), and ``luthier read`` and ``explain`` import nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from luthier.errors import RecipeError, nearest

TABLES: dict[str, dict[str, str]] = {
    "formats": {
        "alpaca": "luthier.data.formats.alpaca:read",
        "choices": "luthier.data.formats.instruct:choices",
        "completion": "luthier.data.formats.pairs:completion",
        "gpteacher": "luthier.data.formats.instruct:gpteacher",
        "human_assistant": "luthier.data.formats.human_assistant:read",
        "input_output": "luthier.data.formats.input_output:read",
        "jeopardy": "luthier.data.formats.instruct:jeopardy",
        "labelled": "luthier.data.formats.pairs:labelled",
        "messages": "luthier.data.formats.messages:read",
        "oasst": "luthier.data.formats.instruct:oasst",
        "pairs": "luthier.data.formats.pairs:pairs",
        "question_answer": "luthier.data.formats.instruct:question_answer",
        "reflection": "luthier.data.formats.instruct:reflection",
        "summary": "luthier.data.formats.instruct:summary",
        "text": "luthier.data.formats.text:read",
        "tokens": "luthier.data.formats.tokens:read",
    },
    "methods": {
        "cpo": "luthier.methods.preference:ContrastivePreference",
        "dpo": "luthier.methods.preference:DirectPreference",
        "ipo": "luthier.methods.preference:IdentityPreference",
        "kto": "luthier.methods.kto:KahnemanTversky",
        "orpo": "luthier.methods.preference:OddsRatio",
        "pretrain": "luthier.methods.causal:Pretrain",
        "reward": "luthier.methods.reward:Reward",
        "sft": "luthier.methods.causal:SupervisedFineTuning",
        "simpo": "luthier.methods.preference:SimplePreference",
    },
    "optimizers": {
        "adafactor": "luthier.train.optimizers.plain:adafactor",
        "adagrad": "luthier.train.optimizers.plain:adagrad",
        "adamw": "luthier.train.optimizers.plain:adamw",
        "adopt_adamw": "luthier.train.optimizers.others:adopt",
        "adamw_8bit": "luthier.train.optimizers.bits_and_bytes:build",
        "adamw_bnb_8bit": "luthier.train.optimizers.bits_and_bytes:build",
        "adamw_torch_4bit": "luthier.train.optimizers.torch_ao:build",
        "adamw_torch_8bit": "luthier.train.optimizers.torch_ao:build",
        "ademamix": "luthier.train.optimizers.bits_and_bytes:build",
        "ademamix_8bit": "luthier.train.optimizers.bits_and_bytes:build",
        "ao_adamw_4bit": "luthier.train.optimizers.torch_ao:build",
        "ao_adamw_8bit": "luthier.train.optimizers.torch_ao:build",
        "ao_adamw_fp8": "luthier.train.optimizers.torch_ao:build",
        "apollo_adamw": "luthier.train.optimizers.low_rank:apollo",
        "came_pytorch": "luthier.train.optimizers.others:came",
        "galore_adafactor": "luthier.train.optimizers.low_rank:galore",
        "galore_adamw": "luthier.train.optimizers.low_rank:galore",
        "grokadamw": "luthier.train.optimizers.grok:build",
        "lamb": "luthier.train.optimizers.bits_and_bytes:build",
        "lars": "luthier.train.optimizers.bits_and_bytes:build",
        "lion_32bit": "luthier.train.optimizers.bits_and_bytes:build",
        "lion_8bit": "luthier.train.optimizers.bits_and_bytes:build",
        "lion_pytorch": "luthier.train.optimizers.others:lion",
        "muon": "luthier.train.optimizers.plain:muon",
        "optimi_adamw": "luthier.train.optimizers.others:optimi",
        "paged_adamw_32bit": "luthier.train.optimizers.bits_and_bytes:build",
        "paged_adamw_8bit": "luthier.train.optimizers.bits_and_bytes:build",
        "paged_ademamix_32bit": "luthier.train.optimizers.bits_and_bytes:build",
        "paged_ademamix_8bit": "luthier.train.optimizers.bits_and_bytes:build",
        "paged_lion_32bit": "luthier.train.optimizers.bits_and_bytes:build",
        "paged_lion_8bit": "luthier.train.optimizers.bits_and_bytes:build",
        "rmsprop": "luthier.train.optimizers.plain:rmsprop",
        "rmsprop_bnb": "luthier.train.optimizers.bits_and_bytes:build",
        "rmsprop_bnb_32bit": "luthier.train.optimizers.bits_and_bytes:build",
        "rmsprop_bnb_8bit": "luthier.train.optimizers.bits_and_bytes:build",
        "schedule_free_adamw": "luthier.train.optimizers.schedule_free:build",
        "schedule_free_radam": "luthier.train.optimizers.schedule_free:build",
        "schedule_free_sgd": "luthier.train.optimizers.schedule_free:build",
        "sgd": "luthier.train.optimizers.plain:sgd",
        "stable_adamw": "luthier.train.optimizers.others:optimi",
    },
    "schedules": {
        "constant": "luthier.train.schedule:constant",
        "cosine": "luthier.train.schedule:cosine",
        "cosine_warmup_with_min_lr": "luthier.train.schedule:cosine",
        "cosine_with_restarts": "luthier.train.schedule:cosine_with_restarts",
        "greedy": "luthier.train.following:Following",
        "inverse_sqrt": "luthier.train.schedule:inverse_sqrt",
        "linear": "luthier.train.schedule:linear",
        "log_sweep": "luthier.train.whole_rates:log_sweep",
        "one_cycle": "luthier.train.whole_rates:one_cycle",
        "polynomial": "luthier.train.schedule:polynomial",
        "reduce_lr_on_plateau": "luthier.train.following:Following",
        "rex": "luthier.train.schedule:rex",
        "warmup_cosine_lr": "luthier.train.deepspeed_rates:warmup_cosine_lr",
        "warmup_decay_lr": "luthier.train.deepspeed_rates:warmup_lr",
        "warmup_lr": "luthier.train.deepspeed_rates:warmup_lr",
        "warmup_stable_decay": "luthier.train.schedule:warmup_stable_decay",
    },
    "metrics": {
        "bleu-4": "luthier.evaluate.overlap:bleu_4",
        "chrf": "luthier.evaluate.chrf:chrf",
        "exact_match": "luthier.evaluate.metrics:exact_match",
        "rouge-1": "luthier.evaluate.overlap:rouge_1",
        "rouge-2": "luthier.evaluate.overlap:rouge_2",
        "rouge-l": "luthier.evaluate.overlap:rouge_l",
    },
    "trackers": {
        "comet": "luthier.track.lines:Comet",
        "mlflow": "luthier.track.mlflow:Mlflow",
        "swanlab": "luthier.track.lines:SwanLab",
        "tensorboard": "luthier.track.tensorboard:TensorBoard",
        "trackio": "luthier.track.lines:Trackio",
        "wandb": "luthier.track.wandb:WeightsAndBiases",
    },
    "engines": {
        "ddp": "luthier.train.engines.ddp:DataParallel",
        "deepspeed": "luthier.train.engines.deepspeed:ZeroRedundancy",
        "fsdp": "luthier.train.engines.fsdp:FullyShared",
        "single": "luthier.train.engines.single:SingleDevice",
    },
    "dialects": {
        "axolotl": "luthier.dialects.axolotl:AXOLOTL",
        "chatglm3": "luthier.dialects.chatglm3:CHATGLM3",
        "firefly": "luthier.dialects.firefly:FIREFLY",
        "luthier": "luthier.dialects.native:NATIVE",
        "peft_sft": "luthier.dialects.peft_sft:PEFT_SFT",
        "training_arguments": "luthier.dialects.training_arguments:TRAINING_ARGUMENTS",
    },
}


@cache
def _installed(table: str) -> dict[str, EntryPoint]:
    """The rows that installed packages add; looked for once, since it reads the metadata of every package."""
    return {point.name: point for point in entry_points(group=f"luthier.{table}")}


def names(table: str) -> list[str]:
    """All names of a table, ours and those of installed packages, sorted."""
    return sorted({*TABLES[table], *_installed(table)})


_FOLDERS: list[str] = []
"""Where modules that recipes name may lie."""


def look_in(*folders: Path) -> None:
    """Find the modules that a recipe names in these folders too, after everything that is installed.

    As long as it names none, no file there can be taken for a package that is not installed.
    """
    _FOLDERS.extend(map(str, map(Path.resolve, folders)))


def known(table: str, name: str) -> bool:
    """Whether ``resolve`` would look anything up for ``name`` (nothing is imported)."""
    return ":" in name or name in names(table)


def _open_folders() -> None:
    """Look in the folders from now on: a recipe names a module of its user's own."""
    sys.path.extend(folder for folder in dict.fromkeys(_FOLDERS) if folder not in sys.path)


def resolve(table: str, name: str) -> Any:
    """The object behind ``name``.

    Raises:
        RecipeError: the name is in no table; the nearest known one is suggested. Or the module that it names cannot be
            imported, whatever it is that goes wrong there.
    """
    target = TABLES[table].get(name)
    if target is None and ":" in name:
        _open_folders()
        target = name
    if target is None:
        point = _installed(table).get(name)
        if point is not None:
            return point.load()
        suggestion = nearest(name, names(table))
        raise RecipeError(
            f"{name!r} is not one of the {table}",
            remedy=f"did you mean {suggestion!r}?" if suggestion else f"choose one of: {', '.join(names(table))}",
        )
    module, _, attribute = target.partition(":")
    if not module or module.startswith(".") or not attribute:
        raise RecipeError(f"{name!r} names no module and attribute", remedy="write it as module:attribute")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        if target == TABLES[table].get(name):
            raise
        reason = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise RecipeError(
            f"{name!r} could not be loaded: {reason}",
            remedy="write it as module:attribute, with the module installed, beside the recipe or in this folder",
        ) from error


def code_of(table: str, name: str) -> tuple[str, list[Path]]:
    """What says whether the code behind a name is still the same: its package's name and version, and its own files.

    Both are empty for our own, which change with Luthier. Of code in a package, all files of the package count, since
    they import one another.
    """
    point = None
    if name in TABLES[table] or (":" not in name and (point := _installed(table).get(name)) is None):
        return "", []
    if point is None:
        _open_folders()
    version = f"{point.dist.name} {point.dist.version}" if point is not None and point.dist is not None else ""
    module = (name if point is None else point.value).partition(":")[0]
    return version, _files_of(module)


def _files_of(module: str) -> list[Path]:
    top = module.partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if found is None:
        return []
    if found.submodule_search_locations is not None:
        folders = map(Path, found.submodule_search_locations)
        return sorted(path for folder in folders for path in folder.rglob("*.py") if path.is_file())
    return [Path(found.origin)] if found.has_location and found.origin else []

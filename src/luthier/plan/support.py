"""What a recipe may say that this version cannot do yet: refused by name before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from luthier.errors import Fault, nearest
from luthier.recipe import Recipe
from luthier.registry import known, names

Row = tuple[bool, str, str, str]
"""(whether the recipe asks for it, dotted key, reason, remedy)"""


def unsupported(recipe: Recipe) -> list[Fault]:
    """Every setting that this version would not honour."""
    return [*_names(recipe), *(Fault(reason, key, remedy) for missing, key, reason, remedy in rows(recipe) if missing)]


def _names(recipe: Recipe) -> Iterator[Fault]:
    asked = [
        ("method.kind", "methods", recipe.method.kind),
        ("optimizer.kind", "optimizers", recipe.optimizer.kind),
        ("schedule.kind", "schedules", recipe.schedule.kind),
        *(("evaluate.metrics", "metrics", metric) for metric in recipe.evaluate.metrics),
        *(
            ("data.format", "formats", s.format)
            for s in (*recipe.data.train, *recipe.data.evaluate, *recipe.data.test)
            if s.format != "auto"
        ),
    ]
    for key, table, name in asked:
        if not known(table, name):
            near = nearest(name, names(table))
            yield Fault(
                f"{name!r} is not there",
                key,
                f"did you mean {near}?" if near else f"use one of: {', '.join(names(table))}",
            )


def rows(recipe: Recipe) -> tuple[Row, ...]:
    """Every value that is not there yet, whether the recipe asks for it or not."""
    batch, data, method, adapter = recipe.batch, recipe.data, recipe.method, recipe.adapter
    later = "leave it at its default"
    return (
        (
            adapter.kind not in ("none", "lora"),
            "adapter.kind",
            f"{adapter.kind} adapters are not there yet",
            "use lora",
        ),
        (adapter.init == "loftq", "adapter.init", "LoftQ needs quantised weights, which are not there yet", later),
        (
            adapter.continue_from is not None,
            "adapter.continue_from",
            "going on from an adapter is not there yet",
            "merge it first",
        ),
        (recipe.quantise.bits < 16, "quantise.bits", "quantised weights are not there yet", "use quantise.bits: 16"),
        (
            recipe.pack.kind in ("first_fit", "concatenate"),
            "pack.kind",
            f"{recipe.pack.kind} is not there yet",
            "use best_fit",
        ),
        (
            recipe.model.attention not in ("auto", "sdpa"),
            "model.attention",
            f"{recipe.model.attention} is not there yet",
            "use auto",
        ),
        (
            recipe.parallel.engine not in ("auto", "single"),
            "parallel.engine",
            "only one process is there yet",
            "use single",
        ),
        (
            recipe.parallel.stage > 0 or recipe.parallel.deepspeed is not None,
            "parallel.stage",
            "sharding is not there yet",
            later,
        ),
        (
            recipe.parallel.tensor * recipe.parallel.context > 1,
            "parallel",
            "tensor and context parallel are not there yet",
            later,
        ),
        (batch.find_micro, "batch.find_micro", "it is not there yet", "set batch.micro yourself"),
        (
            batch.world not in (None, 1),
            "batch.world",
            "several processes are not there yet",
            "multiply batch.accumulation instead",
        ),
        (data.group_by_length, "data.group_by_length", "it is not there yet", later),
        (
            any(s.weight != 1 for s in (*data.train, *data.evaluate)),
            "data.train.weight",
            "mixing by weight is not there yet",
            later,
        ),
        (method.neftune_alpha is not None, "method.neftune_alpha", "NEFTune is not there yet", later),
        (method.label_smoothing > 0, "method.label_smoothing", "it is not there yet", later),
        (method.z_loss > 0, "method.z_loss", "it is not there yet", later),
        (recipe.optimizer.lora_plus is not None, "optimizer.lora_plus", "LoRA+ is not there yet", later),
        (recipe.optimizer.embedding_lr is not None, "optimizer.embedding_lr", "it is not there yet", later),
        (recipe.runtime.compile, "runtime.compile", "torch.compile is not there yet", later),
        (recipe.runtime.checkpoint_every > 1, "runtime.checkpoint_every", "it is not there yet", later),
        (recipe.runtime.kernels.liger == "on", "runtime.kernels.liger", "Liger's kernels are not there yet", later),
        *(
            (switch == "on", f"runtime.kernels.{name}", "this kernel is not there yet", later)
            for name, switch in recipe.runtime.kernels
            if name != "liger"
        ),
        (recipe.runtime.debug, "runtime.debug", "looking for the layer is not there yet", later),
        (recipe.evaluate.keep_best, "evaluate.keep_best", "it is not there yet", later),
        (recipe.evaluate.best_metric != "loss", "evaluate.best_metric", "only loss is there yet", later),
        (recipe.evaluate.higher_is_better, "evaluate.higher_is_better", "only loss is there yet, and it falls", later),
        (recipe.precision.full_evaluation, "precision.full_evaluation", "it is not there yet", later),
        (
            bool(recipe.track.to),
            "track.to",
            "trackers are not there yet",
            "leave it empty; the run's own report has the curves",
        ),
        (recipe.output.merge, "output.merge", "merging is not there yet", "merge with PEFT's merge_and_unload"),
        (
            recipe.output.hub.push,
            "output.hub.push",
            "uploading is not there yet",
            "upload the folder with the hub's own command",
        ),
        (
            bool(
                recipe.tokenizer.added or recipe.tokenizer.added_special or recipe.tokenizer.bos or recipe.tokenizer.eos
            )
            or bool(recipe.tokenizer.pad or recipe.tokenizer.unk),
            "tokenizer",
            "changing a tokenizer's tokens is not there yet",
            "save a tokenizer with them and set tokenizer.path",
        ),
    )

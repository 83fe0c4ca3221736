"""What a recipe may say that this version cannot do yet: refused by name before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from luthier.environment import cxx
from luthier.errors import Fault, RecipeError, nearest
from luthier.model.kernels.choose import COMPILE_MODES, installed_here, lacks_compiler
from luthier.plan.adapters import adapter_rows, continued
from luthier.plan.compute import device_here
from luthier.plan.instead import installed, unpaged
from luthier.plan.layers import layer_faults, trainable_faults, weight_faults
from luthier.plan.preferences import preference_rows
from luthier.plan.refusal import Row
from luthier.plan.several import shared_rows
from luthier.recipe import Recipe
from luthier.recipe.optimizers import NEEDS_TARGETS, OPTIMIZERS, REFUSED, SETTINGS, STANDS_IN
from luthier.registry import known, names, resolve

PACKAGES = ("jieba", "rouge_chinese", "nltk")
"""What ROUGE and BLEU are computed by."""

UNMOVED = ("adafactor", "adagrad", "galore_adafactor")
"""Optimisers without momentum."""

UNRUN = (*REFUSED, *STANDS_IN)
"""Names of optimisers that are known, and have their own words."""


def unsupported(recipe: Recipe) -> list[Fault]:
    """Every setting of a recipe, as it is after ``substituted``, that this version would not honour."""
    return [
        *_names(recipe),
        *_packages(recipe),
        *continued(recipe),
        *weight_faults(recipe),
        *layer_faults(recipe),
        *trainable_faults(recipe),
        *_compiler(recipe),
        *_optimizer(recipe),
        *(
            Fault(reason, key, remedy)
            for missing, key, reason, remedy in (*rows(recipe), *shared_rows(recipe))
            if missing
        ),
    ]


def _names(recipe: Recipe) -> Iterator[Fault]:
    asked = [
        ("method.kind", "methods", recipe.method.kind),
        *(("optimizer.kind", "optimizers", kind) for kind in (recipe.optimizer.kind,) if kind not in UNRUN),
        ("schedule.kind", "schedules", recipe.schedule.kind),
        *(("track.to", "trackers", name) for name in recipe.track.to),
        *(("evaluate.metrics", "metrics", metric) for metric in recipe.evaluate.metrics if recipe.evaluate.generates),
        *(
            ("data.format", "formats", s.format)
            for s in (*recipe.data.train, *recipe.data.evaluate, *recipe.data.test)
            if s.format != "auto"
        ),
    ]
    for key, table, name in dict.fromkeys(asked):
        if ":" in name:
            yield from _own_code(key, table, name)
        elif not known(table, name):
            near = nearest(name, names(table))
            yield Fault(
                f"{name!r} is not there",
                key,
                f"did you mean {near}?" if near else f"use one of: {', '.join(names(table))}",
            )


def _own_code(key: str, table: str, name: str) -> Iterator[Fault]:
    """What is wrong with code of the user's own, which is imported now rather than when it is needed."""
    try:
        if not callable(resolve(table, name)):
            yield Fault(f"{name!r} cannot be called", key, "name a function or a class")
    except RecipeError as error:
        yield from (Fault(one.reason, key, one.remedy) for one in error.faults)


def _packages(recipe: Recipe) -> Iterator[Fault]:
    """Packages that the recipe needs and that are not installed."""
    if recipe.quantise.bits < 16 and not installed("bitsandbytes"):
        yield Fault("needs bitsandbytes, not installed", "quantise.bits", "pip install 'luthier[quantise]'")
    wanted = [metric for metric in recipe.evaluate.metrics if metric.startswith(("rouge-", "bleu-"))]
    lacking = [name for name in PACKAGES if not installed(name)] if recipe.evaluate.generates and wanted else []
    if lacking:
        yield Fault(
            f"{', '.join(wanted)} need {', '.join(lacking)}, not installed",
            "evaluate.metrics",
            'pip install "luthier[metrics]", or set evaluate.metrics=[exact_match]',
        )


def _optimizer(recipe: Recipe) -> Iterator[Fault]:
    """An optimiser that nothing here runs, or not on this device, or not before something is installed or named."""
    kind, key = recipe.optimizer.kind, "optimizer.kind"
    facts = OPTIMIZERS.get(kind)
    if kind in REFUSED:
        reason, remedy = REFUSED[kind]
        yield Fault(reason, key, remedy)
    elif kind in STANDS_IN:
        yield Fault(f"{kind} is not there", key, f"use {STANDS_IN[kind][0]}, or set optimizer.fallback: replace")
    elif facts is not None and not installed(facts.package):
        yield Fault(f"{kind} needs {facts.install}, which is not installed", key, f"pip install {facts.install}")
    elif kind.startswith("paged_") and facts is not None and device_here(recipe.runtime.device) == "cpu":
        remedy = f"use {unpaged(kind)}, or set optimizer.fallback: replace"
        yield Fault(f"{kind} needs a GPU: a CPU has no second memory to page to", key, remedy)
    if kind in NEEDS_TARGETS and not recipe.optimizer.args.get("target_modules"):
        key = "optimizer.args.target_modules"
        yield Fault(f"{kind} needs the names of the layers whose gradients it projects", key, "write all-linear")
    elif kind in NEEDS_TARGETS and recipe.adapter.kind in ("ia3", "prefix", "prompt"):
        reason = f"{kind} projects the gradients of matrices, and an adapter of kind {recipe.adapter.kind} has none"
        yield Fault(reason, key, "use adamw, or adapter.kind: lora")
    for name in sorted(SETTINGS.keys() & recipe.optimizer.args.keys()):
        muons = (kind, name) == ("muon", "eps")  # a constant of its own, beside AdamW's for what is no matrix
        if facts is not None and not muons and not set(SETTINGS[name]) <= set(facts.unused):
            place, remedy = f"optimizer.args.{name}", f"write {' and '.join(SETTINGS[name])}"
            yield Fault(f"{name} is a setting of its own, which this would not change", place, remedy)


def _compiler(recipe: Recipe) -> Iterator[Fault]:
    """What torch.compile cannot do, or not without something to build its code with."""
    runtime = recipe.runtime
    if not runtime.compile:
        return
    lacking = lacks_compiler(device_here(runtime.device), installed_here(), runtime.compile_backend, cxx())
    if lacking:
        yield Fault(lacking, "runtime.compile", "install it, or set runtime.compile: false")
    if runtime.compile_mode is None:
        return
    if runtime.compile_mode not in COMPILE_MODES:
        modes = ", ".join(COMPILE_MODES)
        yield Fault(f"there is no mode {runtime.compile_mode!r}", "runtime.compile_mode", f"use one of: {modes}")
    elif runtime.compile_backend not in (None, "inductor"):
        yield Fault(f"{runtime.compile_backend} has no modes", "runtime.compile_mode", "remove it, or use inductor")


def rows(recipe: Recipe) -> tuple[Row, ...]:
    """Every value that is not there yet, whether the recipe asks for it or not."""
    data = recipe.data
    later = "leave it at its default"
    return (
        *adapter_rows(recipe),
        *preference_rows(recipe),
        *_term_rows(recipe),
        (
            recipe.schedule.kind == "one_cycle"
            and recipe.optimizer.kind in UNMOVED
            and recipe.schedule.args.get("cycle_momentum") is not False,
            "schedule.args.cycle_momentum",
            f"one_cycle moves the momentum against the rate, which needs another optimiser than {', '.join(UNMOVED)}",
            "set it to false, or use adamw",
        ),
        (
            recipe.parallel.tensor * recipe.parallel.context > 1,
            "parallel",
            "sharing out a matrix or a sequence needs GPUs joined closely, and is not there",
            "set both to 1; parallel.engine: fsdp with parallel.stage: 3 shares out the weights instead",
        ),
        (
            any(s.weight != 1 for s in (*data.evaluate, *data.test)),
            "data.evaluate.weight",
            "only rows to train on have weights",
            later,
        ),
    )


def _term_rows(recipe: Recipe) -> tuple[Row, ...]:
    """Terms of the cross-entropy, which judged answers are not learned by."""
    method = recipe.method
    judged = method.kind not in ("sft", "pretrain") and ":" not in method.kind
    told = f"it is a term of cross-entropy, which only sft and pretrain learn by, not {method.kind}"
    return (
        (judged and method.label_smoothing > 0, "method.label_smoothing", told, "leave it at its default"),
        (judged and method.z_loss > 0, "method.z_loss", told, "leave it at its default"),
        (judged and method.weighting != "equal", "method.weighting", told, "leave it at its default"),
    )

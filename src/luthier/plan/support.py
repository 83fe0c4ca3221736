"""What a recipe may say that this version cannot do yet: refused by name before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from luthier.environment import cxx, processes
from luthier.errors import Fault, ModelError, RecipeError, nearest
from luthier.model.adapter_files import KINDS, adapter_directory, adapter_settings, starts_as_nothing
from luthier.model.kernels.choose import COMPILE_MODES, installed_here, lacks_compiler
from luthier.plan.compute import device_here
from luthier.plan.engine import SHARDED, engine_of
from luthier.plan.instead import installed, unpaged
from luthier.plan.preferences import preference_rows, reference_of
from luthier.recipe import Recipe
from luthier.recipe.optimizers import NEEDS_TARGETS, OPTIMIZERS, REFUSED, STANDS_IN
from luthier.registry import known, names, resolve

PACKAGES = ("jieba", "rouge_chinese", "nltk")
"""What ROUGE and BLEU are computed by."""

UNMOVED = ("adafactor", "adagrad", "galore_adafactor")
"""Optimisers without momentum."""

UNRUN = (*REFUSED, *STANDS_IN)
"""Names of optimisers that are known, and have their own words."""

Row = tuple[bool, str, str, str]
"""(whether the recipe asks for it, dotted key, reason, remedy)"""


def unsupported(recipe: Recipe) -> list[Fault]:
    """Every setting of a recipe, as it is after ``substituted``, that this version would not honour."""
    return [
        *_names(recipe),
        *_packages(recipe),
        *_continued(recipe),
        *_compiler(recipe),
        *_optimizer(recipe),
        *(Fault(reason, key, remedy) for missing, key, reason, remedy in (*rows(recipe), *_shared(recipe)) if missing),
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


def _continued(recipe: Recipe) -> Iterator[Fault]:
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


def rows(recipe: Recipe) -> tuple[Row, ...]:
    """Every value that is not there yet, whether the recipe asks for it or not."""
    data = recipe.data
    later = "leave it at its default"
    return (
        *_adapter_rows(recipe),
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


FSDP_KNOWN = (
    *("hybrid", "version", "reshard_after_forward", "auto_wrap_policy", "min_num_params", "use_orig_params"),
    *("backward_prefetch", "backward_prefetch_policy", "forward_prefetch", "limit_all_gathers"),
    *("cpu_ram_efficient_loading", "sync_module_states", "state_dict_type", "final_state_dict_type"),
    *("xla", "xla_fsdp_grad_ckpt", "xla_fsdp_v2", "xla_fsdp_settings"),
)
"""Settings of FSDP that are honoured, or change its speed and files alone, whatever they say."""


def _shared(recipe: Recipe) -> tuple[Row, ...]:
    """What several processes cannot do."""
    parallel, there = recipe.parallel, processes()
    engine = engine_of(recipe, there).name
    sharded = SHARDED.get(engine, ())
    disk = "nvme" in str(parallel.deepspeed_config)
    begun = reference_of(recipe) == "pass" and recipe.method.reference == "auto"
    unread = [name for name in parallel.fsdp_config if name not in FSDP_KNOWN]
    return (
        (
            engine == "deepspeed" and not installed("deepspeed"),
            "parallel.engine",
            "needs DeepSpeed, not installed",
            "pip install 'luthier[deepspeed]', or set parallel.engine: fsdp, which shares out the same",
        ),
        (
            recipe.checkpoint.asynchronous and engine != "single",
            "checkpoint.asynchronous",
            f"under {engine} all processes write a checkpoint together, and wait for one another",
            "leave it at its default",
        ),
        (
            engine == "single" and there > 1,
            "parallel.engine",
            f"single is one process, and {there} were started",
            "set it to auto, or start one",
        ),
        (
            bool(sharded) and recipe.optimizer.kind not in sharded,
            "optimizer.kind",
            f"{recipe.optimizer.kind} does not run on the parts of matrices that {engine} shares out",
            f"use one of: {', '.join(sharded)}; or parallel.engine: ddp",
        ),
        (
            bool(sharded) and recipe.precision.compute == "fp16",
            "precision.compute",
            f"fp16 and its loss scale are not there under {engine}",
            "use bf16 or fp32",
        ),
        (
            engine == "fsdp" and recipe.adapter.kind in ("prefix", "prompt"),
            "adapter.kind",
            "its few numbers lie outside the layers that FSDP shares out",
            "use parallel.engine: ddp",
        ),
        (
            bool(sharded) and recipe.precision.full_evaluation,
            "precision.full_evaluation",
            f"weights that {engine} shares out are not cast for an evaluation",
            "set it to false: the loss differs by rounding alone",
        ),
        (
            bool(sharded) and reference_of(recipe) == "copy",
            "method.reference",
            f"a second whole model is not shared out by {engine}",
            "use method.reference: precomputed, an adapter, or parallel.engine: ddp",
        ),
        (
            bool(sharded) and begun and not starts_as_nothing(recipe.adapter),
            "method.reference",
            f"an adapter that starts as something would be its own reference, and {engine} has it in parts",
            "use method.reference: precomputed, or parallel.engine: ddp",
        ),
        (
            engine == "fsdp" and bool(unread),
            "parallel.fsdp_config",
            f"FSDP2 has no {', '.join(unread)}",
            "take it out",
        ),
        (
            engine != "single" and recipe.method.kind == "reward",
            "method.kind",
            f"a reward model goes around the hooks that {engine} adds gradients up by",
            "train it in one process",
        ),
        (
            there > 1 and recipe.batch.find_micro,
            "batch.find_micro",
            "where one process ran out of memory the others would wait for it",
            "set batch.micro yourself",
        ),
        (
            engine == "deepspeed" and disk,
            "parallel.deepspeed_config",
            "offloading to a disk is not there",
            "offload to cpu, or to nothing",
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


def _adapter_rows(recipe: Recipe) -> tuple[Row, ...]:
    """What kinds and starts of adapters cannot do."""
    adapter, bits = recipe.adapter, recipe.quantise.bits
    added = bool(recipe.tokenizer.added or recipe.tokenizer.added_special)
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
            added and adapter.kind in ("ia3", "prefix", "prompt"),
            "tokenizer.added",
            f"only lora trains new tokens' rows beside it, {adapter.kind} does not",
            "use lora",
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

"""The supervised fine-tuning script of PEFT's examples: its flags in a shell script, a command line, or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.dialects.accelerate import CHOICES, accelerate_companions, launcher_rows
from luthier.dialects.command_line import load_command
from luthier.dialects.companion import companion_read, yielding
from luthier.dialects.deepspeed import deepspeed_companion, names_deepspeed, under_deepspeed
from luthier.dialects.document import Document
from luthier.dialects.json_document import load_json
from luthier.dialects.peft_sft_environment import ENVIRONMENT
from luthier.dialects.peft_sft_model import MODEL, MODEL_DEFAULTS
from luthier.dialects.peft_sft_rows import DATA, DATA_DEFAULTS, whole_sources
from luthier.dialects.plain_values import masked, whole
from luthier.dialects.shell_word import Unclear
from luthier.dialects.table import Effect, Gather, Inert, Row, Spread, Values, applied, inert, refused, replaced
from luthier.dialects.tabular import Companion, TableDialect
from luthier.dialects.training_arguments import TRAINING_ARGUMENT_DEFAULTS, training_argument_rows
from luthier.dialects.training_arguments_trl import SFT

SWITCHES = frozenset(
    {
        *("packing", "append_concat_token", "add_special_tokens", "use_peft_lora", "use_4bit_quantization"),
        *("use_8bit_quantization", "use_nested_quant", "use_flash_attn", "use_reentrant", "use_unsloth", "use_loftq"),
        *("bf16", "fp16", "tf32", "gradient_checkpointing", "push_to_hub", "hub_private_repo", "group_by_length"),
        *("do_train", "do_eval", "disable_tqdm", "load_best_model_at_end", "save_only_model", "torch_compile"),
        *("remove_unused_columns", "dataloader_pin_memory", "dataloader_drop_last", "logging_first_step"),
        *("logging_nan_inf_filter", "skip_memory_metrics", "save_safetensors", "log_on_each_node", "use_cpu"),
        *("average_tokens_across_devices", "eval_do_concat_batches"),
    }
)

LISTS = frozenset({"report_to", "label_names", "debug", "include_for_metrics", "optim_target_modules"})

OWN = frozenset(
    {
        *("use_peft_lora", "chat_template_format", "splits", "use_4bit_quantization", "use_8bit_quantization"),
        *("use_nested_quant", "use_flash_attn", "use_reentrant", "use_unsloth", "bnb_4bit_quant_storage_dtype"),
    }
)
"""Flags of this script alone."""

FOREIGN = frozenset({"train_file", "train_file_path", "template_name", "train_mode", "train_args_file", "use_peft"})
"""Keys of other systems whose files look alike."""


def parse(text: str, name: str) -> Document:
    """A script, a command line, or JSON; tokens are masked.

    Raises:
        RecipeError: it is none of them.
    """
    if text.lstrip().startswith("{"):
        return masked(load_json(text, name), "hub_token", "push_to_hub_token")
    return load_command(text, name, SWITCHES, LISTS)


def recognises(document: Document) -> bool:
    """Whether the keys are this script's: its own flags, or a data set by its name."""
    keys = set(document.value)
    return bool(keys & (OWN | {"dataset_name"})) and not keys & FOREIGN and bool(keys & {"model_name_or_path", *OWN})


def companions(document: Document, folder: Path) -> list[Companion]:
    """The accelerate file of the launcher and the DeepSpeed files that either names."""
    launcher = document.value.get("launcher")
    launched = launcher if isinstance(launcher, dict) else {}
    given: list[Companion] = []
    config = launched.get("config_file")
    if isinstance(config, str) and not isinstance(config, Unclear):
        given += accelerate_companions(config, folder)
    for path in (document.value.get("deepspeed"), launched.get("deepspeed_config_file")):
        if isinstance(path, str) and path and not isinstance(path, Unclear):
            given.append(deepspeed_companion(path, folder))
    return given


def _config_file(value: Any, values: Values) -> Effect:
    if not companion_read(str(value), values):
        reason = f"there is no accelerate file {value} beside this script or above it"
        return refused(reason, "put it there, correct its path, or remove --config_file")
    return replaced({}, "it is read: its keys stand here with their own places")


def _processes(values: Values) -> Effect:
    each, nodes = values.get("launcher.nproc_per_node", 1), values.get("launcher.nnodes", 1)
    if str(each) in ("gpu", "auto", "cpu"):
        return inert("as many processes as there are devices")
    return applied({"batch.world": whole(each) * whole(nodes)}, "the processes that the batch was meant for")


def _gpus(value: Any, values: Values) -> Effect:
    nodes = values.get("launcher.num_nodes", 1)
    return applied({"batch.world": whole(value) * whole(nodes)}, "the processes that the batch was meant for")


_MEETING = "how processes find one another is the business of the machine at hand"

LAUNCHER: tuple[Row, ...] = (
    Inert("launcher.program", "Luthier starts itself"),
    Inert("launcher.script", "Luthier does what the script does"),
    Inert("launcher.another", "another training"),
    Inert("launcher.arguments", "words without a flag", only=(), remedy="put a flag before each value"),
    Spread("launcher.config_file", (), _config_file),
    Gather("launcher.nproc_per_node", ("batch.world",), _processes, old=("launcher.nproc",)),
    Gather("launcher.nnodes", ("batch.world",), _processes),
    Spread("launcher.num_gpus", ("batch.world",), _gpus),
    Inert("launcher.num_nodes", "counted with num_gpus"),
    *CHOICES,
    *launcher_rows(),
    Spread("launcher.num_cpu_threads_per_process", ("runtime.threads",), lambda value, values: _threads(value)),
    *(
        Inert(f"launcher.{name}", _MEETING)
        for name in (
            *("node_rank", "master_addr", "master_port", "standalone", "rdzv_id", "rdzv_endpoint", "hostfile"),
            *("include", "exclude", "use_env", "local_ranks_filter", "tee", "log_dir", "redirects", "quiet", "module"),
            *("no_python", "env", "mpirun_hostfile", "use_parallelism_config", "tpu", "tpu_cluster", "no_tpu_cluster"),
            *("vm", "no_local_rank", "enable_each_rank_log", "launcher", "launcher_args", "force_multi", "ssh_port"),
            *(
                "bind_cores_to_rank",
                "start_method",
                "run_path",
                "rdzv_timeout",
                "local_addr",
                "logs_specs",
                "autotuning",
            ),
        )
    ),
)


def _threads(value: Any) -> Effect:
    return applied({"runtime.threads": whole(value)})


def _half(row: Row) -> Row:
    """``bf16`` or ``fp16``, which when off leave the word to the launcher."""

    def before(value: Any, values: Values) -> Effect | None:
        told = any(key.endswith((": mixed_precision", "launcher.mixed_precision")) for key in values)
        off = str(value).lower() in ("false", "none")
        return inert("off: the launcher's mixed_precision decides") if told and off else None

    return yielding(row, before)


def _clear(row: Row) -> Row:
    """``row``, refusing a word that does not say what it means."""
    return yielding(
        row, lambda value, values: refused(value.reason, value.remedy) if isinstance(value, Unclear) else None
    )


def _rows() -> tuple[Row, ...]:
    own: tuple[Row, ...] = (
        *MODEL,
        *DATA,
        Spread("deepspeed", ("parallel.engine", "parallel.deepspeed"), names_deepspeed, whole=True),
    )
    known = {name for row in own for name in row.names}
    general = [row for row in under_deepspeed((*training_argument_rows(), *SFT)) if not known & set(row.names)]
    halves = [_half(row) if row.name in ("bf16", "fp16") else row for row in general]
    return tuple(map(_clear, (*own, *halves, *LAUNCHER, *ENVIRONMENT)))


PEFT_SFT = TableDialect(
    name="peft_sft",
    rows=_rows(),
    defaults=(*MODEL_DEFAULTS, *DATA_DEFAULTS, *TRAINING_ARGUMENT_DEFAULTS()),
    parse=parse,
    recognises=recognises,
    companions=companions,
    complete=whole_sources,
)

"""The YAML file of accelerate's launcher."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from luthier.dialects.accelerate import ACCELERATE_ROWS, CHOICES, accelerate_companions, launcher_rows
from luthier.dialects.companion import Yielding
from luthier.dialects.peft_sft import LAUNCHER
from luthier.dialects.reading import Account, Outcome, Reading
from luthier.dialects.table import Inert, Key, Row
from luthier.dialects.tabular import TableDialect

ALONE = TableDialect(name="accelerate", rows=ACCELERATE_ROWS)

HOST = TableDialect(
    name="host",
    rows=(
        Key("launcher.num_processes", "batch.world"),
        Key("gradient_accumulation_steps", "batch.accumulation"),
        Key("bf16", "precision.compute", lambda value: "bf16"),
    ),
    companions=lambda document, folder: accelerate_companions("configs/launch.yaml", folder),
)

FSDP = """\
compute_environment: LOCAL_MACHINE
debug: false
distributed_type: FSDP
downcast_bf16: 'no'
fsdp_config:
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_forward_prefetch: false
  fsdp_offload_params: true
  fsdp_sharding_strategy: SHARD_GRAD_OP
  fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer,MistralDecoderLayer
  fsdp_use_orig_params: false
machine_rank: 0
main_training_function: main
mixed_precision: bf16
num_machines: 1
num_processes: 4
rdzv_backend: static
same_network: true
tpu_env: []
tpu_use_cluster: false
use_cpu: false
"""

ZERO = {
    "distributed_type": "DEEPSPEED",
    "deepspeed_config": {
        "deepspeed_multinode_launcher": "standard",
        "gradient_accumulation_steps": 4,
        "offload_optimizer_device": "cpu",
        "offload_param_device": "none",
        "zero3_init_flag": True,
        "zero_stage": 3,
    },
    "num_processes": 8,
    "mixed_precision": "fp16",
}

BASE: dict[str, Any] = {"distributed_type": "FSDP"}

FLIPS: dict[str, tuple[Any, Any]] = {
    "distributed_type": ("MULTI_CPU", "DEEPSPEED"),
    "mixed_precision": ("no", "fp16"),
    "use_cpu": (False, True),
    "deepspeed_config.offload_optimizer_device": ("none", "cpu"),
    "deepspeed_config.offload_param_device": ("none", "cpu"),
    "fsdp_config.fsdp_sharding_strategy": (1, "HYBRID_SHARD_ZERO2"),
    "fsdp_config.fsdp_reshard_after_forward": (True, False),
    "fsdp_config.fsdp_transformer_layer_cls_to_wrap": ("A", "B"),
    "fsdp_config.fsdp_auto_wrap_policy": ("SIZE_BASED_WRAP", "NO_WRAP"),
    "fsdp_config.fsdp_offload_params": (False, True),
    "fsdp_config.fsdp_activation_checkpointing": (False, True),
    "dynamo_config.dynamo_backend": ("no", "INDUCTOR"),
    "megatron_lm_config.megatron_lm_tp_degree": (2, 4),
    "megatron_lm_config.megatron_lm_context_parallel_size": (2, 4),
    "megatron_lm_config.megatron_lm_num_micro_batches": (2, 4),
    "parallelism_config.parallelism_config_sp_size": (2, 4),
    "parallelism_config.parallelism_config_tp_size": (2, 4),
    "fp16": (False, True),
    "dynamo_config.dynamo_mode": ("default", "max-autotune"),
    "deepspeed_config.deepspeed_config_file": ("none", "ds.json"),
}


def dump(flat: dict[str, Any]) -> str:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *above, last = key.split(".")
        inner = tree
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return yaml.safe_dump(tree)


def alone(flat: dict[str, Any]) -> Reading:
    return ALONE.read(dump(flat), "launch.yaml", [])


def host(folder: Path, launch: str, text: str = "x: 1\n") -> Reading:
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / "launch.yaml").write_text(launch)
    return HOST.read(text, str(folder / "run.yml"), [])


def by_key(reading: Reading) -> dict[str, Account]:
    return {account.key: account for account in reading.accounts}


OF_A_FILE = "deepspeed_config.deepspeed_config_file"
"""Needs its file, and has a test of its own below."""

MAKING = [row for row in ACCELERATE_ROWS if row.targets and row.name != OF_A_FILE]


@pytest.mark.parametrize("row", MAKING, ids=lambda row: row.name)
def test_a_flipped_value_changes_the_recipe(row: Row) -> None:
    base = {} if row.name == "distributed_type" else BASE
    if row.name.startswith("dynamo"):
        base = {"dynamo_config.dynamo_backend": "inductor"}
    one, other = FLIPS.get(row.name, (1, 2))
    first, second = (alone({**base, row.name: value}) for value in (one, other))
    assert first.recipe != second.recipe
    assert by_key(second)[row.name].outcome is Outcome.APPLIED


def test_what_cannot_matter_says_why() -> None:
    idle = [row.inner for row in ACCELERATE_ROWS if isinstance(row, Yielding) and isinstance(row.inner, Inert)]
    assert len(idle) > 20
    assert all(row.reason for row in idle)


def test_an_fsdp_file(tmp_path: Path) -> None:
    reading = host(tmp_path, FSDP)
    keys = [one.key for one in reading.accounts if one.key.startswith("launch.yaml: ")]
    assert len(keys) == len(FSDP.splitlines()) - 1
    assert not [one for one in reading.accounts if one.outcome is Outcome.REFUSED]
    recipe = reading.recipe
    assert (recipe.parallel.engine, recipe.parallel.stage, recipe.batch.world) == ("fsdp", 2, 4)
    assert recipe.parallel.wrap == ("LlamaDecoderLayer", "MistralDecoderLayer")
    assert recipe.parallel.offload_parameters
    assert recipe.parallel.fsdp_config == {"forward_prefetch": False, "use_orig_params": False}
    assert recipe.precision.compute == "bf16"
    assert by_key(reading)["launch.yaml: num_processes"].place == "configs/launch.yaml:16"


def test_a_deepspeed_file_must_agree_with_the_flags(tmp_path: Path) -> None:
    launch = yaml.safe_dump(ZERO)
    agreeing = host(tmp_path, launch, "gradient_accumulation_steps: 4\n")
    key = "launch.yaml: deepspeed_config.gradient_accumulation_steps"
    assert by_key(agreeing)[key].outcome is Outcome.APPLIED
    assert (agreeing.recipe.parallel.engine, agreeing.recipe.parallel.stage) == ("deepspeed", 3)
    assert agreeing.recipe.precision.compute == "fp16"
    refused = by_key(host(tmp_path, launch, "gradient_accumulation_steps: 2\n"))[key]
    assert refused.outcome is Outcome.REFUSED
    assert "says 2; keep one" in refused.note


def test_the_scripts_own_precision_wins(tmp_path: Path) -> None:
    reading = host(tmp_path, yaml.safe_dump(ZERO), "bf16: true\n")
    assert by_key(reading)["launch.yaml: mixed_precision"].outcome is Outcome.INERT
    assert reading.recipe.precision.compute == "bf16"


def test_the_launchers_words_win_over_its_file(tmp_path: Path) -> None:
    reading = host(tmp_path, yaml.safe_dump(ZERO), "launcher: {num_processes: 2}\n")
    assert by_key(reading)["launch.yaml: num_processes"].outcome is Outcome.REPLACED
    assert reading.recipe.batch.world == 2


def test_a_deepspeed_json_within_is_read_too(tmp_path: Path) -> None:
    given = {"distributed_type": "DEEPSPEED", "deepspeed_config": {"deepspeed_config_file": "configs/z.json"}}
    missing = by_key(host(tmp_path, yaml.safe_dump(given)))["launch.yaml: deepspeed_config.deepspeed_config_file"]
    assert missing.outcome is Outcome.REFUSED
    (tmp_path / "configs" / "z.json").write_text('{"zero_optimization": {"stage": 2}}')
    reading = host(tmp_path, yaml.safe_dump(given))
    assert reading.recipe.parallel.stage == 2
    assert reading.recipe.parallel.deepspeed == "configs/z.json"
    assert by_key(reading)["z.json: zero_optimization.stage"].place == "configs/z.json:1"


@pytest.mark.parametrize(
    "given",
    [
        {"distributed_type": "ABACUS"},
        {"mixed_precision": "int3"},
        {"fsdp_config.fsdp_sharding_strategy": "SOME"},
        {"deepspeed_config.offload_param_device": "tape"},
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(given: dict[str, Any]) -> None:
    (found,) = alone(given).accounts
    assert found.outcome is Outcome.REFUSED
    assert "; " in found.note


@pytest.mark.parametrize(
    ("given", "outcome", "setting"),
    [
        ({"distributed_type": "TPU"}, Outcome.REPLACED, ("engine", "ddp")),
        ({"distributed_type": "MULTI_NPU"}, Outcome.REPLACED, ("engine", "ddp")),
        ({"distributed_type": "MEGATRON_LM"}, Outcome.REPLACED, ("engine", "fsdp")),
        ({"mixed_precision": "fp8"}, Outcome.REPLACED, ("engine", "auto")),
        ({"fp8_config": {"backend": "TE"}}, Outcome.INERT, ("engine", "auto")),
        ({"compute_environment": "AMAZON_SAGEMAKER"}, Outcome.INERT, ("engine", "auto")),
        ({"tpu_use_cluster": True}, Outcome.INERT, ("engine", "auto")),
        ({"downcast_bf16": "yes"}, Outcome.INERT, ("engine", "auto")),
        ({"megatron_lm_config.megatron_lm_tp_degree": 1}, Outcome.INERT, ("tensor", 1)),
        ({"megatron_lm_config.megatron_lm_tp_degree": 2}, Outcome.APPLIED, ("tensor", 2)),
        ({"megatron_lm_config.megatron_lm_pp_degree": 2}, Outcome.REFUSED, ("engine", "auto")),
        ({"fp16": False}, Outcome.INERT, ("engine", "auto")),
        ({"parallelism_config.parallelism_config_tp_size": 2}, Outcome.APPLIED, ("tensor", 2)),
        ({"parallelism_config.parallelism_config_cp_size": 2}, Outcome.APPLIED, ("context", 2)),
        ({"parallelism_config.parallelism_config_dp_shard_size": 2}, Outcome.INERT, ("engine", "auto")),
        ({"deepspeed_config.gradient_clipping": "auto"}, Outcome.REPLACED, ("engine", "auto")),
    ],
)
def test_what_only_steers_the_machine_is_not_refused(
    given: dict[str, Any], outcome: Outcome, setting: tuple[str, str]
) -> None:
    reading = alone(given)
    (found,) = reading.accounts
    assert (found.outcome, getattr(reading.recipe.parallel, setting[0])) == (outcome, setting[1])
    assert found.note


def test_every_field_of_todays_accelerate_has_a_row() -> None:
    from accelerate.commands.config.config_args import ClusterConfig

    names = {name for row in ACCELERATE_ROWS for name in row.names}
    assert {field.name for field in dataclasses.fields(ClusterConfig)} - names == set()


def test_an_unknown_key_is_told() -> None:
    assert "did you mean num_processes?" in alone({"num_proceses": 2}).accounts[0].note


def words_of_the_launcher() -> set[str]:
    """Every flag of accelerate launch but those that ask for help, cloud keys, or another program."""
    from accelerate.commands.launch import launch_command_parser

    flags = {flag for action in launch_command_parser()._actions for flag in action.option_strings}
    words = {flag.removeprefix("--").replace("-", "_") for flag in flags if flag.startswith("--")}
    return words - {"help", "aws_access_key_id", "aws_secret_access_key"}


def test_old_words_of_a_file_still_count(tmp_path: Path) -> None:
    assert alone({"dynamo_backend": "INDUCTOR"}).recipe.runtime.compile_backend == "inductor"
    assert host(tmp_path, "fp16: true\n").recipe.precision.compute == "fp16"
    assert host(tmp_path, "fp16: true\nmixed_precision: bf16\n").recipe.precision.compute == "bf16"


def test_every_word_of_the_launcher_has_a_name_of_its_own() -> None:
    names = [row.name for row in launcher_rows()]
    assert len(names) == len(set(names))
    known = {name for row in (*launcher_rows(), *CHOICES, *LAUNCHER) for name in row.names}
    assert {f"launcher.{word}" for word in words_of_the_launcher()} - known == set()
    assert {"launcher.zero_stage", "launcher.fsdp_offload_params", "launcher.num_processes"} <= set(names)

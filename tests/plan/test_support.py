"""What a recipe may say that this version cannot do: refused by name, and nothing passed over in silence."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.dialects import deepspeed_rows, names
from luthier.dialects.axolotl.training import OWN_OPTIMIZERS
from luthier.dialects.names import optimizer
from luthier.plan.support import rows, unsupported
from luthier.recipe import Recipe
from luthier.recipe.field import fields_of
from luthier.recipe.inert import inert, why_inert
from luthier.recipe.optimizers import NEEDS_TARGETS, OPTIMIZERS, REFUSED, STANDS_IN
from luthier.recipe.validate import build

ROWS = [{"path": "rows.jsonl"}]
REFUSING = ("plan/support.py", "plan/several.py", "plan/adapters.py")
OFF = {"kind": "dpo", "reference": "adapter_off"}
BASE: dict[str, Any] = {"model": {"path": "some/model"}, "data": {"train": ROWS, "evaluate": ROWS}}


def recipe(**sections: Any) -> Recipe:
    tree = dict(BASE)
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return build(tree, str)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("adapter.modules_to_save", {"adapter": {"kind": "prefix", "modules_to_save": ["lm_head"]}}),
    ("adapter.modules_to_save", {"adapter": {"kind": "prompt", "modules_to_save": ["lm_head"]}}),
    ("output.merge", {"adapter": {"kind": "prefix"}, "output": {"merge": True}}),
    ("output.merge", {"adapter": {"kind": "prompt"}, "output": {"merge": True}}),
    ("tokenizer.added", {"adapter": {"kind": "prompt"}, "tokenizer": {"added_special": ["<x>"]}}),
    ("tokenizer.added", {"adapter": {"kind": "prefix"}, "tokenizer": {"added": ["<y>"]}}),
    ("adapter.init", {"adapter": {"kind": "lora", "init": "loftq"}}),
    ("adapter.init", {"adapter": {"kind": "lora", "init": "loftq", "dora": True}, "quantise": {"bits": 4}}),
    ("adapter.init", {"adapter": {"kind": "lora", "init": "pissa"}, "quantise": {"bits": 4}}),
    ("adapter.init", {"adapter": {"kind": "lora", "init": "olora"}, "quantise": {"bits": 8}}),
    ("adapter.init", {"adapter": {"kind": "lora", "init": "orthogonal", "rank": 3}}),
    ("method.reference", {"method": {"kind": "kto", "reference": "precomputed"}}),
    ("method.reference", {"method": OFF}),
    ("method.reference", {"method": OFF, "adapter": {"kind": "lora", "bias": "lora_only"}}),
    ("method.reference", {"method": OFF, "adapter": {"kind": "lora", "init": "pissa"}}),
    ("method.loss", {"method": {"kind": "cpo", "loss": "robust"}}),
    ("method.preference_smoothing", {"method": {"kind": "dpo", "loss": "robust", "preference_smoothing": 0.5}}),
    ("pack.kind", {"method": {"kind": "dpo"}, "pack": {"kind": "concatenate"}}),
    ("batch.micro", {"method": {"kind": "kto"}, "pack": {"kind": "none"}}),
    ("evaluate.generate", {"method": {"kind": "reward"}, "evaluate": {"generate": True}, "data": {"test": ROWS}}),
    ("adapter.kind", {"method": {"kind": "reward"}, "adapter": {"kind": "prefix"}}),
    ("output.merge", {"method": {"kind": "reward"}, "adapter": {"kind": "lora"}, "output": {"merge": True}}),
    ("schedule.args.cycle_momentum", {"schedule": {"kind": "one_cycle"}, "optimizer": {"kind": "adafactor"}}),
    ("parallel", {"parallel": {"tensor": 2}}),
    ("parallel", {"parallel": {"context": 2}}),
    ("data.evaluate.weight", {"data": {"evaluate": [{"path": "a", "weight": 0.5}]}}),
    ("data.evaluate.weight", {"data": {"test": [{"path": "a", "weight": 0.5}]}}),
    ("method.label_smoothing", {"method": {"kind": "dpo", "label_smoothing": 0.1}}),
    ("method.z_loss", {"method": {"kind": "dpo", "z_loss": 1e-4}}),
    ("method.weighting", {"method": {"kind": "dpo", "weighting": "probability"}}),
]


@pytest.mark.parametrize(("key", "sections"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_not_there_is_refused_by_its_key_with_a_remedy(key: str, sections: dict[str, Any]) -> None:
    [fault] = unsupported(recipe(**sections))
    assert fault.place == key
    assert "not there" in fault.reason or "only" in fault.reason or "needs" in fault.reason
    assert fault.remedy


def test_every_row_of_the_table_is_tried() -> None:
    """Red when a row is added without a case, or taken away with its case left."""
    assert {key for _, key, _, _ in rows(recipe())} == {key for key, _ in CASES}


@pytest.mark.parametrize(
    ("sections", "key", "remedy"),
    [
        ({"method": {"kind": "sftt"}}, "method.kind", "did you mean sft?"),
        ({"method": {"kind": "grpo"}}, "method.kind", "did you mean orpo?"),
        ({"optimizer": {"kind": "adam"}}, "optimizer.kind", "did you mean adamw?"),
        ({"schedule": {"kind": "cosin"}}, "schedule.kind", "did you mean cosine?"),
        (
            {
                "evaluate": {"metrics": ["exact_match", "exact"], "generate": True},
                "data": {**BASE["data"], "test": ROWS},
            },
            "evaluate.metrics",
            "did you mean exact_match?",
        ),
        ({"track": {"to": ["tensorboard", "wandbb"]}}, "track.to", "did you mean wandb?"),
        ({"data": {"train": [{"path": "a", "format": "alpacca"}]}}, "data.format", "did you mean alpaca?"),
        ({"data": {"evaluate": [{"path": "a", "format": "alpacca"}]}}, "data.format", "did you mean alpaca?"),
        ({"data": {"test": [{"path": "a", "format": "alpacca"}]}}, "data.format", "did you mean alpaca?"),
    ],
)
def test_a_name_that_is_in_no_table_is_refused_with_the_nearest(sections: Any, key: str, remedy: str) -> None:
    [fault] = unsupported(recipe(**sections))
    assert fault.place == key and fault.remedy == remedy and fault.reason.endswith("is not there")


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"method": OFF, "adapter": {"kind": "lora", "init": "gaussian"}},
        {
            "adapter": {"kind": "lora", "init": "pissa"},
            "model": {"attention": "sdpa"},
            "parallel": {"engine": "single"},
        },
        {"pack": {"kind": "first_fit"}, "data": {"curriculum": "short_first", "mix": "in_turn"}},
        {"pack": {"kind": "concatenate"}},
        {"data": {"train": [{"path": "a", "weight": 0.5}, {"path": "b", "weight": 3.0}]}},
        {"adapter": {"kind": "lora", "init": "loftq"}, "quantise": {"bits": 4}},
        {"adapter": {"kind": "ia3", "modules_to_save": ["lm_head"]}, "quantise": {"bits": 8}},
        {"adapter": {"kind": "ia3"}, "tokenizer": {"added": ["x"], "added_special": ["<y>"]}},
        {"adapter": {"kind": "prefix"}, "runtime": {"gradient_checkpointing": True}, "batch": {"micro": 8}},
        {"adapter": {"kind": "prompt"}},
        {"batch": {"world": 1}, "pack": {"kind": "none"}, "runtime": {"kernels": {"liger": "off", "fuse_qkv": "off"}}},
    ],
    ids=str,
)
def test_what_is_there_is_let_through(sections: dict[str, Any]) -> None:
    assert unsupported(recipe(**sections)) == []


OWN = {
    "method.kind": {"method": {"kind": "{}:Method"}},
    "optimizer.kind": {"optimizer": {"kind": "{}:make"}},
    "schedule.kind": {"schedule": {"kind": "{}:curve"}},
    "evaluate.metrics": {"evaluate": {"metrics": ["exact_match", "{}:score"], "generate_during": True}},
    "data.format": {"data": {"train": [{"path": "a", "format": "{}:read"}]}},
}
"""Settings that take code of the user's own; {} is its module."""


def with_module(sections: Any, name: str) -> Any:
    return json.loads(json.dumps(sections).replace("{}", name))


@pytest.mark.parametrize("key", OWN)
def test_code_of_one_s_own_is_found_before_anything_is_prepared(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_there = "Method", "make", "curve", "score", "read"
    lines = [f"def {name}(*given): ..." for name in names_there]
    (tmp_path / "mine_whole.py").write_text("\n".join(lines))
    (tmp_path / "mine_empty.py").write_text("score = read = make = curve = Method = 3\n")
    (tmp_path / "mine_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert unsupported(recipe(**with_module(OWN[key], "mine_whole"))) == []
    for module, reason in (
        ("mine_empty", "cannot be called"),
        ("mine_broken", "could not be loaded: ZeroDivisionError: division by zero"),
        ("mine_absent", "could not be loaded: No module named 'mine_absent'"),
    ):
        [fault] = unsupported(recipe(**with_module(OWN[key], module)))
        assert fault.place == key and reason in fault.reason and fault.remedy


def test_metrics_that_nothing_is_scored_by_are_not_looked_for() -> None:
    assert unsupported(recipe(evaluate={"metrics": ["mine_absent:score"]})) == []


NVME = {"zero_optimization.offload_param.device": "nvme"}


@pytest.mark.parametrize(
    ("key", "sections"),
    [
        (
            "method.reference",
            {"parallel": {"stage": 2}, "method": {"kind": "dpo"}, "adapter": {"kind": "lora", "bias": "all"}},
        ),
        ("parallel.engine", {"parallel": {"engine": "single"}}),
        ("optimizer.kind", {"parallel": {"engine": "fsdp", "stage": 3}, "optimizer": {"kind": "adafactor"}}),
        ("optimizer.kind", {"parallel": {"stage": 2}, "optimizer": {"kind": "muon"}}),
        ("adapter.kind", {"parallel": {"stage": 3}, "adapter": {"kind": "prompt"}}),
        ("precision.full_evaluation", {"parallel": {"stage": 3}, "precision": {"full_evaluation": True}}),
        ("method.reference", {"parallel": {"stage": 2}, "method": {"kind": "dpo"}}),
        ("precision.compute", {"parallel": {"stage": 3}, "precision": {"compute": "fp16"}}),
        ("method.kind", {"method": {"kind": "reward"}}),
        ("batch.find_micro", {"batch": {"find_micro": True}}),
        ("parallel.deepspeed_config", {"parallel": {"stage": 3, "deepspeed_config": NVME}}),
    ],
)
def test_what_several_processes_cannot_do_is_refused(
    key: str, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key not in [fault.place for fault in unsupported(recipe(**sections))]
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused = [fault.place for fault in unsupported(recipe(**sections)) if "not installed" not in fault.reason]
    assert refused == [key]


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_an_optimiser_that_nothing_here_runs_is_refused_with_its_own_words(kind: str) -> None:
    [fault] = unsupported(recipe(optimizer={"kind": kind}))
    assert (fault.reason, fault.place, fault.remedy) == (REFUSED[kind][0], "optimizer.kind", REFUSED[kind][1])
    other = fault.remedy.removeprefix("use ").partition(",")[0]
    assert other in OPTIMIZERS


@pytest.mark.parametrize("kind", NEEDS_TARGETS)
def test_optimisers_of_low_rank_need_to_be_told_their_layers(kind: str) -> None:
    faults = unsupported(recipe(optimizer={"kind": kind}))
    assert "optimizer.args.target_modules" in [fault.place for fault in faults]
    given = {"kind": kind, "args": {"target_modules": ["q_proj"]}}
    faults = unsupported(recipe(optimizer=given))
    assert "optimizer.args.target_modules" not in [fault.place for fault in faults]
    [fault] = [one for one in unsupported(recipe(optimizer=given, adapter={"kind": "ia3"})) if "ia3" in one.reason]
    assert (fault.place, fault.remedy) == ("optimizer.kind", "use adamw, or adapter.kind: lora")


@pytest.mark.parametrize(
    ("kind", "args", "faults"),
    [
        ("adamw", {"weight_decay": 0.1}, {"weight_decay": "write optimizer.weight_decay"}),
        ("adamw", {"eps": 1e-6, "lr": 1}, {"lr": "write optimizer.lr", "eps": "write optimizer.epsilon"}),
        ("lion_32bit", {"betas": [0.9, 0.99]}, {"betas": "write optimizer.beta1 and optimizer.beta2"}),
        ("adafactor", {"eps": [1e-30, 1e-3], "beta1": 0.9}, {}),
        ("muon", {"eps": 1e-7}, {}),
    ],
)
def test_constants_that_are_settings_of_their_own_are_refused_under_their_name(
    kind: str, args: dict[str, Any], faults: dict[str, str]
) -> None:
    """A decay given so would be overruled by the groups' own, and nothing said."""
    found = unsupported(recipe(optimizer={"kind": kind, "args": args}))
    assert {one.place: one.remedy for one in found} == {f"optimizer.args.{name}": told for name, told in faults.items()}


def test_every_optimiser_that_a_file_can_name_is_known() -> None:
    """Red when a dialect hands over a name that would be called misspelt."""
    named = (
        {optimizer(name) for name in names.OPTIMIZERS} | set(OWN_OPTIMIZERS) | set(deepspeed_rows.OPTIMIZERS.values())
    )
    assert named - {*OPTIMIZERS, *STANDS_IN, *REFUSED} == set()


def test_a_package_that_is_not_installed_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = recipe(adapter={"kind": "lora"}, quantise={"bits": 4})
    assert unsupported(asked) == []
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    [fault] = unsupported(asked)
    assert (fault.place, fault.remedy) == ("quantise.bits", "pip install 'luthier[quantise]'")
    assert unsupported(recipe()) == []


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        (None, "there is no such directory"),
        ("{}", "holds a None adapter, not lora"),
        ('{"peft_type": "IA3"}', "holds a IA3 adapter, not lora"),
        ("{", "cannot be read"),
    ],
)
def test_an_adapter_that_cannot_be_gone_on_with_is_told(saved: str | None, reason: str, tmp_path: Path) -> None:
    if saved is not None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "adapter_config.json").write_text(saved)
    [fault] = unsupported(recipe(adapter={"kind": "lora", "continue_from": str(tmp_path / "a")}))
    assert fault.place == "adapter.continue_from" and reason in fault.reason and fault.remedy


def test_everything_that_is_not_there_is_told_at_once() -> None:
    asked = recipe(method={"kind": "dop", "z_loss": 1.0}, parallel={"tensor": 2})
    assert [fault.place for fault in unsupported(asked)] == [
        "method.kind",
        "method.z_loss",
        "parallel",
    ]


def test_no_setting_is_passed_over_in_silence() -> None:
    """A setting that no code reads has to be refused or accounted for as inert."""
    root = Path(luthier.__file__).parent
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in root.rglob("*.py")
        if path.parent.name != "recipe" and str(path.relative_to(root)) not in REFUSING
    )
    refused = {key for _, key, _, _ in rows(recipe())}
    reasons = inert(recipe())
    silent = [
        key
        for key, _ in fields_of(Recipe)
        if not re.search(rf'\.{key.rpartition(".")[2]}\b|"{key.rpartition(".")[2]}"', code)
        and key not in refused
        and key.partition(".")[0] not in refused
        and not why_inert(reasons, key)
    ]
    assert silent == []

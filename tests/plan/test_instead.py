"""What this machine or version lacks and can be had otherwise: exchanged and said, with the same result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.plan.instead import substituted, with_template
from luthier.plan.support import unsupported
from luthier.recipe import Recipe
from luthier.recipe.optimizers import OPTIMIZERS, STANDS_IN
from luthier.recipe.validate import build
from tests.conftest import World, write_jsonl

BASE: dict[str, Any] = {"model": {"path": "some/model"}, "data": {"train": [{"path": "rows.jsonl"}]}}


def recipe(**sections: Any) -> Recipe:
    return build({**BASE, **sections}, str)


TARGETS = {"target_modules": "all-linear"}

CASES: list[tuple[str, dict[str, Any], Any]] = [
    *(
        ("optimizer.kind", {"optimizer": {"kind": kind, "args": TARGETS}, "runtime": {"device": "cpu"}}, done)
        for kind, done in (
            ("paged_adamw_32bit", "adamw"),
            ("paged_adamw_8bit", "adamw_8bit"),
            ("paged_lion_8bit", "lion_8bit"),
            ("paged_ademamix_32bit", "ademamix"),
        )
    ),
    *(
        ("model.attention", {"model": {"path": "m", "attention": k}, "runtime": {"device": "cpu"}}, "auto")
        for k in ("varlen", "flash", "flex")
    ),
    *(
        (f"runtime.kernels.{name}", {"adapter": {"kind": "lora"}, "runtime": {"kernels": {name: "on"}}}, "off")
        for name in ("fuse_qkv", "fuse_mlp")
    ),
    ("runtime.kernels.liger", {"runtime": {"kernels": {"liger": "on"}, "device": "cpu"}}, "off"),
    ("runtime.kernels.rms_norm", {"runtime": {"kernels": {"rms_norm": "on"}, "compile": True}}, "off"),
    (
        "runtime.checkpoint_offload",
        {"runtime": {"checkpoint_offload": True, "gradient_checkpointing": True, "device": "cpu"}},
        False,
    ),
    ("precision.compute", {"precision": {"compute": "fp16"}, "runtime": {"device": "cpu"}}, "auto"),
    ("track.to", {"track": {"to": ["neptune"]}}, ()),
    (
        "runtime.checkpoint_reentrant",
        {"adapter": {"kind": "prefix"}, "runtime": {"gradient_checkpointing": True, "checkpoint_reentrant": True}},
        False,
    ),
    ("tokenizer.pad", {"tokenizer": {"pad": "<x>"}}, None),
]


@pytest.mark.parametrize(("key", "sections", "done"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_it_is_exchanged_said_and_then_runs(key: str, sections: dict[str, Any], done: Any) -> None:
    asked = recipe(**sections)
    changed, (one,) = substituted(asked)
    assert (one.key, one.done) == (key, done)
    assert str(one).startswith(f"{key}: ") and one.why in str(one)
    value: Any = changed
    for part in key.split("."):
        value = getattr(value, part)
    assert value == done and changed != asked
    assert unsupported(changed) == []
    assert substituted(changed) == (changed, ())


@pytest.mark.parametrize(("kind", "done"), [(kind, done) for kind, (done, _) in STANDS_IN.items()])
def test_a_name_that_never_runs_has_one_that_makes_its_steps(kind: str, done: str) -> None:
    _, (one, *_) = substituted(recipe(optimizer={"kind": kind, "args": TARGETS}))
    assert (one.key, one.asked, one.done) == ("optimizer.kind", kind, done)
    asked = recipe(optimizer={"kind": kind, "fallback": "refuse", "args": TARGETS})
    assert substituted(asked) == (asked, ())
    [fault] = unsupported(asked)
    assert fault.place == "optimizer.kind" and done in fault.remedy


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that finds no installed package."""
    for package in {facts.package for facts in OPTIMIZERS.values()}:
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", [kind for kind, facts in OPTIMIZERS.items() if facts.package])
def test_without_its_package_it_is_replaced_or_refused_before_anything_loads(kind: str, device: str) -> None:
    facts, settings = OPTIMIZERS[kind], {"kind": kind, "args": TARGETS}
    changed, told = substituted(recipe(optimizer=settings, runtime={"device": device}))
    if facts.equal:
        assert changed.optimizer.kind == "adamw" and [one.key for one in told] == ["optimizer.kind"]
        assert unsupported(changed) == []
    else:
        assert told == ()
        [fault] = unsupported(changed)
        assert (fault.place, fault.remedy) == ("optimizer.kind", f"pip install {facts.install}")
    strict = recipe(optimizer={**settings, "fallback": "refuse"}, runtime={"device": device})
    assert substituted(strict) == (strict, ())
    [fault] = unsupported(strict)
    assert fault.place == "optimizer.kind" and facts.install in fault.remedy


def test_paging_on_a_cpu_is_refused_where_nothing_may_be_replaced() -> None:
    asked = recipe(optimizer={"kind": "paged_adamw_8bit", "fallback": "refuse"}, runtime={"device": "cpu"})
    assert substituted(asked) == (asked, ())
    [fault] = unsupported(asked)
    assert "needs a GPU" in fault.reason and "adamw_8bit" in fault.remedy
    on_gpu = recipe(optimizer={"kind": "paged_adamw_8bit"}, runtime={"device": "cuda"})
    assert substituted(on_gpu) == (on_gpu, ()) and unsupported(on_gpu) == []


def test_one_process_takes_the_micro_batches_of_several() -> None:
    changed, told = substituted(recipe(batch={"world": 4, "accumulation": 2, "micro": 3}, parallel={"engine": "ddp"}))
    assert (changed.batch.world, changed.batch.accumulation, changed.batch.micro) == (1, 8, 3)
    assert changed.parallel.engine == "single" and len(told) == 3
    assert "the same batch" in str(told[0])


@pytest.mark.parametrize("parallel", [{"engine": "fsdp", "stage": 3}, {"engine": "deepspeed", "stage": 2}])
def test_one_process_has_nothing_to_shard(parallel: dict[str, Any]) -> None:
    changed, [told] = substituted(recipe(parallel=parallel, batch={"world": 1}))
    assert changed.parallel.engine == "single" and "the result is the same" in str(told)


@pytest.mark.parametrize(
    ("parallel", "done"),
    [
        ({}, {}),
        ({"stage": 2}, {}),
        ({"engine": "fsdp", "stage": 0}, {"parallel.engine": "ddp"}),
        ({"engine": "deepspeed", "stage": 0}, {"parallel.engine": "ddp"}),
        ({"engine": "fsdp", "stage": 1}, {"parallel.stage": 2}),
        ({"engine": "fsdp", "stage": 3, "offload_optimizer": True}, {"parallel.offload_parameters": True}),
        ({"engine": "deepspeed", "stage": 1, "offload_optimizer": True}, {}),
    ],
)
def test_several_processes_share_out_what_the_recipe_says(
    parallel: dict[str, Any], done: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    changed, told = substituted(recipe(parallel=parallel, batch={"accumulation": 3}))
    assert {one.key: one.done for one in told if one.why} == done
    assert (changed.batch.world, changed.batch.accumulation) == (1, 6)
    assert [one for one in substituted(changed)[1] if one.key.startswith("batch")] == []


def test_what_needs_nothing_is_left_as_it_is() -> None:
    asked = recipe(runtime={"kernels": {"fuse_qkv": "off"}}, model={"path": "m", "attention": "sdpa"})
    assert substituted(asked) == (asked, ())


ALPACA = {"instruction": "Say it", "input": "", "output": "It"}
CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.mark.parametrize(("row", "template"), [(ALPACA, "alpaca"), (CHAT, "chatml"), ({"text": "plain"}, "auto")])
def test_a_tokenizer_without_a_template_gets_the_rows_own(
    row: dict[str, Any], template: str, world: World, tmp_path: Path
) -> None:
    encoder = Encoder.open(world.model)
    asked = recipe(data={"train": [{"path": str(write_jsonl(tmp_path / "r.jsonl", [row]))}]})
    changed, told = with_template(asked, encoder)
    assert changed.data.template == template and len(told) == (template != "auto")
    assert with_template(recipe(data={**asked.tree()["data"], "template": "plain"}), encoder)[1] == ()
    encoder.chat_template = "{{ messages }}"
    assert with_template(asked, encoder) == (asked, ())

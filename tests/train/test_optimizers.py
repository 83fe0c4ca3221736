"""Every optimiser: the steps of the library that owns it, and a state that a checkpoint can hold."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments

from luthier.errors import CheckpointError, RecipeError
from luthier.plan.instead import substituted
from luthier.recipe import Recipe
from luthier.recipe.optimizers import NEEDS_TARGETS, OPTIMIZERS
from luthier.recipe.validate import build
from luthier.registry import TABLES
from luthier.train import checkpoint
from luthier.train.optimizer import build_optimizer
from luthier.train.optimizers.groups import parameter_groups
from luthier.train.optimizers.imported import optional
from tests.conftest import World

pytestmark = [
    # bitsandbytes says once that paging is nothing on a CPU; the plan has said it before.
    pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning"),
    # Warnings of packages about their own insides.
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torchao"),
]

DEV = (
    *("", "apollo_torch", "bitsandbytes", "came_pytorch", "galore_torch"),
    *("lion_pytorch", "optimi", "pytorch_optimizer", "schedulefree"),
)
"""Packages that every check has. Tests of torchao run where it is installed: transformers loads it wherever it is, and
every start would be slower."""

RATE, DECAY, STEPS = 1e-2, 0.1, 5
ARGS: dict[str, dict[str, Any]] = {
    "galore_adamw": {"rank": 4, "update_proj_gap": 2, "target_modules": ["linear"]},
    "galore_adafactor": {"rank": 4, "update_proj_gap": 2, "target_modules": "all-linear"},
    "apollo_adamw": {"rank": 4, "update_proj_gap": 2, "proj": "svd", "target_modules": ["linear"]},
    "sgd": {"momentum": 0.9},
}
UPSTREAM = {"adamw": "adamw_torch", "optimi_adamw": "", "lion_pytorch": "", "muon": "", "lamb": "", "lars": ""}
UPSTREAM |= {"ao_adamw_8bit": "adamw_torch_8bit", "ao_adamw_4bit": "adamw_torch_4bit"}
UPSTREAM |= {"ao_adamw_fp8": "", "came_pytorch": "", "adopt_adamw": ""}


class Adopt(torch.optim.Optimizer):
    """Algorithm 2 of Taniguchi et al. 2024, with decoupled weight decay, written out."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                gradient, state = parameter.grad, self.state[parameter]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if not state:
                    state |= {"t": 1, "v": gradient**2, "m": torch.zeros_like(parameter)}
                    continue
                limit = state["t"] ** 0.25
                normed = (gradient / state["v"].sqrt().clamp(min=group["eps"])).clamp(-limit, limit)
                state["m"] = first * state["m"] + (1 - first) * normed
                parameter.sub_(group["lr"] * state["m"])
                state["v"] = second * state["v"] + (1 - second) * gradient**2
                state["t"] += 1


class Small(torch.nn.Module):
    """Two layers large enough to have their state rounded, an embedding, a norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(64, 64)
        self.linear = torch.nn.Linear(64, 96)
        self.norm = torch.nn.LayerNorm(96)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.norm(self.linear(self.embedding(ids)))
        return output.sum()


def recipe(kind: str, **settings: Any) -> Recipe:
    optimizer = {"kind": kind, "lr": RATE, "weight_decay": DECAY, "args": ARGS.get(kind, {}), **settings}
    return build({"model": {"path": "m"}, "data": {"train": [{"path": "r"}]}, "optimizer": optimizer}, str)


def steps(model: torch.nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    """Steps on gradients that depend on nothing but the step; the rate falls, as in a run."""
    for step in range(first, last):
        model(torch.zeros(1, dtype=torch.long))
        source = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=source)
        for group in optimizer.param_groups:
            rate = RATE * (1 - step / 20)
            group["lr"] = rate if not isinstance(group["lr"], torch.Tensor) else torch.tensor(rate)
        optimizer.step()
        optimizer.zero_grad()


def needs(kind: str) -> None:
    if OPTIMIZERS[kind].package not in DEV:
        pytest.importorskip(OPTIMIZERS[kind].package)


def upstream(kind: str, model: Small, folder: Path) -> torch.optim.Optimizer:
    """The optimiser that the Trainer makes of the same settings, or the library where the Trainer has none."""
    decayed = {"params": [model.embedding.weight, model.linear.weight], "weight_decay": DECAY}
    spared = {"params": [model.linear.bias, model.norm.weight, model.norm.bias], "weight_decay": 0.0}
    made: Any
    if kind == "muon":
        hidden = {"params": [model.linear.weight]}
        muon = torch.optim.Muon([hidden], lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
        adamw = torch.optim.AdamW([{**decayed, "params": [model.embedding.weight]}, spared], lr=RATE)
        return Both(muon, adamw)
    if UPSTREAM.get(kind) == "":
        package, _, name = {
            "optimi_adamw": "optimi.AdamW",
            "lion_pytorch": "lion_pytorch.Lion",
            "lamb": "bitsandbytes.LAMB",
            "lars": "bitsandbytes.LARS",
            "ao_adamw_fp8": "torchao.optim.adam.AdamWFp8",
            "came_pytorch": "came_pytorch.CAME",
            "adopt_adamw": "tests.train.test_optimizers.Adopt",
        }[kind].rpartition(".")
        package = package + ".optim" if package == "bitsandbytes" else package
        constants: dict[str, Any] = {"momentum": 0.9} if kind == "lars" else {"betas": (0.9, 0.999)}
        constants = {} if kind == "came_pytorch" else constants
        constants |= {"eps": 1e-8} if kind in ("optimi_adamw", "lamb") else {}
        made = getattr(sys.modules[package], name)([decayed, spared], lr=RATE, **constants)
        return made  # type: ignore[no-any-return]
    given = {key: value for key, value in ARGS.get(kind, {}).items() if key != "target_modules"}
    arguments = TrainingArguments(
        output_dir=str(folder),
        optim=UPSTREAM.get(kind, kind),
        optim_args=",".join(f"{key}={value}" for key, value in given.items()) or None,
        optim_target_modules=ARGS.get(kind, {}).get("target_modules"),
        learning_rate=RATE,
        weight_decay=DECAY,
        use_cpu=True,
        report_to=[],
    )
    cls, constants = Trainer.get_optimizer_cls_and_kwargs(arguments, model)  # type: ignore[arg-type]
    groups = constants.pop("params", [decayed, spared])
    if kind in NEEDS_TARGETS:
        projected = {**decayed, **groups[1]}
        constants |= {} if "adafactor" in kind else {"eps": 1e-8}
        constants |= {"no_deprecation_warning": True} if kind == "galore_adamw" else {}
        groups = [{**decayed, "params": [model.embedding.weight]}, projected, spared]
    made = cls(groups, **constants)
    return made  # type: ignore[no-any-return]


class Both(torch.optim.Optimizer):
    """Two optimisers as one."""

    def __init__(self, *inner: torch.optim.Optimizer) -> None:
        super().__init__([group for one in inner for group in one.param_groups], {})
        self.inner = inner

    def step(self, closure: Any = None) -> None:
        for group, own in zip(self.param_groups, [g for one in self.inner for g in one.param_groups], strict=True):
            own["lr"] = group["lr"]
        for one in self.inner:
            one.step()


def test_the_tables_name_the_same_optimisers() -> None:
    assert set(OPTIMIZERS) == set(TABLES["optimizers"])


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_its_steps_are_those_of_the_library_that_owns_it(kind: str, tmp_path: Path) -> None:
    needs(kind)
    mine, theirs = Small(), Small()
    optimizer = build_optimizer(mine, recipe(kind))
    expected = upstream(kind, theirs, tmp_path)
    if kind.startswith("schedule_free"):
        expected.train()  # type: ignore[attr-defined]
    before = mine.linear.weight.detach().clone()
    with torch.compiler.set_stance("force_eager"):
        steps(mine, optimizer, 0, STEPS)
        steps(theirs, expected, 0, STEPS)
    if kind.startswith("schedule_free"):
        expected.eval()  # type: ignore[attr-defined]
    assert not torch.equal(mine.linear.weight, before)
    for (name, one), other in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_it_goes_on_from_a_checkpoint_bit_for_bit(kind: str, tmp_path: Path) -> None:
    needs(kind)
    whole = Small()
    steps(whole, build_optimizer(whole, recipe(kind)), 0, 7)
    part = Small()
    optimizer = build_optimizer(part, recipe(kind))
    steps(part, optimizer, 0, 4)
    state = checkpoint.State(dict(part.named_parameters()), checkpoint.optimizer_tensors(optimizer), {}, {})
    assert state.optimizer, "a checkpoint without any state is refused"
    found = checkpoint.load(checkpoint.save(tmp_path, "step", state))
    rest = Small()
    optimizer = build_optimizer(rest, recipe(kind))
    with torch.no_grad():
        for name, parameter in rest.named_parameters():
            parameter.copy_(found.weights[name])
    checkpoint.restore_optimizer(optimizer, found.optimizer)
    steps(rest, optimizer, 4, 7)
    for (name, one), other in zip(rest.named_parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize(("first", "then"), [("adamw", "adamw_8bit"), ("adamw_bnb_8bit", "adamw")])
def test_the_state_of_another_optimiser_is_refused(first: str, then: str) -> None:
    """A package that stood in for another, or was stood in for, has come or gone between two halves of a run."""
    model = Small()
    optimizer = build_optimizer(model, recipe(first))
    steps(model, optimizer, 0, 1)
    other = build_optimizer(model, recipe(then))
    checkpoint.restore_optimizer(other, checkpoint.optimizer_tensors(optimizer))
    with pytest.raises(CheckpointError, match=f"another optimiser than {then}"):
        steps(model, other, 1, 2)


@pytest.mark.parametrize("kind", ["adamw", "sgd", "adamw_8bit"])
def test_each_group_steps_at_its_multiple_of_the_rate(kind: str) -> None:
    fast, plain = Small(), Small()
    optimizer = build_optimizer(fast, recipe(kind, embedding_lr=5 * RATE, weight_decay=0.0))
    steps(plain, build_optimizer(plain, recipe(kind, weight_decay=0.0)), 0, 1)
    steps(fast, optimizer, 0, 1)
    start = Small()
    moved, once = (model.embedding.weight - start.embedding.weight for model in (fast, plain))
    torch.testing.assert_close(moved, 5 * once, rtol=1e-4, atol=1e-5)
    assert torch.equal(fast.linear.weight, plain.linear.weight)
    assert {group["lr"] for group in optimizer.param_groups} == {RATE}, "the loop's rate stays what it set"


def test_lora_plus_multiplies_the_rate_of_b_alone(world: World) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(world.model),
        LoraConfig(r=2, target_modules=["q_proj", "embed_tokens"], modules_to_save=["lm_head"]),
    )
    groups = build_optimizer(model, recipe("adamw", lora_plus=16.0, embedding_lr=RATE / 2)).param_groups
    ratio = {name: group["ratio"] for group in groups for name in group["names"]}
    assert len(ratio) == 2 * 2 + 2 + 1
    for name, found in ratio.items():
        end = "embed_tokens" in name or "lm_head" in name
        assert found == (0.5 if end else 16.0 if "lora_B" in name else 1.0), name


@pytest.mark.slow
@pytest.mark.parametrize("dora", [False, True])
def test_lora_plus_groups_are_pefts_own(world: World, dora: bool) -> None:
    from peft import LoraConfig, get_peft_model
    from peft.optimizers import create_loraplus_optimizer
    from transformers import AutoModelForCausalLM

    targets = ["q_proj"] if dora else ["q_proj", "embed_tokens"]
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(world.model),
        LoraConfig(r=2, target_modules=targets, modules_to_save=["lm_head", "norm"], use_dora=dora),
    )
    theirs = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=RATE, loraplus_lr_ratio=16.0, loraplus_lr_embedding=RATE / 8
    )
    made = recipe("adamw", lora_plus=16.0, lora_plus_embedding_lr=RATE / 8, weight_decay=0.0)
    ours = build_optimizer(model, made).param_groups
    rates = {id(one): group["lr"] for group in theirs.param_groups for one in group["params"]}
    found = {id(one): group["lr"] * group["ratio"] for group in ours for one in group["params"]}
    assert found == pytest.approx(rates)
    assert len(set(rates.values())) == (2 if dora else 3)


def test_lora_plus_moves_b_so_many_times_as_far_in_a_run(
    world: World, tmp_path: Path, luthier: Callable[..., Any], write_recipe: Callable[..., Path]
) -> None:
    """AdamW's first step is as long as its rate wherever there is a gradient, as there is in both halves of an adapter
    that has trained already."""
    rate, ratio = 1e-3, 8.0
    runs = {"first": {"lr": 1e-2}, "second": {"lr": rate, "lora_plus": ratio, "weight_decay": 0.0, "clip": None}}
    for name, optimizer in runs.items():
        tree = world.recipe(
            adapter={"kind": "lora", "rank": 4}
            | ({"continue_from": str(tmp_path / "first")} if name == "second" else {}),
            optimizer=optimizer,
            schedule={"kind": "constant", "warmup_steps": 0},
            batch={"steps": 2 if name == "first" else 1},
            output={"dir": str(tmp_path / name)},
        )
        done = luthier("train", write_recipe(tree))
        assert done.returncode == 0, done.stderr
    before, after = (load_file(tmp_path / name / "model" / "adapter_model.safetensors") for name in runs)
    assert {name.rpartition(".lora_")[2] for name in before} == {"A.weight", "B.weight"}
    for name, start in before.items():
        moved = (after[name] - start).abs()
        expected = rate * (ratio if "lora_B" in name else 1.0)
        assert float(moved.max()) == pytest.approx(expected, rel=0.02), name
        assert float(moved.median()) == pytest.approx(expected, rel=0.02), name


def test_a_stateless_optimiser_has_its_steps_for_a_state() -> None:
    model = Small()
    optimizer = build_optimizer(model, recipe("sgd", args={}))
    steps(model, optimizer, 0, 3)
    saved = checkpoint.optimizer_tensors(optimizer)
    again = build_optimizer(model, recipe("sgd", args={}))
    checkpoint.restore_optimizer(again, saved)
    steps(model, again, 3, 5)
    assert [int(count) for count in checkpoint.optimizer_tensors(again).values()] == [5]


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_its_state_is_as_large_as_the_plan_says(kind: str) -> None:
    needs(kind)
    model = torch.nn.Sequential(torch.nn.Linear(512, 256, bias=False))
    given = {**ARGS.get(kind, {}), **({"target_modules": "all-linear"} if kind in NEEDS_TARGETS else {})}
    optimizer = build_optimizer(model, recipe(kind, args={} if kind == "sgd" else given))
    model(torch.zeros(1, 512))
    model[0].weight.grad = torch.randn(256, 512)
    optimizer.step()
    held = sum(tensor.nbytes for tensor in checkpoint.optimizer_tensors(optimizer).values()) / (256 * 512)
    told = OPTIMIZERS[kind].state
    assert held <= told + 0.05
    if kind not in (*NEEDS_TARGETS, "adafactor"):
        assert held >= told - 0.01


@pytest.mark.parametrize("kind", ["lomo", "adalomo"])
def test_what_updates_within_the_backward_pass_has_the_same_steps_after_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lomo_optim as library

    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)  # where AdaLomo keeps its state, asked or not
    theirs, mine = Small(), Small()
    one = library.Lomo(theirs, lr=RATE) if kind == "lomo" else library.AdaLomo(theirs, lr=RATE)
    asked, told = substituted(recipe(kind, weight_decay=0.0, args={}))
    assert told[0].asked == kind and "after the backward pass" in told[0].why
    two = build_optimizer(mine, asked)
    for step in range(STEPS):
        ids = torch.tensor([step, 2 * step, 7])
        one.fused_backward((theirs(ids) ** 2).mean(), RATE)
        (mine(ids) ** 2).mean().backward()
        two.step()
        two.zero_grad()
    for (name, own), other in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    assert not torch.equal(mine.linear.weight, Small().linear.weight)


def test_muon_takes_hidden_matrices_alone() -> None:
    model = Small()
    optimizer = build_optimizer(model, recipe("muon"))
    steps(model, optimizer, 0, 1)
    found = {name: set(optimizer.state[parameter]) for name, parameter in model.named_parameters()}
    assert found["linear.weight"] == {"momentum_buffer"}
    assert all("exp_avg" in entries for name, entries in found.items() if name != "linear.weight")


def built(kind: str, **changes: Any) -> Any:
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 32, "pad_token_id": None}
    size |= {"bos_token_id": 1, "eos_token_id": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2} if kind != "mamba" else {}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **size, **heads, **changes))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("gpt_oss", {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8}), ("cohere", {"use_qk_norm": True})],
)
def test_biases_of_experts_and_norms_of_heads_neither_decay_nor_are_they_hidden_matrices(
    kind: str, changes: dict[str, Any]
) -> None:
    model = built(kind, **changes)
    groups = parameter_groups(model, recipe("muon").optimizer)
    decaying = {name for group in groups if group["weight_decay"] for name in group["names"]}
    upstream = set(Trainer.get_decay_parameter_names(None, model))  # type: ignore[arg-type]
    assert decaying == {name for name, one in model.named_parameters() if name in upstream and one.ndim > 1}
    hidden = {name for group in groups if group["hidden"] for name in group["names"]}
    assert hidden and not any("norm" in name or name.endswith("bias") for name in hidden)


def test_muon_leaves_a_table_that_is_no_weight_of_a_layer_to_adamw() -> None:
    groups = parameter_groups(built("mamba", state_size=4), recipe("muon").optimizer)
    hidden = [name.rpartition("mixer.")[2] for group in groups if group["hidden"] for name in group["names"]]
    assert hidden == ["in_proj.weight", "x_proj.weight", "dt_proj.weight", "out_proj.weight"]


def test_a_weights_place_in_the_trainers_groups_is_kept_where_steps_go_by_it() -> None:
    groups = parameter_groups(Small(), recipe("grokadamw").optimizer)
    assert [group["names"] for group in groups] == [
        ["embedding.weight", "linear.weight"],
        ["linear.bias", "norm.weight", "norm.bias"],
    ]


def test_grokadamws_state_is_the_optimisers_own_and_lies_beside_the_weights() -> None:
    needs("grokadamw")
    model = Small().to("meta")
    optimizer = build_optimizer(model, recipe("grokadamw"))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert set(optimizer.state) == set(model.parameters())
    for parameter, state in optimizer.state.items():
        averages = {name: value for name, value in state.items() if name != "step"}
        assert set(averages) == {"exp_avg", "exp_avg_sq", "grok_ema"}
        assert {(value.device.type, value.shape) for value in averages.values()} == {("meta", parameter.shape)}
    assert not any("state" in group for group in optimizer.param_groups)


def test_grokadamws_state_goes_through_pytorchs_own_format_bit_for_bit() -> None:
    needs("grokadamw")
    whole, part, rest = Small(), Small(), Small()
    steps(whole, build_optimizer(whole, recipe("grokadamw")), 0, 5)
    first, then = (build_optimizer(model, recipe("grokadamw")) for model in (part, rest))
    steps(part, first, 0, 3)
    rest.load_state_dict(part.state_dict())
    then.load_state_dict(first.state_dict())
    steps(rest, then, 3, 5)
    for (name, one), other in zip(rest.named_parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_package_that_sets_up_logging_leaves_the_root_logger_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    (tmp_path / "talkative.py").write_text("import logging\nlogging.basicConfig(level=logging.INFO)\nhere = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.ERROR)
    assert optional("talkative", "talkative").here
    assert root.handlers == [] and root.level == logging.ERROR


def test_functions_as_constants_are_refused_by_their_key() -> None:
    with pytest.raises(RecipeError, match="grokking_signal_fns") as caught:
        build_optimizer(Small(), recipe("grokadamw", args={"grokking_signal_fns": ["os:getpid"]}))
    assert caught.value.faults[0].place == "optimizer.args"


def test_constants_may_be_written_as_text() -> None:
    optimizer = build_optimizer(Small(), recipe("sgd", args={"momentum": "0.9", "nesterov": "True"}))
    assert (optimizer.param_groups[0]["momentum"], optimizer.param_groups[0]["nesterov"]) == (0.9, True)


@pytest.mark.parametrize(("kind", "args"), [("adamw", {"momentum": 1}), ("sgd", {"momentum": -1.0})])
def test_constants_that_it_has_not_are_refused_by_their_key(kind: str, args: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="momentum") as caught:
        build_optimizer(Small(), recipe(kind, args=args))
    assert caught.value.faults[0].place == "optimizer.args"


def test_targets_that_name_nothing_are_refused() -> None:
    needs("galore_adamw")
    with pytest.raises(RecipeError, match="no matrix"):
        build_optimizer(Small(), recipe("galore_adamw", args={"target_modules": ["nothing"]}))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw_8bit", "schedule_free_adamw", "grokadamw", "galore_adamw"])
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(
    kind: str,
    world: World,
    tmp_path: Path,
    write_recipe: Callable[..., Path],
    luthier: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    needs(kind)
    targets = {"rank": 4, "target_modules": "all-linear"} if kind in NEEDS_TARGETS else {}
    tree = world.recipe(
        optimizer={"kind": kind, "args": targets},
        data={"evaluate": [{"path": str(world.held_out)}]},
        batch={"steps": 6},
        evaluate={"every": 3},
        checkpoint={"every": 3, "keep_last": 3},
        output={"dir": str(tmp_path / "whole")},
    )
    file = write_recipe(tree)
    whole = luthier("train", file)
    assert whole.returncode == 0, whole.stderr
    named = tmp_path / "whole" / "checkpoints" / "step-00000003"
    again = luthier("train", file, f"checkpoint.resume={named}", f"output.dir={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr
    expected, found = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "again"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)

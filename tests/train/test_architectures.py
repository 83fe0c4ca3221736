"""Whole runs of models that attend otherwise than Llama, through the real command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.data.encoder import Encoder
from luthier.data.pipeline import prepare
from luthier.data.preference import Judged, taken_apart
from luthier.dialects import read
from luthier.plan.parameters import trainable_parameters
from luthier.record.events import Answered, Evaluated, Stepped, Warned, read_events
from luthier.terminal import visible_lines
from luthier.train.display import Display
from luthier.train.run import run
from tests.conftest import HOMES, NAMES, World, write_jsonl
from tests.model.kernels.models import tiny
from tests.model.test_attention_alone import KINDS

pytestmark = pytest.mark.slow

Run = Callable[..., Any]
SIZES = {kind: changes for kind, _, changes in KINDS}
BETA, MARGIN, STEPS = 0.3, 0.5, 5


@pytest.fixture(scope="module")
def base(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny model of an architecture beside the world's tokenizer, by its name."""

    def made(kind: str) -> Path:
        place = tmp_path_factory.mktemp(kind)
        for file in world.model.glob("*token*"):
            shutil.copy(file, place)
        rows = Encoder.open(world.model).vocabulary
        tiny(kind, None, **{**SIZES[kind], "vocab_size": rows, "eos_token_id": 2}).save_pretrained(place)
        return place

    return made


def pairs(folder: Path, *, labelled: bool) -> Path:
    made: list[dict[str, Any]] = []
    for number, name in enumerate(NAMES):
        asked, good = f"Where does {name} live?", number % 2 == 0
        right, wrong = f"In the {HOMES[number]}.", f"In the {HOMES[number - 1]}, or elsewhere."
        one = (
            {"completion": right if good else wrong, "label": good}
            if labelled
            else {"chosen": right, "rejected": wrong}
        )
        made.append({"prompt": asked, **one})
    return write_jsonl(folder / "pairs.jsonl", made)


def by_token(model: Any, prompt: Any, answer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities of an answer's tokens, those of prompt and answer), through transformers alone."""
    ids = torch.tensor([*prompt.tolist(), *answer.tolist()])
    with torch.no_grad():
        logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1].float()
    every = -cross_entropy(logits, ids[1:], reduction="none")
    return every[len(prompt) - 1 :], every


def expected(kind: str, model: Any, rows: list[Judged]) -> float:
    """An objective's mean over pairs before the first step, by its paper's formula."""
    if kind == "kto":
        return 0.5
    if kind == "ipo":
        return (1 / (2 * BETA)) ** 2
    answers = [[by_token(model, row.prompt, answer) for answer in row.answers] for row in rows]
    sums = torch.tensor([[float(one.sum()) for one, _ in pair] for pair in answers])
    means = torch.tensor([[float(one.mean()) for one, _ in pair] for pair in answers])
    if kind == "simpo":
        return float(-logsigmoid(BETA * (means[:, 0] - means[:, 1]) - MARGIN).mean())
    chosen = [pair[0] for pair in answers]
    if kind == "cpo":
        likely = torch.cat([one for one, _ in chosen]).mean()
        return float((-logsigmoid(BETA * (sums[:, 0] - sums[:, 1]))).mean() - likely)
    odds = means - torch.log1p(-means.exp())
    return float(
        (-BETA * logsigmoid(odds[:, 0] - odds[:, 1])).mean() - torch.cat([every for _, every in chosen]).mean()
    )


@pytest.mark.parametrize("kind", ["ipo", "orpo", "simpo", "cpo", "kto"])
@pytest.mark.parametrize("architecture", ["gemma2", "gpt_oss"])
def test_it_learns_from_judged_answers(
    architecture: str, kind: str, base: Any, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    """The first loss is the formula's on transformers' own likelihoods of each answer alone, and it falls."""
    place = base(architecture)
    tree = world.recipe(
        model={"path": str(place)},
        data={"train": [{"path": str(pairs(tmp_path, labelled=kind == "kto"))}]},
        method={"kind": kind, "beta": BETA, "margin": MARGIN},
        batch={"micro": len(NAMES), "steps": STEPS, "epochs": 1},
        pack={"kind": "none"},
        optimizer={"lr": 5e-3},
        schedule={"warmup_steps": 0},
        output={"dir": str(tmp_path / "run")},
    )
    file = write_recipe(tree)
    done = luthier("train", file)
    assert done.returncode == 0, done.stderr
    losses = [one.loss for one in read_events(tmp_path / "run" / "events.jsonl") if isinstance(one, Stepped)]
    recipe = read(file).recipe
    store, _ = prepare(recipe, recipe.data.train, place)
    plain = AutoModelForCausalLM.from_pretrained(place, attn_implementation="eager").eval()
    assert losses[0] == pytest.approx(expected(kind, plain, [taken_apart(one) for one in store]), rel=1e-4)
    assert len(losses) == STEPS and losses[-1] < losses[0]
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model").state_dict()
    moved = [name for name, one in plain.state_dict().items() if not torch.equal(one, trained[name])]
    assert len(moved) == len(trained)


def greedy(directory: Path, text: str, count: int) -> str:
    """A text and what a whole model goes on with, through transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
    return str(tokenizer.decode(said[0], skip_special_tokens=True))


def measured_again(run: Path, luthier: Run, *words: str, counted: str = "tokens") -> dict[str, Any]:
    """What ``luthier evaluate`` says of a run, whose last loss, means and ``counted`` are the run's own."""
    done = luthier("evaluate", run, *words, "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    last = [one for one in read_events(run / "events.jsonl") if isinstance(one, Evaluated)][-1]
    told = {"loss": last.loss, **last.metrics, counted: float(last.targets)}
    assert {name: found["figures"][name] for name in told} == pytest.approx(told, rel=1e-4, abs=1e-5)
    return found


@pytest.mark.parametrize("adapter", ["none", "lora"])
@pytest.mark.parametrize("architecture", ["gemma2", "gpt_oss"])
def test_what_has_soft_caps_or_sinks_is_used_as_it_trained(
    architecture: str, adapter: str, base: Any, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    """It answers while it trains, is measured to be what its run found, and says the same merged and written out."""
    run, rows = tmp_path / "run", [{"path": str(world.held_out)}]
    tree = world.recipe(
        model={"path": str(base(architecture))},
        adapter={"kind": adapter, "rank": 4, "targets": "all-linear"},
        data={"evaluate": rows, "test": rows},
        batch={"micro": 6, "epochs": 6},
        optimizer={"lr": 2e-2 if adapter == "lora" else 5e-3},
        evaluate={"generate": True, "metrics": ["chrf"], "generation": {"max_new_tokens": 6}},
        output={"dir": str(run), **({"merge": True} if adapter == "lora" else {})},
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "plan.json").read_text(encoding="utf-8"))["kernels"]["attention"].startswith("eager")
    said = [one for one in read_events(run / "events.jsonl") if isinstance(one, Answered)][-1]
    kept = [json.loads(line)["answer"] for line in (run / said.file).read_text(encoding="utf-8").splitlines()]
    found = measured_again(run, luthier)
    assert [one["answer"] for one in found["answers"]] == kept
    whole = run / "model"
    if adapter == "lora":
        assert luthier("export", run, "--out", tmp_path / "adapter").returncode == 0
        merged = luthier("merge", run, "--out", tmp_path / "merged", "--json")
        assert merged.returncode == 0, merged.stderr
        assert json.loads(merged.stdout)["error"] < 1e-4 < json.loads(merged.stdout)["effect"]
        whole = tmp_path / "merged"
        for name in ("config.json", "model.safetensors"):
            assert (run / "merged" / name).read_bytes() == (whole / name).read_bytes()
    written = luthier("export", whole, "--out", tmp_path / "written")
    assert written.returncode == 0, written.stderr
    spoken = luthier("generate", run, "--prompt", "Mira lives", "--raw", "--max-new-tokens", "6")
    assert spoken.returncode == 0, spoken.stderr
    assert spoken.stdout.strip() == visible_lines(greedy(tmp_path / "written", "Mira lives", 6)).strip()


@pytest.mark.parametrize(
    ("architecture", "method"), [("gemma2", "orpo"), ("gemma2", "reward"), ("gpt_oss", "dpo"), ("bloom", "reward")]
)
def test_what_learnt_from_judged_answers_is_measured_again(
    architecture: str, method: str, base: Any, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    """Through the attention that it trained with, and document by document."""
    tree = world.recipe(
        model={"path": str(base(architecture))},
        data={"train": [{"path": str(pairs(tmp_path, labelled=False))}], "holdout": 2},
        method={"kind": method},
        batch={"micro": 2, "steps": 3, "epochs": 1},
        optimizer={"lr": 5e-3},
        output={"dir": str(tmp_path / "run")},
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    for attention in ("auto", "alone"):
        measured_again(tmp_path / "run", luthier, f"model.attention={attention}", counted="rows")


@pytest.mark.parametrize("architecture", ["bloom", "mpt"])
def test_documents_that_are_computed_alone_train_packed_as_they_do_unpacked(
    architecture: str, base: Any, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    """Each step is the whole data, in packs or document by document; what comes of it speaks."""
    place = base(architecture)
    losses = {}
    for name, pack in {"packed": {"kind": "best_fit", "length": 256}, "single": {"kind": "none"}}.items():
        tree = world.recipe(
            model={"path": str(place)},
            pack=pack,
            batch={"micro": 1, "accumulation": 50, "epochs": 3},
            schedule={"kind": "constant", "warmup_steps": 0},
            output={"dir": str(tmp_path / name)},
        )
        done = luthier("train", write_recipe(tree))
        assert done.returncode == 0, done.stderr
        plan = json.loads((tmp_path / name / "plan.json").read_text(encoding="utf-8"))
        assert plan["kernels"]["attention"].startswith("alone")
        assert (plan["packs"] < 9) is (name == "packed")
        losses[name] = [one.loss for one in read_events(tmp_path / name / "events.jsonl") if isinstance(one, Stepped)]
    assert losses["packed"] == pytest.approx(losses["single"], rel=1e-4)
    assert len(losses["packed"]) == 3 and losses["packed"][-1] < losses["packed"][0]
    said = luthier("generate", tmp_path / "packed", "--prompt", "Where does Mira live?", "--max-new-tokens", "4")
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(("kind", "off"), [("mixtral", 0), ("llama", 0), ("llama", 7)])
def test_a_count_that_was_planned_otherwise_is_told(
    kind: str, off: int, base: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Experts, which are one parameter, are planned as they train: only a plan that is made to err is told of."""
    path, out = base(kind), tmp_path / "run"
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"text": f"{name} lives in the {HOMES[0]}."} for name in NAMES])
    recipe = {
        "model": {"path": str(path)}, "adapter": {"kind": "lora", "rank": 2}, "method": {"kind": "pretrain"},
        "data": {"train": [{"path": str(rows)}], "max_length": 32}, "batch": {"steps": 1},
        "checkpoint": {"every": "never"}, "output": {"dir": str(out)},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    monkeypatch.setattr("luthier.plan.plan.trainable_parameters", lambda *given: trainable_parameters(*given) + off)
    run(read(tmp_path / "recipe.yaml"), Display(Console(quiet=True), live=False))
    told = [event.message for event in read_events(out / "events.jsonl") if isinstance(event, Warned)]
    planned = json.loads((out / "plan.json").read_text())["parameters"]["trainable"]
    trained = sum(one.numel() for one in load_file(out / "model" / "adapter_model.safetensors").values())
    assert planned - trained == off
    words = f"{trained:,} parameters train, not {planned:,} as planned: memory and disk are planned off by as much"
    assert (words in told) == (off > 0)

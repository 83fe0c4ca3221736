"""``luthier convert``: the text on standard output or in a file, what it does not say on standard error."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.dialects import read
from tests.convert.recipes import ARGUMENTS, AXOLOTL_QLORA, OWN

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def axolotl(tmp_path: Path) -> Path:
    path = tmp_path / "run.yml"
    path.write_text(AXOLOTL_QLORA, encoding="utf-8")
    return path


def test_convert_prints_the_text_and_lists_what_it_does_not_say(luthier: Run, axolotl: Path, tmp_path: Path) -> None:
    done = luthier("convert", axolotl, "optimizer.lr=3e-5", "--to", "firefly")
    assert done.returncode == 0
    keys = json.loads(done.stdout)
    assert (keys["model_name_or_path"], keys["learning_rate"], keys["lora_rank"]) == ("acme/lantern-7b", 3e-5, 32)
    first, *lines = done.stderr.splitlines()
    assert first == "What the firefly file does not say:"
    assert "  tokenizer.pad = <|pad|> (it has no key for it)" in lines
    assert "  data.holdout = 0.05; the file means 0 (it has no key for it)" in lines
    assert not [line for line in lines if "optimizer.lr" in line or "adapter" in line]


def test_to_our_own_and_back_loses_nothing(luthier: Run, axolotl: Path, tmp_path: Path) -> None:
    there = luthier("convert", axolotl, "--to", "luthier", "--output", tmp_path / "own.yaml")
    assert (there.returncode, there.stdout, there.stderr) == (0, "", "")
    back = luthier("convert", tmp_path / "own.yaml", "--to", "axolotl", "--output", tmp_path / "back.yml")
    assert (back.returncode, back.stderr) == (0, "")
    recipes = [read(tmp_path / name).recipe for name in ("run.yml", "own.yaml", "back.yml")]
    assert recipes[0] == recipes[1] == recipes[2]


def test_a_file_that_is_there_is_written_over_only_when_told_to(luthier: Run, axolotl: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.yaml"
    target.write_text("mine")
    done = luthier("convert", axolotl, "--to", "luthier", "--output", target)
    assert done.returncode == 2 and target.read_text() == "mine"
    assert done.stderr == f"luthier: {target}: is there already\n  -> add --force to write over it\n"
    assert luthier("convert", axolotl, "--to", "luthier", "--output", target, "--force").returncode == 0
    assert read(target).recipe == read(axolotl).recipe


def test_refused_keys_of_the_source_are_listed_and_secrets_are_not_shown(luthier: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.yml"
    path.write_text(AXOLOTL_QLORA + "relora: true\ncomet_api_key: sesame-open\nhub_token: sesame-open\n")
    done = luthier("convert", path, "--to", "axolotl", "--json")
    assert done.returncode == 0 and "sesame" not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert list(told) == ["dialect", "text", "missing"] and told["dialect"] == "axolotl"
    missing = {one["setting"]: one for one in told["missing"]}
    assert list(missing) == ["relora"]
    assert (missing["relora"]["value"], missing["relora"]["means"]) == (True, None)
    assert str(path) in missing["relora"]["why"] and "restarting a merged LoRA" in missing["relora"]["why"]


def test_what_the_source_leaves_open_is_said(luthier: Run, tmp_path: Path) -> None:
    path = tmp_path / "args.txt"
    path.write_text(ARGUMENTS)
    done = luthier("convert", path, "--to", "training_arguments")
    assert done.returncode == 0 and "open: " in done.stderr and "no model is named" in done.stderr
    assert "HUB_TOKEN" not in done.stdout + done.stderr


def test_settings_of_our_own_that_axolotl_has_no_key_for(luthier: Run, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN, encoding="utf-8")
    done = luthier("convert", path, "--to", "axolotl")
    assert done.returncode == 0 and "adapter: lora" in done.stdout and "厨房" in done.stdout
    lost = {line.split(" = ")[0].strip() for line in done.stderr.splitlines()[1:]}
    assert {"data.train.0.weight", "model.last_layers", "track.tags", "pack.kind", "data.overlong"} <= lost
    assert not {"adapter.rank", "adapter.targets", "optimizer.clip", "schedule.minimum", "track.to"} & lost


def test_an_unknown_dialect_is_told(luthier: Run, axolotl: Path) -> None:
    done = luthier("convert", axolotl, "--to", "firefly2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "luthier: --to: 'firefly2' cannot be written\n  -> did you mean firefly?\n"


def test_a_pasted_command_can_be_converted(luthier: Run) -> None:
    flags = ("--model_name_or_path", "acme/m", "--dataset_name", "acme/d", "--use_peft_lora", "True")
    done = luthier("convert", "--to", "axolotl", "--", "python", "train.py", *flags)
    assert done.returncode == 0 and "base_model: acme/m" in done.stdout and "adapter: lora" in done.stdout

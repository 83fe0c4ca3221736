"""The real command on files that are malicious or a mess: an error with place and remedy, soon, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Luthier = Callable[..., "subprocess.CompletedProcess[str]"]

AXOLOTL = """base_model: NousResearch/Llama-2-7b-hf
datasets:
  - path: a/b
    type: alpaca
micro_batch_size: 1
sequence_len: 512
adapter: lora
lora_r: 8
lora_alpha: 16
"""
FIREFLY = {
    "output_dir": "out", "model_name_or_path": "a/b", "train_file": "rows.jsonl", "template_name": "qwen",
    "train_mode": "lora", "lora_rank": 64, "max_seq_length": 1024, "learning_rate": 2e-4,
}  # fmt: skip
SCRIPT = """accelerate launch train.py \\
  --model_name_or_path a/b \\
  --dataset_name c/d \\
  --use_peft_lora True \\
  --lora_r 8 \\
  --learning_rate 1e-4
"""
SECRET = "hf_0123456789abcdef"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


def told(luthier: Luthier, path: Path, *words: str) -> str:
    """What the command says of a file that it cannot take: in a moment, by our error, obeyed by no terminal."""
    begun = time.monotonic()
    done = luthier("read", path, *words)
    assert time.monotonic() - begun < 30
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr and len(done.stderr) < 20_000
    return done.stderr


@pytest.mark.parametrize(
    ("name", "content", "place", "reason"),
    [
        ("tag.yaml", AXOLOTL + "x: !!python/object/apply:os.system [touch made]\n", ":10", "is not allowed"),
        ("bomb.yaml", BOMB + AXOLOTL, "", "unfolds to more than"),
        ("deep.yaml", AXOLOTL + "a: " + "[" * 10_000, ":10", "unfolds to more than"),
        ("deep.json", '{"a":' * 10_000, ":1", "levels"),
        ("keys.yaml", AXOLOTL + "".join(f"k{n}: 1\n" for n in range(40_000)), "", "more than"),
        ("large.yaml", AXOLOTL + "#" * 10_000_000, "", "over 1 MB"),
        ("twice.yaml", AXOLOTL + "lora_r: 9\nadapter: qlora\n", ":10", "'lora_r' is written twice (first on line 8)"),
        ("several.yaml", AXOLOTL + "---\n" + AXOLOTL, ":10", "another document"),
        ("tab.yaml", AXOLOTL + "x:\n\ty: 1\n", ":11", "indented with a tab"),
        ("colon.yaml", AXOLOTL.replace("lora_r: 8", "lora_r\uff1a8"), ":8", "U+FF1A"),
        ("unseen.yaml", AXOLOTL.replace("lora_r", "lora\u200b_r"), ":8", "U+200B"),
        ("quotes.yaml", AXOLOTL.replace(": lora", ": \u201clora\u201d"), ":7", "typographic quotes"),
        ("number.yaml", AXOLOTL.replace("lora_r: 8", "lora_r: 0x" + "f" * 10_000), ":8", "cannot be read as int"),
        ("escape.yaml", AXOLOTL + "x: \x1b]0;title\x07\n", ":10", "control character"),
        ("key.yaml", AXOLOTL + '"\\e[2J": 1\n', ":10", "U+001B"),
        ("binary.yaml", bytes(range(256)) * 20, "", "binary"),
        ("utf16.yaml", AXOLOTL.encode("utf-16"), "", "UTF-16"),
        ("gbk.yaml", (AXOLOTL + "# 模型的路径\n").encode("gb18030"), ":10", "probably GBK"),
        ("empty.yaml", "", "", "no model is named"),
    ],
)
def test_what_cannot_be_read_is_told_with_place_and_remedy(
    luthier: Luthier, tmp_path: Path, name: str, content: str | bytes, place: str, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    said = told(luthier, path)
    assert f"{path}{place}" in said and reason in said and "\n  -> " in said
    assert not (tmp_path / "made").exists()


def test_all_faults_of_a_file_are_told_at_once(luthier: Luthier, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(AXOLOTL + "lora_r: 9\nx: !mine 1\n'a\u00a0b': 1\ny: \u201cz\u201d\n")
    said = told(luthier, path)
    assert [f"r.yaml:{line}:" in said for line in (10, 11, 12, 13)] == [True] * 4


def test_paths_that_are_no_files_are_told_and_not_waited_for(luthier: Luthier, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    for name, reason in (
        ("pipe", "is no ordinary file"),
        ("zero", "is no ordinary file"),
        ("loop", "cannot be read"),
        ("folder", "is a folder"),
        ("missing", "cannot be read"),
    ):
        assert f"{name}: {reason}" in told(luthier, tmp_path / name)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../../../../../etc/passwd", "../other/secret.json"])
def test_a_path_out_of_the_tree_shows_nothing_of_what_it_leads_to(luthier: Luthier, tmp_path: Path, path: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.json").write_text(json.dumps({"login": SECRET}))
    recipe = tmp_path / "recipes" / "firefly.json"
    recipe.parent.mkdir()
    recipe.write_text(json.dumps({**FIREFLY, "deepspeed": path}))
    done = luthier("read", recipe)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "root:" not in done.stdout + done.stderr and SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.yaml", AXOLOTL + f"hub_token: {SECRET}\n"),
        ("r.json", json.dumps({**FIREFLY, "hub_token": SECRET})),
        ("r.sh", f"export HF_TOKEN={SECRET}\n{SCRIPT.rstrip()} --hub_token {SECRET} --push_to_hub_token={SECRET}\n"),
    ],
)
@pytest.mark.parametrize("option", [(), ("--json",)])
def test_a_token_is_never_shown(
    luthier: Luthier, tmp_path: Path, name: str, content: str, option: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(content)
    done = luthier("read", tmp_path / name, *option)
    assert SECRET not in done.stdout + done.stderr and "token" in done.stdout.lower()


@pytest.mark.parametrize(
    "script",
    [
        SCRIPT,
        SCRIPT.replace(" \\\n", " \\  # a comment\n"),
        SCRIPT.replace("\n", "\r\n"),
        SCRIPT.replace("\\\n", "^\n"),
        "\ufeff" + SCRIPT,
        SCRIPT.rstrip() + " 2>&1 | tee log.txt\n",
        "CUDA_VISIBLE_DEVICES=0 nohup " + SCRIPT.rstrip() + " > log 2>&1 &\n",
        "cat > c.json <<EOF\n{}\nEOF\ncd x && " + SCRIPT,
        SCRIPT.replace("a/b", "${MODEL:-a/b}"),
    ],
)
def test_a_pasted_command_means_the_same_however_it_is_wrapped(luthier: Luthier, tmp_path: Path, script: str) -> None:
    (tmp_path / "run.sh").write_bytes(script.encode())
    done = luthier("read", tmp_path / "run.sh", "--json")
    assert done.returncode == 0, done.stderr
    recipe = json.loads(done.stdout)["recipe"]
    assert (recipe["model"]["path"], recipe["adapter"]["rank"], recipe["optimizer"]["lr"]) == ("a/b", 8, 1e-4)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a/b", "$(touch made)", "nothing is executed"),
        ("a/b", "`touch made`", "nothing is executed"),
        ("a/b", "$MODEL", "$MODEL has no value"),
        ("a/b", "\u201ca/b\u201d", "typographic"),
        ("--lora_r", "\u2014lora_r", "typographic"),
        ("--lora_r", "--lora\u200b_r", "cannot be seen"),
    ],
)
def test_what_a_script_leaves_open_is_refused(luthier: Luthier, tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "run.sh").write_text(SCRIPT.replace(old, new))
    done = luthier("read", tmp_path / "run.sh", "--json")
    notes = [one["note"] for one in json.loads(done.stdout)["accounts"] if one["outcome"] == "refused"]
    assert done.returncode == 2 and any(said in note for note in notes)
    assert not (tmp_path / "made").exists()


def test_the_first_documents_spaced_name_is_refused_with_the_likely_one(luthier: Luthier, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(AXOLOTL.replace("Llama-2-7b-hf", "Llama - 2 - 7b - hf"))
    done = luthier("read", tmp_path / "r.yaml", "--json")
    assert done.returncode == 2 and "write 'NousResearch/Llama-2-7b-hf'" in done.stdout


def test_markup_and_escapes_in_values_are_shown_as_written(luthier: Luthier, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({**FIREFLY, "output_dir": "[red]x[/red]", "run_name": "\x1b[31mx"}))
    done = luthier("read", tmp_path / "r.json", "--json")
    assert done.returncode == 0 and "[red]x[/red]" in done.stdout and "\x1b" not in done.stdout

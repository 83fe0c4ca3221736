"""The Chinese catalogue: whole, without leftovers, and applied to the accounts of real files."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import luthier
from luthier.dialects.read import read
from luthier.dialects.reading import Reading
from luthier.explain.notes import entries, translated
from tests.explain.said import Extraction

SOURCE = Path(luthier.__file__).parent
CHINESE = re.compile(r"[\u4e00-\u9fff]")

AXOLOTL = """\
base_model: meta-llama/Llama-3.2-1B
load_in_4bit: true
adapter: qlora
datasets:
  - path: rows.jsonl
    type: chat_template
mora: {rank: 4}
sequence_len: 1024
sample_packing: true
micro_batch_size: 2
lora_qkv_kernel: true
peft_autocast_adapter_dtype: false
lora_rr: 8
dpo_use_weighting: true
warmup_steps: 0.1
"""

FIREFLY = """\
{
  "model_name_or_path": "m",
  "train_file": "rows.jsonl",
  "template_name": "qwen",
  "max_seq_length": 512,
  "output_dir": "out",
  "fp16": true,
  "eval_file": "rows.jsonl",
  "lr_scheduler_type": "cosin"
}
"""

CHATGLM3 = """\
data_config:
  train_file: train.json
  num_proc: 16
max_input_length: 64
max_output_length: 64
training_args:
  output_dir: ./output
  max_steps: 10
  per_device_train_batch_size: 1
  use_cpu: true
  predict_with_generate: true
  generation_config:
    max_new_tokens: 64
peft_config:
  peft_type: PREFIX_TUNING
  task_type: CAUSAL_LM
  num_virtual_tokens: 16
"""

PEFT_SFT = """\
WIDTH=$1
accelerate launch --config_file gone.yaml train.py \\
--model_name_or_path m --dataset_name d --packing True --use_peft_lora True \\
--lora_r $WIDTH --output_dir out --use_unsloth True
"""

DUMP = """\
TrainingArguments(
_n_gpu=1,
learning_rate=5e-05,
logging_dir=out/runs/Jan01_10-00-00_host,
optim=adamw_torch,
output_dir=out,
report_to=[],
save_steps=500,
data_seed=7,
)
"""

LUTHIER = """\
model: {path: m}
data: {train: [{path: rows.jsonl}]}
pack: {kind: none, length: 64}
batch: {steps: 10, epochs: 2.0}
"""

FILES = {
    "axolotl": ("qlora.yml", AXOLOTL),
    "firefly": ("sft.json", FIREFLY),
    "chatglm3": ("ptuning.yaml", CHATGLM3),
    "peft_sft": ("run.sh", PEFT_SFT),
    "training_arguments": ("args.txt", DUMP),
    "luthier": ("own.yaml", LUTHIER),
}


@pytest.fixture(scope="module")
def said() -> Extraction:
    rules = (SOURCE / "recipe" / f"{name}.py" for name in ("contradictions", "inert"))
    return Extraction([*SOURCE.glob("dialects/**/*.py"), *rules])


def reading(folder: Path, dialect: str) -> Reading:
    name, text = FILES[dialect]
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read(path)


def told(found: Reading) -> dict[str, str]:
    return {account.key: translated(account.note, "zh") for account in found.accounts}


def test_everything_that_may_be_said_has_an_entry(said: Extraction) -> None:
    known = {en for en, _ in entries()}
    missing = [f"{place}: {text}" for text, place in sorted(said.texts.items()) if text not in known]
    assert not missing, "\n".join(["say it in src/luthier/explain/words/notes*.toml:", *missing])


def test_no_entry_is_unused_or_written_twice(said: Extraction) -> None:
    unused = [en for en, _ in entries() if en not in said.texts]
    assert not unused, "\n".join(["nothing says this any more:", *unused])
    assert [en for en, count in Counter(en for en, _ in entries()).items() if count > 1] == []


def test_entries_are_chinese_and_keep_every_value() -> None:
    for en, zh in entries():
        assert CHINESE.search(zh) or not any(map(str.isalpha, en)), en
        places = re.findall(r"\{(\d*)(?::note)?\}", zh)
        assert len(places) == en.count("{}"), (en, zh)
        numbered = [place for place in places if place]
        assert not numbered or sorted(map(int, numbered)) == list(range(len(places))), (en, zh)


def test_every_entry_is_the_one_that_tells_its_text() -> None:
    for en, zh in entries():
        if not any(map(str.isalpha, en)):
            continue
        filled, expected = en, zh
        for index in range(en.count("{}")):
            filled = filled.replace("{}", f"v{index}", 1)
            expected = re.sub(rf"\{{({index})?(:note)?\}}", f"v{index}", expected, count=1)
        assert translated(filled, "zh") == expected, en


def test_the_search_through_the_source_leaves_nothing_out(said: Extraction) -> None:
    """What it cannot resolve is a text that another place has said: an attribute, or a setting's own reason."""
    passed_on = re.compile(r"(.*\.(note|reason|remedy))|why_inert\(.*\)|whys\[0\]|str\(reason\)|.*\.rstrip\(\)")
    assert [one for one in said.unresolved.items() if not passed_on.fullmatch(one[0])] == []
    assert len(said.texts) > 500


def test_the_search_follows_constants_tables_and_parameters(tmp_path: Path) -> None:
    source = tmp_path / "some.py"
    source.write_text(
        'WHY = "a constant"\n'
        'BOTH = ("first of a tuple", "second of a tuple")\n'
        "def helper(key, reason, *, remedy='by default'):\n"
        "    return lambda value: refused(f'{value!r}: {reason}', remedy)\n"
        "ROWS = (\n"
        "    Inert('a', WHY, (None,), 'as a remedy'),\n"
        "    Refused('b', *BOTH),\n"
        "    helper('c', 'handed on'),\n"
        "    *(Inert(name, reason) for name, reason in (('d', 'out of a loop'), ('e', f'out of {WHY}s'))),\n"
        ")\n"
        "def effect(value):\n"
        "    note = 'one way' if value else 'the other'\n"
        "    return applied({'x': 'no note'}, note)\n"
    )
    found = Extraction([source])
    assert set(found.texts) == {
        *("a constant", "as a remedy", "first of a tuple", "second of a tuple", "{}: {}", "handed on", "by default"),
        *("out of a loop", "out of {}s", "one way", "the other"),
    }
    assert not found.unresolved


@pytest.mark.parametrize("dialect", FILES)
def test_every_note_of_a_real_file_is_told_in_chinese(dialect: str, tmp_path: Path) -> None:
    found = reading(tmp_path, dialect)
    assert found.dialect == dialect
    notes = [account.note for account in found.accounts if account.note]
    assert notes
    english = [note for note in notes if not CHINESE.search(translated(note, "zh"))]
    assert english == []
    assert all(translated(note, "en") == note for note in notes)


def test_a_reason_and_its_remedy(tmp_path: Path) -> None:
    notes = told(reading(tmp_path, "axolotl"))
    assert notes["mora"] == "不支持 MoRA；写 adapter: lora"
    assert notes["peft_autocast_adapter_dtype"] == "适配器以全精度存放，但 False 会有影响；去掉它"
    assert notes["dpo_use_weighting"] == "True：不支持 DPO 的这一项；去掉它"


def test_values_stay_as_they_are(tmp_path: Path) -> None:
    assert told(reading(tmp_path, "axolotl"))["lora_rr"] == "不是 axolotl 的键；是不是想写 lora_r？"
    assert (
        told(reading(tmp_path, "firefly"))["lr_scheduler_type"] == "'cosin' 不是有效的学习率调度；是不是想写 cosine？"
    )
    assert "gone.yaml" in told(reading(tmp_path, "peft_sft"))["launcher.config_file"]


def test_a_whole_note_with_a_semicolon_is_one_entry(tmp_path: Path) -> None:
    note = "one seed rules the whole run, the order of the rows included; set seed for another order"
    assert note in [account.note for account in reading(tmp_path, "training_arguments").accounts]
    assert translated(note, "zh") == "整个任务只用一个种子，数据行的顺序也由它决定；想要其他顺序请设置 seed"


def test_a_settings_own_reason(tmp_path: Path) -> None:
    notes = told(reading(tmp_path, "luthier"))
    assert (notes["pack.length"], notes["batch.epochs"]) == ("pack.kind 为 none", "以 batch.steps 为准")


def test_a_refusal_by_strict_and_a_word_of_the_command_line(tmp_path: Path) -> None:
    strict = told(reading(tmp_path, "axolotl").strict())
    assert strict["lora_rr"] == "不是 axolotl 的键；是不是想写 lora_r？（因 --strict 而拒绝）"
    given = read(tmp_path / FILES["axolotl"][0], ["schedule.warmup_share=0.2"])
    assert told(given)["warmup_steps"] == "schedule.warmup_share：以命令行为准"


def test_values_with_semicolons_and_colons_do_not_mislead() -> None:
    remedy = "写一个数字，例如 2e-5"
    assert translated("'a; b' is not a number; write one, for instance 2e-5", "zh") == f"'a; b' 不是数字；{remedy}"
    assert (
        translated("'it: is; none' is not a text; write it in quotes", "zh") == "'it: is; none' 不是文本；用引号括起来"
    )


def test_a_value_that_is_a_text_itself_is_told_too() -> None:
    note = "0.1: this term of DPO is not there; leave it out"
    assert translated(note, "zh") == "0.1：不支持 DPO 的这一项；去掉它"


def test_the_order_of_values_may_differ() -> None:
    note = "it says 3 for optimizer.lr, and a.yaml:3 says 4; keep one"
    assert translated(note, "zh") == "它把 optimizer.lr 设为 3，而 a.yaml:3 设为 4；只保留一个"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "; ",
        ": ",
        "nobody said this",
        "this: neither; nor this",
        "x" * 5000,
        "a; " * 500,
        "a: " * 900,
        "a: " * 600 + "; b",
    ],
)
def test_what_is_not_known_stays_english(note: str) -> None:
    assert translated(note, "zh") == note


def test_what_is_known_is_told_beside_what_is_not() -> None:
    assert translated("somebody's own reason; write adapter: lora", "zh") == "somebody's own reason；写 adapter: lora"

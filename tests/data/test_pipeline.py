"""Rows go through every stage once; afterwards they come from the cache, unless anything that made them has changed."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.data.cache import alone
from luthier.data.cache_key import cache_entry
from luthier.data.corpus import examples, texts
from luthier.data.encoder import Encoder
from luthier.data.holdout import split_holdout
from luthier.data.pipeline import prepare
from luthier.data.preparation import CHUNK
from luthier.data.store import TokenStore
from luthier.data.template_names import template_source
from luthier.errors import DataError
from luthier.recipe import Recipe
from tests.conftest import World, write_jsonl
from tests.data.made import learned_by_id, make_tokenizer, recipe_of

ROWS = [{"human": f"Where is number {n}?", "assistant": f"At {n}."} for n in range(8)]

Settings = dict[str, Any]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", ROWS)


def recipe(world: World, rows: Path, source: Settings | None = None, **sections: Any) -> Recipe:
    data = {"train": [{"path": str(rows), **(source or {})}], **sections.pop("data", {})}
    return recipe_of(world, data=data, **sections)


def prepared(wanted: Recipe, tokenizer: Path, told: Callable[[int], None] | None = None) -> tuple[TokenStore, bool]:
    return prepare(wanted, wanted.data.train, tokenizer, told)


def counted(world: World, rows: Path, source: Settings | None = None, **data: Any) -> Settings:
    wanted = recipe(world, rows, source, data=data)
    return prepared(wanted, world.model)[0].summary


def entries(root: Path | None = None) -> list[Path]:
    folder = (root or Path(os.environ["LUTHIER_CACHE"])) / "tokens"
    return sorted(folder.iterdir()) if folder.is_dir() else []


# From rows to documents.


def test_rows_become_documents_with_their_origins(world: World, rows: Path, encoder: Encoder) -> None:
    store, _ = prepared(recipe(world, rows), world.model)
    assert [tokens.origin for tokens in store] == [f"{rows}:{number}" for number in range(1, 9)]
    assert [learned_by_id(tokens, encoder) for tokens in store] == [[f"At {n}.<|im_end|>"] for n in range(8)]
    assert store.summary == {"rows": 8, "fates": {"kept": 8}, "bad_rows": [], "lost_answer_tokens": 0}


def test_sources_follow_one_another(world: World, rows: Path) -> None:
    other = write_jsonl(rows.parent / "other.jsonl", [{"text": "A document."}])
    wanted = recipe_of(world, data={"train": [{"path": str(other)}, {"path": str(rows), "rows": 2}]})
    store, _ = prepared(wanted, world.model)
    assert [tokens.origin for tokens in store] == [f"{other}:1", f"{rows}:1", f"{rows}:2"]
    assert store[0].trained.all() and not store[1].trained.all()


def test_chunks_leave_no_seams(world: World, tmp_path: Path) -> None:
    count = 2 * CHUNK + 3
    path = write_jsonl(tmp_path / "many.jsonl", [{"text": f"Number {n}."} for n in range(count)])
    told: list[int] = []
    store, _ = prepared(recipe(world, path), world.model, told.append)
    assert told == [CHUNK, 2 * CHUNK, count]
    assert [tokens.origin for tokens in store] == [f"{path}:{number}" for number in range(1, count + 1)]
    assert store.summary["rows"] == count


def test_pretraining_reads_documents_to_their_end_token(world: World, encoder: Encoder) -> None:
    wanted = recipe(world, world.stories, method={"kind": "pretrain"})
    store, _ = prepared(wanted, world.model)
    assert encoder.decode(store[0].ids.tolist()) == json.loads(world.stories.read_text().splitlines()[0])["text"]
    assert all(tokens.ids[-1] == encoder.id_of("eos_token") and tokens.trained.all() for tokens in store)


def test_pretraining_on_conversations_is_refused_with_the_row(world: World, rows: Path) -> None:
    with pytest.raises(DataError, match="this row is a conversation") as caught:
        prepared(recipe(world, rows, method={"kind": "pretrain"}), world.model)
    assert caught.value.faults[0].place == f"{rows}:1" and caught.value.faults[0].remedy


def test_the_tokenizer_can_learn_from_every_text(world: World, rows: Path) -> None:
    wanted = recipe(world, rows, {"rows": 2})
    expected = ["Where is number 0?", "At 0.", "Where is number 1?", "At 1."]
    assert list(texts(wanted, wanted.data.train)) == expected


# What becomes of the odd ones.


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    short, long = {"human": "x", "assistant": "short"}, {"human": "x" * 200, "assistant": "long " * 30}
    return write_jsonl(tmp_path / "uneven.jsonl", [short, long, {"human": "y", "assistant": "short"}])


def test_long_rows_are_dropped_and_counted(world: World, uneven: Path) -> None:
    found = counted(world, uneven)
    assert found["fates"] == {"kept": 2, "dropped": 1} and found["rows"] == 3
    answer = Encoder.open(world.model).encode(["long " * 30 + "<|im_end|>"])[0]
    assert found["lost_answer_tokens"] == len(answer)


def test_long_rows_are_cut_and_what_is_lost_is_counted(world: World, uneven: Path) -> None:
    dropped = counted(world, uneven)["lost_answer_tokens"]
    wanted = recipe(world, uneven, data={"overlong": "truncate_left"})
    store, _ = prepared(wanted, world.model)
    assert store.summary["fates"] == {"kept": 2, "truncated": 1}
    assert store.lengths.max() == 96
    kept = 96 - 2  # the last one is the line break after the answer, and the first one has none before it
    assert store.summary["lost_answer_tokens"] == dropped - kept


def test_a_row_cut_before_its_answer_is_refused_unless_asked_for(world: World, uneven: Path) -> None:
    with pytest.raises(DataError, match="nothing of it would be learned") as caught:
        counted(world, uneven, overlong="truncate")
    assert [fault.place for fault in caught.value.faults] == [f"{uneven}:2"] and entries() == []
    assert "data.vanished: drop" in caught.value.faults[0].remedy
    found = counted(world, uneven, overlong="truncate", vanished="drop")
    assert found["fates"] == {"kept": 2, "vanished": 1}
    assert found["lost_targets"] == {"vanished": found["lost_answer_tokens"]} and found["lost_answer_tokens"] > 30


def test_the_answer_can_be_kept_whole(world: World, tmp_path: Path, encoder: Encoder) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x" * 300}]
    row = {"messages": [*turns, {"role": "assistant", "content": "At the mill."}]}
    path = write_jsonl(tmp_path / "d.jsonl", [row])
    store, _ = prepared(recipe(world, path, data={"overlong": "keep_answer"}), world.model)
    text = encoder.decode(store[0].ids.tolist(), skip_control=False)
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert len(store[0]) == 96 and learned_by_id(store[0], encoder) == ["At the mill.<|im_end|>"]
    assert store.summary["fates"] == {"truncated": 1} and store.summary["lost_answer_tokens"] == 0


def test_long_documents_are_split_with_nothing_lost_but_first_targets(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "long.jsonl", [{"text": "word " * 200}])
    store, _ = prepared(recipe(world, path, data={"overlong": "split"}), world.model)
    whole = len(Encoder.open(world.model).encode(["word " * 200])[0]) + 1
    assert store.lengths.sum() == whole and store.lengths.max() == 96
    assert store.summary["fates"] == {"split": 1}
    assert store.summary["lost_answer_tokens"] == len(store) - 1


def test_long_rows_can_be_refused_all_at_once(world: World, tmp_path: Path) -> None:
    long = {"human": "x" * 300, "assistant": "y"}
    path = write_jsonl(tmp_path / "d.jsonl", [long, ROWS[0], long])
    with pytest.raises(DataError) as caught:
        prepared(recipe(world, path, data={"overlong": "refuse"}), world.model)
    assert [fault.place for fault in caught.value.faults] == [f"{path}:1", f"{path}:3"]
    assert all("tokens long" in fault.reason and fault.remedy for fault in caught.value.faults)
    assert entries() == []


def test_duplicates_are_dropped_on_demand(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [ROWS[0], ROWS[1], ROWS[0], ROWS[0]])
    assert counted(world, path)["fates"] == {"kept": 4}
    found = counted(world, path, deduplicate=True)
    assert found["fates"] == {"kept": 2, "duplicate": 2} and found["lost_answer_tokens"] == 0


def test_bad_rows_within_the_budget_are_told_of(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [ROWS[0], {"human": "x"}, ROWS[1]])
    found = counted(world, path, bad_rows=1)
    assert found["rows"] == 3 and found["fates"] == {"kept": 2}
    assert len(found["bad_rows"]) == 1 and found["bad_rows"][0].startswith(f"{path}:2: has no column 'assistant'")


def test_bad_rows_above_the_budget_leave_no_entry(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [ROWS[0], {"human": "x"}, {"human": "y"}])
    with pytest.raises(DataError) as caught:
        counted(world, path, bad_rows=1)
    assert [fault.place for fault in caught.value.faults[:2]] == [f"{path}:2", f"{path}:3"] and entries() == []
    assert caught.value.faults[2].reason == "2 bad rows, written down with the reasons"
    assert [json.loads(line)["human"] for line in Path(caught.value.faults[2].place).read_text().splitlines()] == [
        "x",
        "y",
    ]


@pytest.mark.parametrize(
    ("lines", "data", "reason", "remedy"),
    [
        ([{"human": "x" * 300, "assistant": "y"}], {}, r"\(1 dropped; data.max_length 96\)", "data.max_length"),
        (ROWS[:2], {"train_on": ["tool"]}, r"\(2 untrained; ", "data.train_on"),
        ([], {}, r"\(no rows; ", "empty"),
    ],
    ids=["long", "roles", "empty"],
)
def test_when_nothing_is_left_the_reason_is_told(
    world: World, tmp_path: Path, lines: list[Settings], data: Settings, reason: str, remedy: str
) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", lines)
    with pytest.raises(DataError, match="no trained token is left " + reason) as caught:
        prepared(recipe(world, path, data=data), world.model)
    fault = caught.value.faults[0]
    assert fault.place == str(path) and remedy in fault.remedy and entries() == []


def test_a_file_of_bad_rows_only_is_not_called_empty(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"human": "x"}])
    with pytest.raises(DataError, match=r"\(1 set aside; ") as caught:
        counted(world, path, {"format": "human_assistant"}, bad_rows=1)
    assert "has no column 'assistant'" in caught.value.faults[0].remedy


# The cache.


def test_rows_are_prepared_once(world: World, rows: Path) -> None:
    told: list[int] = []
    first, was_cached = prepared(recipe(world, rows), world.model, told.append)
    assert not was_cached and told == [8]
    (place,) = entries()
    before = [(path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(place.iterdir())]
    again, is_cached = prepared(recipe(world, rows), world.model, told.append)
    assert is_cached and told == [8] and entries() == [place]
    assert [(path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(place.iterdir())] == before
    assert again.ids.tolist() == first.ids.tolist() and again.trained.tolist() == first.trained.tolist()
    assert again.summary == first.summary and again.key == first.key == place.name


@pytest.mark.parametrize(
    ("source", "sections"),
    [
        ({}, {"output": {"dir": "elsewhere"}}),
        ({}, {"seed": 99}),
        ({}, {"optimizer": {"lr": 0.5}}),
        ({}, {"batch": {"micro": 4, "accumulation": 2, "epochs": 7}}),
        ({}, {"pack": {"kind": "none"}}),
        ({}, {"schedule": {"kind": "constant"}}),
        ({}, {"data": {"shuffle": False, "holdout": 2, "workers": 2}}),
        ({"weight": 3.0}, {}),
    ],
    ids=str,
)
def test_settings_that_do_not_touch_the_documents_use_the_cache(
    world: World, rows: Path, source: Settings, sections: Settings
) -> None:
    prepared(recipe(world, rows), world.model)
    assert prepared(recipe(world, rows, source, **sections), world.model)[1]


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ({}, {"max_length": 95}),
        ({}, {"system": "Be brief."}),
        ({}, {"template": "plain"}),
        ({}, {"train_on": ["user", "assistant"]}),
        ({}, {"last_turn_only": True}),
        ({}, {"overlong": "truncate"}),
        ({}, {"deduplicate": True}),
        ({}, {"near_duplicates": 0.9}),
        ({}, {"vanished": "drop"}),
        ({}, {"bad_rows": 1}),
        ({"format": "human_assistant"}, {}),
        ({"control_tokens": "control"}, {}),
        ({"special_tokens": False}, {}),
        ({"columns": {"human": "assistant", "assistant": "human"}}, {}),
        ({"rows": 3}, {}),
    ],
    ids=str,
)
def test_settings_that_make_the_documents_prepare_them_anew(
    world: World, rows: Path, source: Settings, data: Settings
) -> None:
    prepared(recipe(world, rows), world.model)
    assert not prepared(recipe(world, rows, source, data=data), world.model)[1]
    assert len(entries()) == 2
    assert prepared(recipe(world, rows, source, data=data), world.model)[1]


def test_changed_rows_are_prepared_anew(world: World, rows: Path) -> None:
    prepared(recipe(world, rows), world.model)
    before = rows.stat()
    rows.write_bytes(rows.read_bytes().replace(b"At 3.", b"At 4."))
    os.utime(rows, ns=(before.st_atime_ns, before.st_mtime_ns))
    store, cached = prepared(recipe(world, rows), world.model)
    assert not cached and store[3].ids.tolist()[-6:] == store[4].ids.tolist()[-6:]


def test_a_file_that_joins_a_folder_is_prepared_anew(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    write_jsonl(folder / "a.jsonl", ROWS[:2])
    assert len(prepared(recipe(world, folder), world.model)[0]) == 2
    write_jsonl(folder / "b.jsonl", ROWS[2:3])
    assert len(prepared(recipe(world, folder), world.model)[0]) == 3


def test_the_same_rows_elsewhere_keep_their_own_origins(world: World, rows: Path) -> None:
    prepared(recipe(world, rows), world.model)
    moved = rows.rename(rows.parent / "moved.jsonl")
    store, cached = prepared(recipe(world, moved), world.model)
    assert not cached and store[0].origin == f"{moved}:1"


def test_rows_cut_into_other_files_are_prepared_anew(world: World, tmp_path: Path) -> None:
    one, two = (write_jsonl(tmp_path / name, ROWS[:2]) for name in ("1.jsonl", "2.jsonl"))
    both = [{"path": str(one)}, {"path": str(two)}]
    kept = recipe_of(world, data={"train": both})
    turned = recipe_of(world, data={"train": both[::-1]})
    assert not prepared(kept, world.model)[1] and not prepared(turned, world.model)[1]


def test_a_changed_tokenizer_prepares_anew(world: World, rows: Path, tmp_path: Path) -> None:
    own = tmp_path / "tokenizer"
    shutil.copytree(world.model, own)
    prepared(recipe(world, rows), world.model)
    assert prepared(recipe(world, rows), own)[1]
    make_tokenizer(own, eos_token="<|im_end|>")
    store, cached = prepared(recipe(world, rows), own)
    assert not cached and store.ids.max() < Encoder.open(own).vocabulary


def test_a_changed_token_of_the_configuration_prepares_anew(world: World, rows: Path, tmp_path: Path) -> None:
    own = make_tokenizer(tmp_path / "tokenizer")
    prepared(recipe(world, rows), own)
    make_tokenizer(own, eos_token="<|im_end|>")
    assert not prepared(recipe(world, rows), own)[1]


def test_the_weights_beside_the_tokenizer_do_not_matter(world: World, rows: Path, tmp_path: Path) -> None:
    own = make_tokenizer(tmp_path / "tokenizer")
    prepared(recipe(world, rows), own)
    (own / "model.safetensors").write_bytes(b"other weights")
    (own / "config.json").write_text("{}")
    assert prepared(recipe(world, rows), own)[1]


@pytest.mark.parametrize("where", ["file", "tokenizer"])
def test_a_changed_template_text_prepares_anew(world: World, rows: Path, tmp_path: Path, where: str) -> None:
    own = make_tokenizer(tmp_path / "tokenizer")
    file = tmp_path / "mine.jinja" if where == "file" else own / "chat_template.jinja"
    wanted = recipe(world, rows, data={"template": str(file) if where == "file" else "auto"})
    file.write_text("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}")
    first, _ = prepared(wanted, own)
    file.write_text("{% for m in messages %}{{ m.content }}!{{ eos_token }}{% endfor %}")
    second, cached = prepared(wanted, own)
    assert not cached and second.lengths.sum() > first.lengths.sum()


def test_a_template_that_writes_the_date_prepares_anew_every_day(
    world: World, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Day(datetime):
        today_is = 1

        @classmethod
        def now(cls, tz: Any = None) -> Day:
            return cls(2031, 5, cls.today_is)

    monkeypatch.setattr("luthier.data.jinja.datetime", Day)
    template = tmp_path / "dated.jinja"
    text = template_source("chatml", Encoder.open(world.model))
    template.write_text("{{ date_string | default(strftime_now('%d %B')) }}" + text, encoding="utf-8")
    asked = recipe(world, rows, data={"template": str(template)})
    first, _ = prepared(asked, world.model)
    assert any("2031-05-01" in note and "date_string" in note for note in first.summary["notes"])
    assert prepared(asked, world.model)[1]
    Day.today_is = 2
    second, cached = prepared(asked, world.model)
    assert not cached and second.ids.tolist() != first.ids.tolist()


def test_templates_do_not_matter_to_documents_of_pretraining(world: World) -> None:
    first = recipe(world, world.stories, method={"kind": "pretrain"})
    other = recipe(world, world.stories, method={"kind": "pretrain"}, data={"template": "plain", "system": "S"})
    assert not prepared(first, world.model)[1] and prepared(other, world.model)[1]
    assert not prepared(recipe(world, world.stories), world.model)[1]


FORMAT = """from luthier.data.example import Example, Message


def read(row):
    return Example((Message("user", row.value["human"]), Message("assistant", {answer})), row.origin)
"""


@pytest.mark.parametrize("layout", ["own_format.py", "own_formats/rows.py"])
def test_a_changed_format_of_the_user_s_prepares_anew(
    world: World, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    file = tmp_path / "code" / layout
    file.parent.mkdir(parents=True)
    module = layout.removesuffix(".py").replace("/", ".")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    wanted = recipe(world, rows, {"format": f"{module}:read"})
    made = []
    for answer in ('row.value["assistant"]', '"Nowhere."', '"Nowhere."'):
        file.write_text(FORMAT.format(answer=answer))
        for name in (module, module.partition(".")[0]):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        store, cached = prepared(wanted, world.model)
        made.append((cached, store.ids.tolist()))
    assert [cached for cached, _ in made] == [False, False, True]
    assert made[0][1] != made[1][1] == made[2][1]


def test_the_recipe_names_the_cache(world: World, rows: Path, tmp_path: Path) -> None:
    prepared(recipe(world, rows, data={"cache": str(tmp_path / "own")}), world.model)
    assert len(entries(tmp_path / "own")) == 1 and entries() == []


def test_a_damaged_entry_is_refused_with_its_folder(world: World, rows: Path) -> None:
    prepared(recipe(world, rows), world.model)
    (place,) = entries()
    (place / "ids.npy").write_bytes((place / "ids.npy").read_bytes()[:-4])
    with pytest.raises(DataError, match="the prepared data are damaged") as caught:
        prepared(recipe(world, rows), world.model)
    assert caught.value.faults[0].place == str(place)
    shutil.rmtree(place)
    assert len(prepared(recipe(world, rows), world.model)[0]) == 8


def test_an_entry_without_a_summary_is_not_read(world: World, rows: Path) -> None:
    prepared(recipe(world, rows), world.model)
    (place,) = entries()
    (place / "summary.json").unlink()
    with pytest.raises(DataError, match="the prepared data are damaged"):
        prepared(recipe(world, rows), world.model)


# Several processes, and some that die.

PROGRAM = """
import os, signal, sys
from pathlib import Path
from luthier.data.pipeline import prepare
from luthier.recipe.validate import build
import json

recipe = build(json.loads(sys.argv[1]), str)
print("ready", flush=True)
sys.stdin.readline()
told = (lambda count: os.kill(os.getpid(), signal.SIGKILL)) if sys.argv[3] == "die" else None
store, cached = prepare(recipe, recipe.data.train, Path(sys.argv[2]), told)
print(len(store), store.ids.sum(), cached)
"""


def process(world: World, rows: Path, how: str) -> subprocess.Popen[str]:
    tree = json.dumps(world.recipe(data={"train": [{"path": str(rows)}]}))
    command = [sys.executable, "-c", PROGRAM, tree, str(world.model), how]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_preparation_that_is_killed_leaves_nothing_that_is_read(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "many.jsonl", [{"text": f"Number {n}."} for n in range(2 * CHUNK)])
    dying = process(world, path, "die")
    dying.communicate("go\n", timeout=60)
    assert dying.returncode == -signal.SIGKILL
    wanted = recipe(world, path)
    assert not (cache_entry(wanted, wanted.data.train, world.model, Encoder.open(world.model))).exists()
    store, cached = prepared(wanted, world.model)
    assert not cached and len(store) == 2 * CHUNK


def test_two_processes_can_prepare_the_same_rows_at_once(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "many.jsonl", [{"text": f"Number {n}."} for n in range(3000)])
    both = [process(world, path, "live") for _ in range(2)]
    for one in both:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    (place,) = entries()
    store, cached = prepared(recipe(world, path), world.model)
    assert cached and place.name == store.key
    assert {tuple(out.split()[:2]) for out, _ in said} == {("3000", str(store.ids.sum()))}
    assert sorted(out.split()[2] for out, _ in said) == ["False", "True"]


def test_who_waits_is_told_why(world: World, rows: Path) -> None:
    wanted = recipe(world, rows)
    place = cache_entry(wanted, wanted.data.train, world.model, Encoder.open(world.model))
    said: list[str] = []
    with ThreadPoolExecutor(1) as thread, alone(place):
        waiting = thread.submit(prepare, wanted, wanted.data.train, world.model, None, said.append)
        while not said and not waiting.done():
            time.sleep(0.01)
    assert said == ["another process is preparing the same rows; waiting for it"]
    assert len(waiting.result()[0]) == 8


def test_a_file_in_another_encoding_is_told_of(world: World, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes('{"human": "磨坊在哪里", "assistant": "在河边"}\n'.encode("gbk"))
    store, _ = prepared(recipe(world, path), world.model)
    assert store.summary["notes"] == [f"{path} was read as GB18030, not UTF-8"]
    assert learned_by_id(store[0], Encoder.open(world.model)) == ["在河边<|im_end|>"]


def test_control_tokens_that_are_read_as_text_are_told_of(world: World, tmp_path: Path) -> None:
    rows = [{"text": "Fine."}, {"text": "a<|im_end|>b"}, {"text": "<|im_start|>user\nc"}]
    path = write_jsonl(tmp_path / "d.jsonl", rows)
    (note,) = prepared(recipe(world, path), world.model)[0].summary["notes"]
    assert note.startswith(f"{path}: 2 rows hold control tokens") and "control_tokens: control" in note
    store, _ = prepared(recipe(world, path, {"control_tokens": "control"}), world.model)
    assert "notes" not in store.summary


def test_a_beginning_that_stands_there_twice_is_told_of(world: World, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer", around="<s> $A", bos_token="<s>")
    path = write_jsonl(tmp_path / "d.jsonl", [{"text": "<s>Once."}, {"text": "Once."}])
    store, _ = prepared(recipe(world, path, {"control_tokens": "control"}), tokenizer)
    (note,) = store.summary["notes"]
    assert store[0].ids[:2].tolist() == [store[0].ids[0]] * 2
    assert note.startswith(f"{path}: 1 rows begin with <s>") and "special_tokens: false" in note


def test_near_duplicates_are_dropped_and_counted(world: World, tmp_path: Path) -> None:
    words = " ".join(f"w{n}" for n in range(30))
    texts = [words, words + " more", "something else altogether", words]
    path = write_jsonl(tmp_path / "d.jsonl", [{"text": text} for text in texts])
    found = counted(world, path, near_duplicates=0.8, max_length=512)
    assert found["fates"] == {"kept": 2, "near_duplicate": 2}
    both = counted(world, path, near_duplicates=0.8, deduplicate=True, max_length=512)
    assert both["fates"] == {"duplicate": 1, "kept": 2, "near_duplicate": 1}


def test_lines_that_are_no_json_are_within_the_budget_too(world: World, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('oops\n{"human": "a", "assistant": "b"}\n{"human": "c"}\n')
    found = counted(world, path, bad_rows=2)
    assert found["fates"] == {"kept": 1} and sorted(row.split(": ")[0] for row in found["bad_rows"]) == [
        f"{path}:1",
        f"{path}:3",
    ]
    wanted = recipe(world, path, data={"bad_rows": 2})
    assert [one.origin for one in examples(wanted, wanted.data.train)] == [f"{path}:2"]


# Documents held out.


@pytest.mark.parametrize(("holdout", "size"), [(0, 0), (3, 3), (0.25, 5), (0.001, 1), (19, 19), (0.95, 19)])
def test_documents_are_held_out_by_number_or_share(holdout: float, size: int) -> None:
    train, held = split_holdout(np.arange(20), holdout, seed=1)
    assert len(held) == size
    assert sorted([*train, *held]) == list(range(20))
    assert list(train) == sorted(train) and list(held) == sorted(held)


def test_the_seed_says_which_documents_are_held_out() -> None:
    drawn = [split_holdout(np.arange(50), 10, seed)[1].tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert not np.array_equal(drawn[0], np.arange(40, 50))


@pytest.mark.parametrize(("count", "holdout"), [(4, 4), (4, 9), (1, 0.5), (10, 0.99)])
def test_holding_out_everything_is_refused(count: int, holdout: float) -> None:
    with pytest.raises(DataError, match=f"of {count} rows would be held out") as caught:
        split_holdout(np.arange(count), holdout, seed=1)
    assert caught.value.faults[0].place == "data.holdout" and caught.value.faults[0].remedy


@pytest.mark.parametrize("holdout", [5, 0.4])
def test_what_came_of_one_row_stays_on_one_side(world: World, tmp_path: Path, holdout: float) -> None:
    texts = [" ".join(f"word{(7 * n + k) % 97}" for k in range(2 + 9 * (n % 4))) for n in range(20)]
    path = write_jsonl(tmp_path / "long.jsonl", [{"text": text} for text in texts])
    data = {"max_length": 24, "overlong": "split"}
    store, _ = prepared(recipe(world, path, method={"kind": "pretrain"}, data=data), world.model)
    assert store.summary["fates"]["split"] > 5
    train, held = split_holdout(store.origins.rows, holdout, seed=3)
    sides = [{store.origins[index] for index in side} for side in (train, held)]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 20
    assert len(sides[1]) == (5 if holdout == 5 else 8) < len(held)


@pytest.mark.parametrize("workers", [1, 2])
def test_empty_answers_are_told_of(world: World, tmp_path: Path, workers: int) -> None:
    said, empty = {"role": "assistant", "content": "Here."}, {"role": "assistant", "content": ""}
    calling = {**empty, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}]}
    asked = {"role": "user", "content": "Where?"}
    lists = ([asked, said], [asked, empty], [asked, calling], [asked, {**empty, "trained": False}, asked, said])
    path = write_jsonl(tmp_path / "d.jsonl", [{"messages": turns} for turns in (*lists, lists[1])])
    summary = counted(world, path, template="qwen3", workers=workers)
    told = "2 rows have an empty answer, of which nothing but the end is learned"
    assert summary["notes"] == [f"{told} (the first is {path}:2)"] and summary["fates"] == {"kept": 5}
    path = write_jsonl(tmp_path / "full.jsonl", [{"messages": lists[0]}])
    assert "notes" not in counted(world, path, template="qwen3", workers=workers)


def test_a_hub_dataset_that_changed_is_prepared_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load(path: str, name: str | None, **given: Any) -> datasets.Dataset:
        asked.append((path, name, given))
        return datasets.Dataset.from_list(ROWS[:4] if given["revision"] == "old" or len(asked) > after else ROWS[:2])

    monkeypatch.setattr(datasets, "load_dataset", load)
    after = 1000
    wanted = recipe_of(world, data={"train": [{"path": "acme/talks"}]})
    assert [len(prepared(wanted, world.model)[0]), prepared(wanted, world.model)[1]] == [2, True]
    after = len(asked)
    store, cached = prepared(wanted, world.model)
    assert not cached and list(store.origins) == [f"acme/talks[train]:#{n}" for n in range(1, 5)]
    pinned = recipe_of(world, data={"train": [{"path": "acme/talks", "revision": "old"}]})
    assert not prepared(pinned, world.model)[1]
    assert asked[-1] == ("acme/talks", None, {"split": "train", "revision": "old", "streaming": False})

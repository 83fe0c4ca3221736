"""Entries of the cache are whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from luthier.data.cache import alone, content_key, entry, keep
from luthier.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(text: str) -> Any:
    return lambda aside: (aside / "file").write_text(text)


def test_the_key_is_that_of_bytes_texts_and_settings(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"same")
    other.write_bytes(b"same")
    key = content_key([one], ["text"], {"a": 1, "b": [2]})
    assert content_key([other], ["text"], {"b": [2], "a": 1}) == key
    other.write_bytes(b"Same")
    changed = [
        content_key([other], ["text"], {"a": 1, "b": [2]}),
        content_key([one, one], ["text"], {"a": 1, "b": [2]}),
        content_key([one], ["texts"], {"a": 1, "b": [2]}),
        content_key([one], ["te", "xt"], {"a": 1, "b": [2]}),
        content_key([one], ["text"], {"a": 1, "b": [3]}),
    ]
    assert len({key, *changed}) == 6


def test_a_text_with_half_a_surrogate_pair_has_a_key() -> None:
    assert content_key([], ["\ud800"], {}) != content_key([], ["\udfff"], {})


def test_entries_lie_where_the_recipe_says_or_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert entry(None, "tokens", "k" * 64) == tmp_path / "own" / "tokens" / ("k" * 40)
    assert entry("~/named", "tokens", "key") == tmp_path / "home" / "named" / "tokens" / "key"


def test_an_entry_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"

    made: list[int] = []

    def make(aside: Path) -> None:
        assert not path.exists() and aside.parent == path.parent
        (aside / "file").write_text("made")
        made.append(aside.stat().st_ino)

    keep(path, make)
    assert [path.stat().st_ino] == made
    assert (path / "file").read_text() == "made"
    assert names(path.parent) == ["key"]


def test_the_faster_process_wins(tmp_path: Path) -> None:
    path = tmp_path / "key"

    def slow(aside: Path) -> None:
        (aside / "file").write_text("slow")
        keep(path, write("fast"))

    keep(path, slow)
    assert (path / "file").read_text() == "fast"
    assert names(tmp_path) == ["key"]


def test_a_failed_entry_leaves_nothing(tmp_path: Path) -> None:
    def fail(aside: Path) -> None:
        (aside / "file").write_text("half")
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        keep(tmp_path / "key", fail)
    assert names(tmp_path) == []


def test_an_error_of_the_rows_stays_one_of_the_rows(tmp_path: Path) -> None:
    def fail(aside: Path) -> None:
        raise DataError("is not JSON", place="d.jsonl:3")

    with pytest.raises(DataError, match=r"d.jsonl:3: is not JSON"):
        keep(tmp_path / "key", fail)


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="the cache cannot be written") as caught:
        keep(tmp_path / "file" / "tokens" / "key", write("x"))
    fault = caught.value.faults[0]
    assert fault.place == str(tmp_path / "file" / "tokens") and "data.cache" in fault.remedy


def test_a_full_disk_is_told_of(tmp_path: Path) -> None:
    def fail(aside: Path) -> None:
        raise OSError(28, os.strerror(28))

    with pytest.raises(DataError, match="the cache cannot be written: No space left"):
        keep(tmp_path / "key", fail)
    assert names(tmp_path) == []


def test_a_process_killed_while_it_writes_leaves_no_entry(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from luthier.data.cache import keep

def make(aside):
    (aside / "file").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

keep(Path(sys.argv[1]), make)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "key")], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "key").exists() and len(names(tmp_path)) == 1
    keep(tmp_path / "key", write("whole"))
    assert (tmp_path / "key" / "file").read_text() == "whole"


HOLDER = """
import sys
from pathlib import Path
from luthier.data.cache import alone

with alone(Path(sys.argv[1]), lambda text: print("waits", flush=True)):
    print("has it", flush=True)
    sys.stdin.readline()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=pipe, stdout=pipe, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("death", [False, True], ids=["done", "killed"])
def test_one_process_works_and_the_other_waits_until_it_is_done_or_dead(tmp_path: Path, death: bool) -> None:
    first = holder(tmp_path / "key")
    assert said(first) == "has it"
    second = holder(tmp_path / "key")
    assert said(second) == "waits"
    if death:
        first.kill()
    first.communicate("" if death else "go\n", timeout=60)
    assert said(second) == "has it"
    second.communicate("go\n", timeout=60)
    assert second.returncode == 0 and names(tmp_path) == []


def test_entries_of_other_keys_need_not_wait(tmp_path: Path) -> None:
    with alone(tmp_path / "key"), alone(tmp_path / "other"):
        assert len(names(tmp_path)) == 2


def test_what_a_dead_process_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".key-half").mkdir()
    (tmp_path / ".key-half" / "file").write_text("half")
    (tmp_path / ".other-half").mkdir()
    with alone(tmp_path / "key"):
        assert names(tmp_path) == [".key.lock", ".other-half"]
    assert names(tmp_path) == [".other-half"]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="the cache cannot be written"), alone(tmp_path / "file" / "key"):
        pass

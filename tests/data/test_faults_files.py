"""Files made to break a reader: each is read in bounded memory, or refused with what is wrong with it."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from luthier.data import lines
from luthier.data.cache_key import cache_entry
from luthier.data.encoder import Encoder
from luthier.data.pipeline import prepare
from luthier.data.source import files_of, rows_of
from luthier.errors import DataError, Fault
from luthier.recipe import Recipe
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of, source_of

ROWS = [{"text": f"Number {n} lives in the mill."} for n in range(20)]


def recipe(world: World, path: Path, **data: Any) -> Recipe:
    return recipe_of(world, data={"train": [{"path": str(path)}], **data}, method={"kind": "pretrain"})


def refused(world: World, path: Path, **data: Any) -> Fault:
    wanted = recipe(world, path, **data)
    with pytest.raises(DataError) as caught:
        prepare(wanted, wanted.data.train, world.model)
    assert not cache_folder_holds_entries()
    found, *advice = caught.value.faults
    assert found.remedy and all("written down with the reasons" in one.reason for one in advice)
    return found


def cache_folder_holds_entries() -> bool:
    folder = Path(os.environ["LUTHIER_CACHE"]) / "tokens"
    return folder.is_dir() and any(folder.iterdir())


def pack(path: Path, whole: bytes, times: int) -> Path:
    """A packed file of many times the same bytes, which are never together in memory."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(times):
            file.write(whole)
    return path


# Rows and lines without end.


@pytest.mark.slow
def test_a_row_of_50_megabytes_has_a_fate_like_any_other(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"text": "Mira lives in the mill. " * ((50 << 20) // 24)}, ROWS[0]])
    wanted = recipe(world, path, max_length=64)
    store, _ = prepare(wanted, wanted.data.train, world.model)
    assert store.summary["fates"] == {"dropped": 1, "kept": 1}


@pytest.mark.parametrize("name", ["d.jsonl", "d.txt", "d.csv", "d.json"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_without_end_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1 << 20)
    monkeypatch.setattr("luthier.data.json_rows.LONGEST", 1 << 20)
    text = (
        "text\nwords\n" if name == "d.csv" else '[{"text": "words"},\n' if name == "d.json" else '{"text": "words"}\n'
    )
    path = tmp_path / name
    path.write_bytes((text + '{"text": "' + "word " * 300_000).encode(encoding))
    found = refused(world, path)
    assert "1,048,576 characters" in found.reason and found.place.startswith(f"{path}:")


def test_carriage_returns_alone_do_not_hide_a_line_without_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1 << 16)
    path = tmp_path / "d.jsonl"
    path.write_bytes(('{"text": "a"}\n' + "word\r" * 30_000).encode("utf-16"))
    assert refused(world, path).place == f"{path}:2"


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.json.gz", "d.txt.gz", "d.csv.gz"])
def test_a_packed_line_without_end_is_refused_in_bounded_memory(tmp_path: Path, name: str) -> None:
    """A gigabyte, packed to one or four megabytes."""
    path = pack(tmp_path / name, b"word " * (1 << 18), 820)
    program = (
        "import sys\n"
        "from luthier.data.source import rows_of\n"
        "from luthier.errors import DataError\n"
        "from luthier.recipe.source import Source\n"
        "try:\n"
        "    sum(1 for _ in rows_of(Source(path=sys.argv[1])))\n"
        "except DataError as error:\n"
        "    print(error.faults[0].reason)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    told = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    reason, most = told.stdout.splitlines()
    assert "a line of more than 134,217,728 characters" in reason or reason.startswith("is not JSON: Expecting value")
    assert int(most) < 700_000


# Files that are none, cannot be read, or change.


def test_a_folder_named_like_a_file_is_read_as_a_folder(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "rows.jsonl"
    folder.mkdir()
    assert "holds no" in refused(world, folder).reason
    write_jsonl(folder / "one.jsonl", ROWS)
    assert files_of(source_of(folder)) == [folder / "one.jsonl"]


def test_a_pipe_is_not_waited_for(world: World, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "d.jsonl")
    assert refused(world, tmp_path / "d.jsonl").reason == "is neither a file nor a folder"
    assert "holds no" in refused(world, tmp_path).reason


def test_a_socket_is_no_file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("d.jsonl")
        assert refused(world, tmp_path / "d.jsonl").reason == "is neither a file nor a folder"


def test_a_file_that_the_disk_does_not_give_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").symlink_to("/proc/self/mem")
    found = refused(world, tmp_path / "d.jsonl")
    assert found.place == str(tmp_path / "d.jsonl") and found.reason.startswith("cannot be read: ")


@pytest.mark.parametrize("target", ["nowhere", "d.jsonl"], ids=["nothing", "itself"])
def test_a_link_to_nothing_is_no_file(world: World, tmp_path: Path, target: str) -> None:
    (tmp_path / "d.jsonl").symlink_to(tmp_path / target)
    assert refused(world, tmp_path / "d.jsonl").reason == "there is no such file"


def test_a_name_that_no_disk_takes_is_refused(world: World, tmp_path: Path) -> None:
    assert refused(world, tmp_path / ("d" * 300 + ".jsonl")).reason.startswith("cannot be read: File name too long")


@pytest.mark.parametrize("change", ["grows", "shrinks", "replaced", "one more", "gone"])
def test_files_that_change_while_they_are_read_are_refused(world: World, tmp_path: Path, change: str) -> None:
    (tmp_path / "rows").mkdir()
    first, last = (write_jsonl(tmp_path / "rows" / name, ROWS * 40) for name in ("a.jsonl", "b.jsonl"))
    wanted = recipe(world, first.parent)

    def told(count: int) -> None:
        if change == "grows":
            first.write_text(first.read_text() + '{"text": "more"}\n')
        elif change == "shrinks":
            os.truncate(first, 40)
        elif change == "replaced":
            other = write_jsonl(tmp_path / "new.jsonl", ROWS[::-1] * 40)
            os.replace(other, first)
        elif change == "one more":
            write_jsonl(first.parent / "c.jsonl", ROWS)
        else:
            last.unlink(missing_ok=True)

    with pytest.raises(DataError) as caught:
        prepare(wanted, wanted.data.train, world.model, told)
    (found,) = caught.value.faults
    place = {"one more": first.parent / "c.jsonl", "gone": last}.get(change, first)
    assert found.place == str(place) and found.remedy
    assert found.reason == "changed while it was read"
    assert not cache_folder_holds_entries()
    write_jsonl(first, ROWS)
    write_jsonl(last, ROWS)
    assert len(prepare(wanted, wanted.data.train, world.model)[0]) == 40 + 20 * (change == "one more")


def test_thousands_of_small_files_are_a_source_like_any_other(world: World, tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number:04}.json").write_text('[{"text": "Mira lives here."}]')
    wanted = recipe(world, tmp_path)
    store, _ = prepare(wanted, wanted.data.train, world.model)
    assert len(store) == 2000 and store.origins[1234] == f"{tmp_path}/1234.json:#1"
    assert cache_entry(wanted, wanted.data.train, world.model, Encoder.open(world.model)).is_dir()


def test_a_file_among_many_is_named(world: World, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.json").write_text('[{"text": "a"}' + ("]" if number != 17 else ""))
    assert refused(world, tmp_path).place == f"{tmp_path}/17.json:1"
    assert sum(1 for _ in rows_of(source_of(tmp_path / "16.json"))) == 1

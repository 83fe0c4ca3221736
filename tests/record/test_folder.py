"""The run's folder belongs to one process at a time, and its small files are whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import RunError
from luthier.record.folder import RunFolder, write_json, write_whole

CLAIM = """
import sys
from pathlib import Path
from luthier.errors import RunError
from luthier.record.folder import RunFolder
try:
    with RunFolder(Path(sys.argv[1])).claimed():
        print("claimed", flush=True)
        sys.stdin.read()
except RunError as error:
    print("refused:", error.faults[0].reason)
"""


def claim(root: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate("", timeout=60)[0].strip()


def test_naming_a_folder_makes_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.events.parent == folder.root
    assert not folder.root.exists()


def test_everything_lies_inside_the_folder_under_a_name_of_its_own(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    places = [
        folder.recipe,
        folder.accounts,
        folder.plan,
        folder.events,
        folder.checkpoints,
        folder.model,
        folder.answers,
        folder.report,
    ]
    assert len(set(places)) == len(places)
    assert {place.parent for place in places} == {folder.root}


def test_a_second_claim_from_another_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "run"
    with RunFolder(root).claimed():
        assert said(claim(root)) == "refused: another run is writing here"
    assert said(claim(root)) == "claimed"


def test_a_process_that_is_killed_leaves_no_claim_behind(tmp_path: Path) -> None:
    process = claim(tmp_path)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "claimed\n"
    with pytest.raises(RunError, match="another run is writing here"), RunFolder(tmp_path).claimed():
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()
    with RunFolder(tmp_path).claimed():
        assert (tmp_path / ".lock").exists()


def test_a_claim_ends_when_the_run_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path).claimed():
        raise ZeroDivisionError
    with RunFolder(tmp_path).claimed():
        pass


def test_a_folder_that_cannot_be_made_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(RunError, match=r"(?s)cannot be written.*set output.dir"),
        RunFolder(tmp_path / "file" / "run").claimed(),
    ):
        pass


def test_a_file_is_written_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_whole(path, "old")
    write_whole(path, "new 新")
    assert path.read_text(encoding="utf-8") == "new 新"
    assert os.listdir(tmp_path) == ["plan.json"]


DIE = """
import os, sys
from pathlib import Path
from luthier.record import folder
os.{call} = lambda *_: os._exit(9)
folder.write_whole(Path(sys.argv[1]), "half of the new")
"""


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_the_old_content_stays_when_the_writer_dies_on_the_way(tmp_path: Path, call: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    died = subprocess.run([sys.executable, "-c", DIE.format(call=call), str(path)], check=False)
    assert died.returncode == 9
    assert path.read_text() == "old"


def test_the_old_content_stays_when_the_new_cannot_be_encoded(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \udcff")
    assert path.read_text() == "old"


def test_json_is_readable_by_people_and_programs(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"名": [1, None], "path": Path("a/b")})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"名": [1, None], "path": "a/b"}
    assert '  "名"' in text and text.endswith("}\n")

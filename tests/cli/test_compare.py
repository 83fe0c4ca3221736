from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.report.test_comparison import short_run


def luthier(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "luthier", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_two_runs_on_the_terminal_as_json_and_as_a_page(tmp_path: Path) -> None:
    one, two = (short_run(tmp_path / name, loss=loss, rate=rate).root for name, loss, rate in
                (("one", 2.0, "1e-4"), ("two", 1.0, "2e-4")))  # fmt: skip
    shown = luthier("compare", one, two)
    assert shown.returncode == 0, shown.stderr
    assert "optimizer.lr" in shown.stdout and "2e-4" in shown.stdout
    told = json.loads(luthier("compare", one, two, "--json").stdout)
    assert told["settings"] == {"optimizer.lr": ["1e-4", "2e-4"]}
    assert told["figures"]["last evaluation"] == [2.0, 1.0]
    page = tmp_path / "page.html"
    assert luthier("compare", one, two, "--html", page).stdout.strip() == str(page)
    assert "<!doctype html>" in page.read_text(encoding="utf-8")


def test_one_run_is_not_enough_and_a_folder_has_to_be_a_run(tmp_path: Path) -> None:
    one = short_run(tmp_path / "one", loss=2.0).root
    alone = luthier("compare", one)
    assert alone.returncode == 2 and "name two runs or more" in alone.stderr
    other = luthier("compare", one, tmp_path / "none")
    assert other.returncode == 2 and "is not there" in other.stderr and "Traceback" not in other.stderr

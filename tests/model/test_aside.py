"""Where a model is made before it is called done, and what is told where it cannot be."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from luthier.errors import ModelError
from luthier.model.aside import made_aside


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """Let this process write no file above so many bytes, as a full disk would not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def written(out: Path, weights: bool) -> None:
    with made_aside(out, "merging") as aside, files_of_at_most(4096):
        if weights:
            save_file({"weight": torch.zeros(10_000)}, aside / "model.safetensors")
        else:
            (aside / "config.json").write_text("x" * 10_000)


@pytest.mark.parametrize("weights", [True, False])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, weights: bool) -> None:
    with pytest.raises(ModelError, match="the disk is full"):
        written(tmp_path / "out", weights)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out, reason in ((file, "is a file"), (file / "out", "cannot be made: Not a directory")):
        with pytest.raises(ModelError, match=reason), made_aside(out, "merging"):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and file.read_text() == "mine"


def test_what_an_earlier_attempt_left_is_gone(tmp_path: Path) -> None:
    (tmp_path / ".out.merging").mkdir()
    (tmp_path / ".out.merging" / "model.safetensors").write_text("half")
    with made_aside(tmp_path / "out", "merging") as aside:
        assert list(aside.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_other_faults_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), made_aside(tmp_path / "out", "merging"):
        (tmp_path / "nowhere").read_text()

"""What lies in a checkpoint's files in pieces, read in other pieces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from luthier.errors import CheckpointError
from luthier.train.parts import SHAPES
from luthier.train.stored import Stored

WHOLE = torch.arange(6 * 4 * 2).view(6, 4, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tensor by name, once in rows of several processes, once in ranges of its numbers, once whole."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save_file({"whole": WHOLE, "one": torch.tensor(7.0), "few": torch.zeros(0, 3)}, folder / "weights.safetensors")
    part = folder / "weights"
    part.mkdir()
    cuts = [(0, 3, 0, 13), (3, 5, 13, 14), (5, 6, 14, 48)]
    for number, (top, bottom, begin, end) in enumerate(cuts):
        pieces = {"rows": WHOLE[top:bottom].clone(), "numbers": WHOLE.flatten()[begin:end].clone()}
        places = {"rows": {"saved_offsets": [top, 0, 0]}, "numbers": {"saved_offsets": [begin]}}
        save_file(pieces, part / f"{2 - number}.safetensors", {"DCP_SHARDING_INFO": json.dumps(places)})
    (part / SHAPES).write_text(json.dumps({"numbers": list(WHOLE.shape)}))
    return folder


RANGES = st.lists(st.integers(0, 48), min_size=2, max_size=2).map(sorted)


@given(ends=RANGES, name=st.sampled_from(["whole", "rows", "numbers"]))
def test_any_range_of_numbers_is_read_from_any_pieces(folder: Path, ends: list[int], name: str) -> None:
    begin, end = ends
    assert torch.equal(Stored.of(folder, "weights").numbers(name, begin, end), WHOLE.flatten()[begin:end])


def test_wholes_have_their_shapes_and_types(folder: Path) -> None:
    stored = Stored.of(folder, "weights")
    assert sorted(stored) == ["few", "numbers", "one", "rows", "whole"]
    for name in ("whole", "rows", "numbers"):
        assert stored.shape(name) == WHOLE.shape and torch.equal(stored[name], WHOLE)
    assert stored["one"].shape == () and stored["one"] == 7.0 and stored["few"].shape == (0, 3)
    assert stored.numbers("whole", 5, 5).dtype is WHOLE.dtype
    with pytest.raises(KeyError):
        stored["other"]


def test_what_is_read_is_a_copy(folder: Path) -> None:
    stored = Stored.of(folder, "weights")
    for name in ("whole", "rows"):
        stored[name].zero_()
        assert torch.equal(stored[name], WHOLE)


def test_a_part_that_no_file_holds_is_told(folder: Path) -> None:
    stored = Stored(folder / "weights" / "2.safetensors", folder / "weights" / "0.safetensors")
    assert torch.equal(stored.numbers("rows", 0, 24), WHOLE.flatten()[:24])
    with pytest.raises(CheckpointError, match="lacks a part of rows"):
        stored["rows"]

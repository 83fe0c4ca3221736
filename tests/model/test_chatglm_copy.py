"""A ChatGLM3 checkpoint as a plain GLM model: the same numbers, opened by transformers alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GlmForCausalLM

from luthier.errors import ModelError
from luthier.model.chatglm_copy import write_glm
from luthier.model.shape import shape_of_directory
from tests.model.chatglm3 import change_tensors, reference_logits, write_checkpoint

IDS = [501, 503, 41, 41, 2, 519, 260]


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    write_glm(source, sorted(source.glob("*.safetensors")), target)
    return target


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_transformers_opens_the_copy_and_says_what_the_checkpoint_says(tmp_path: Path, dtype: torch.dtype) -> None:
    source = write_checkpoint(tmp_path / "chatglm3", torch_dtype=str(dtype).removeprefix("torch."))
    for path in source.glob("*.safetensors"):
        save_file({name: one.to(dtype) for name, one in load_file(path).items()}, path)
    model, report = AutoModelForCausalLM.from_pretrained(
        copied(source, tmp_path / "glm"), dtype="auto", output_loading_info=True
    )
    assert isinstance(model, GlmForCausalLM) and model.dtype == dtype
    assert not any(report.values())
    for path in source.glob("*.safetensors"):
        save_file({name: one.float() for name, one in load_file(path).items()}, path)
    with torch.no_grad():
        found = model.float().eval()(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(found, reference_logits(source, IDS), rtol=0, atol=1e-5)


def test_the_copy_has_the_shape_and_the_files_of_the_checkpoint(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "chatglm3")
    target = copied(source, tmp_path / "glm")
    assert shape_of_directory(target) == replace(shape_of_directory(source), sources={})
    assert len(list(target.glob("model-*-of-00002.safetensors"))) == 2
    assert json.loads((target / "config.json").read_text())["model_type"] == "glm"


def test_a_checkpoint_that_lacks_a_tensor_is_not_copied(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "chatglm3")
    change_tensors(source, embedding__word_embeddings__weight=None)
    with pytest.raises(ModelError, match=r"lacks transformer\.embedding\.word_embeddings\.weight"):
        copied(source, tmp_path / "glm")


def test_a_file_that_was_cut_short_is_not_copied(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "chatglm3")
    path = source / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelError, match="shorter than its header says"):
        copied(source, tmp_path / "glm")

"""Rows of every dialect become the tokens that its rules say: golden files, written by hand from those rules.

A case has the keys of a recipe file, a row, which of the tokenizers if not the file's usual one, and the pieces of text
that are tokenised each by itself, with 1 for those that are learned. Of judged rows it may have the pieces of the
prompt and of each answer. What a limit leaves is told as the row's fate, and as stretches of what it cuts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.data.convert import attempts_of
from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.making import Maker
from luthier.data.preference import fitting, taken_apart
from luthier.data.tokens import Tokens, fit, tokenise
from luthier.dialects.read import read_text
from tests.conftest import write_jsonl
from tests.data.made import make_tokenizer
from tests.data.spaced import make_spaced_tokenizer

FOLDER = Path(__file__).parent / "golden"
GOLDEN = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
Case = dict[str, Any]


def cases(key: str) -> list[Any]:
    """All cases that have the key."""
    found = ((name, case) for name in GOLDEN for case in GOLDEN[name]["cases"] if key in case)
    return [pytest.param(name, case, id=f"{name}: {case['says']}") for name, case in found]


CHATML = ("<|im_start|>", "<|im_end|>")
LLAMA = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
GLM = ("[gMASK]", "sop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
MERGED = ("<|im_start|>user", "<|im_start|>assistant", "<|im_start|>system", "<|im_end|>", *GLM[2:5])
TEXTS = ["Where is the mill? The mill is here.", "user assistant system model"]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("byte-level", "merged", "spaced")}
    make_tokenizer(folders["byte-level"], special=("<s>", "</s>", *CHATML, *LLAMA), bos_token="<s>", around="<s> $A")
    make_tokenizer(folders["merged"], special=("<s>", "</s>", *MERGED), bos_token="<s>")
    make_spaced_tokenizer(folders["spaced"], ("<unk>", "<s>", "</s>", *CHATML, *GLM), TEXTS)
    return {name: Encoder.open(folder) for name, folder in folders.items()}


def written(dialect: str, keys: dict[str, Any]) -> str:
    """The keys as a file of the dialect; JSON is YAML too."""
    if dialect != "peft_sft":
        return json.dumps(keys)
    given = {name: value for name, value in keys.items() if value is not None}
    flags = (f"--{name}" if value is True else f"--{name} {value}" for name, value in given.items())
    return " ".join(["python train.py", *flags]) + "\n"


def rendered(example: Example, maker: Maker, encoder: Encoder) -> Tokens:
    if example.rejected or example.label is not None:
        return tokenise([maker.template().spans(example)], [example.origin], encoder)[0]
    return maker.examples([example])[0].documents()[0]


def read(dialect: str, case: Case, encoders: dict[str, Encoder], folder: Path) -> tuple[Example, Maker]:
    """The example that a case's row is, and what makes its tokens."""
    golden = GOLDEN[dialect]
    reading = read_text(written(dialect, golden["file"] | case["file"]), golden["name"], dialect=dialect)
    encoder = encoders[case.get("tokenizer", golden["tokenizer"])]
    rows = write_jsonl(folder / "rows.jsonl", [case["row"]])
    source = reading.recipe.data.train[0].model_copy(update={"path": str(rows), "files": ()})
    (example,) = attempts_of(source)
    assert isinstance(example, Example), example
    if "chat_template_format" in case["file"]:
        encoder.tokens["eos_token"] = reading.recipe.tokenizer.eos or ""
    return example, Maker(reading.recipe, encoder)


def encoded(pieces: list[Any], encoder: Encoder) -> tuple[list[int], list[bool]]:
    """The ids of pieces that are tokenised each by itself, and which are learned."""
    ids: list[int] = []
    flags: list[bool] = []
    for text, learned in pieces:
        new = encoder.tokenizer.encode(text, add_special_tokens=False).ids
        ids += new
        flags += [bool(learned)] * len(new)
    return ids, flags


@pytest.mark.parametrize(("dialect", "case"), cases("tokens"))
def test_a_row_becomes_the_tokens_of_its_dialect(
    dialect: str, case: Case, encoders: dict[str, Encoder], tmp_path: Path
) -> None:
    example, maker = read(dialect, case, encoders, tmp_path)
    encoder = maker.encoder
    sides = [("tokens", example)]
    if "rejected" in case:
        sides.append(("rejected", Example(example.rejected, example.origin, rejected=example.messages)))
    for side, one in sides:
        tokens = rendered(one, maker, encoder)
        ids, flags = encoded(case[side], encoder)
        assert encoder.decode(tokens.ids.tolist(), skip_control=False) == encoder.decode(ids, skip_control=False)
        assert (tokens.ids.tolist(), tokens.trained.tolist()) == (ids, flags)


@pytest.mark.parametrize(("dialect", "case"), cases("answers"))
def test_a_judged_row_becomes_a_prompt_and_its_answers(
    dialect: str, case: Case, encoders: dict[str, Encoder], tmp_path: Path
) -> None:
    example, maker = read(dialect, case, encoders, tmp_path)
    document = maker.examples([example])[0].documents()[0]
    judged = taken_apart(document)
    for ids, texts in zip((judged.prompt, *judged.answers), (case["prompt"], *case["answers"]), strict=True):
        expected, _ = encoded([(text, True) for text in texts], maker.encoder)
        assert maker.encoder.decode(ids.tolist(), skip_control=False) == "".join(texts)
        assert ids.tolist() == expected
    assert judged.wanted == case.get("wanted", True)


@pytest.mark.parametrize(("dialect", "case"), cases("fate"))
def test_a_long_row_is_cut_as_its_dialect_cuts(
    dialect: str, case: Case, encoders: dict[str, Encoder], tmp_path: Path
) -> None:
    example, maker = read(dialect, case, encoders, tmp_path)
    document = maker.examples([example])[0].documents()[0]
    data = maker.recipe.data
    judged = fitting(maker.recipe)
    fate, left = judged(document) if judged else fit(document, data.max_length, data.overlong)
    assert fate == case["fate"]
    if judged:
        before, after = taken_apart(document), taken_apart(left[0])
        parts = zip((before.prompt, *before.answers), (after.prompt, *after.answers), case["kept"], strict=True)
        assert all(was[begin:stop].tolist() == now.tolist() for was, now, (begin, stop) in parts)
        return
    assert [(one.ids.tolist(), one.trained.tolist()) for one in left] == [
        (document.ids[begin:stop].tolist(), document.trained[begin:stop].tolist()) for begin, stop in case["kept"]
    ]

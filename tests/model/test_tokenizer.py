"""A run's tokenizer: trained here, read from a directory, converted, written beside the weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from luthier.data.encoder import Encoder
from luthier.errors import ModelError
from luthier.model.tokenizer import convert_tokenizer, local_directory, train_tokenizer, write_tokenizer
from luthier.plan.inputs import tokenizer_directory
from luthier.recipe import Recipe
from luthier.recipe.tokenizer import TokenizerTraining
from tests.conftest import World

TEXTS = [f"Mira lives in the mill, number {n}." for n in range(30)]
SPEC = TokenizerTraining(vocabulary=310)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    train_tokenizer(TEXTS, SPEC, tmp_path / "trained")
    return tmp_path / "trained"


def legacy(directory: Path) -> Path:
    """A GPT-2 tokenizer in two files, as it was before tokenizer.json."""
    directory.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz.?!"
    vocabulary = {"<|endoftext|>": 0, **{letter: number for number, letter in enumerate("Ġ" + letters, 1)}}
    vocabulary["th"], vocabulary["the"] = len(vocabulary), len(vocabulary) + 1
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    return directory


def test_a_trained_tokenizer_has_the_size_and_tokens_that_were_asked_for(trained: Path) -> None:
    encoder = Encoder.open(trained)
    assert encoder.vocabulary == 310
    assert encoder.control == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    assert encoder.tokens == {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    assert [encoder.tokenizer.token_to_id(token) for token in SPEC.special] == [0, 1, 2]


@pytest.mark.parametrize("text", ["Mira", " two  spaces\n\ttab", "日本語 é 😀", "\x00\x1b"])
def test_a_trained_tokenizer_gives_every_text_back(trained: Path, text: str) -> None:
    encoder = Encoder.open(trained)
    assert encoder.decode(encoder.encode([text])[0]) == text


PIECES = TokenizerTraining(kind="sentencepiece", vocabulary=330)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    train_tokenizer(TEXTS, PIECES, folder)
    return folder


def test_a_trained_tokenizer_of_pieces_is_put_together_as_llamas(pieces: Path) -> None:
    encoder = Encoder.open(pieces)
    assert encoder.vocabulary == 330
    assert [encoder.tokenizer.token_to_id(token) for token in PIECES.special] == [0, 1, 2]
    assert [encoder.tokenizer.id_to_token(number) for number in (3, 258)] == ["<0x00>", "<0xFF>"]
    assert encoder.control == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    told = encoder.tokenizer.encode("Mira lives<|im_end|>", add_special_tokens=False).tokens
    assert told[-1] == "<|im_end|>" and told[0].startswith("▁") and len(told) < len("Mira lives")


@pytest.mark.parametrize(
    "text", ["Mira lives in the mill", "two  spaces\n\ttab", "日本語 é 😀", "\x00\x1b", "a<0x41>b"]
)
def test_a_trained_tokenizer_of_pieces_gives_every_text_back(pieces: Path, text: str) -> None:
    encoder = Encoder.open(pieces)
    ids = encoder.encode([text])[0]
    assert encoder.decode(ids) == text
    assert AutoTokenizer.from_pretrained(pieces).decode(ids) == text


def test_characters_without_a_token_become_their_bytes(pieces: Path) -> None:
    ids = Encoder.open(pieces).encode(["é"])[0]
    assert [Encoder.open(pieces).tokenizer.id_to_token(int(one)) for one in ids] == ["▁", "<0xC3>", "<0xA9>"]


def test_transformers_reads_a_trained_tokenizer_of_pieces_alike(pieces: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(pieces)
    text = "Mira lives<|im_end|>\nin the mill"
    assert theirs(text)["input_ids"] == list(Encoder.open(pieces).encode([text])[0])


def test_a_vocabulary_of_pieces_is_no_larger_than_asked_for_however_many_characters_there_are(tmp_path: Path) -> None:
    letters = "".join(chr(0x4E00 + number) for number in range(500))
    train_tokenizer([letters, "some words and some more words"], PIECES, tmp_path)
    encoder = Encoder.open(tmp_path)
    assert encoder.vocabulary <= 330 and encoder.decode(encoder.encode([letters])[0]) == letters


def test_transformers_reads_a_trained_tokenizer_alike(trained: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(trained)
    text = "Mira lives<|im_end|>\n"
    assert theirs(text)["input_ids"] == Encoder.open(trained).encode([text])[0]
    assert (theirs.eos_token, theirs.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_the_same_texts_train_the_same_tokenizer(trained: Path, tmp_path: Path) -> None:
    train_tokenizer(iter(TEXTS), SPEC, tmp_path / "again")
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()


def test_frequent_words_become_one_token(trained: Path) -> None:
    encoder = Encoder.open(trained)
    assert len(encoder.encode([" lives in the mill"])[0]) < len(encoder.encode([" sevil ni eht llim"])[0])


def test_a_directory_is_used_where_it_lies(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_directory(str(world.model), None) == world.model
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert local_directory("~/model", None) == tmp_path / "model"


@pytest.mark.parametrize("path", ["/no/such/model", "./model", "model", "a/b/model"])
def test_what_cannot_be_a_name_on_the_hub_is_a_missing_directory(path: str) -> None:
    with pytest.raises(ModelError, match="there is no such directory") as caught:
        local_directory(path, None)
    fault = caught.value.faults[0]
    assert fault.place == path and str(Path.cwd()) in fault.remedy


def test_a_model_that_the_hub_cannot_give_is_refused_with_its_name(
    world: World, write_recipe: Callable[..., Path], luthier: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = luthier("show", write_recipe(world.recipe(model={"path": "nobody-has/this-model"})))
    assert done.returncode == 2
    assert "nobody-has/this-model: is neither a directory here nor to be had from the hub: " in done.stderr
    assert "-> check the name and the connection" in done.stderr and "Traceback" not in done.stderr


def recipe_of(directory: Path) -> Recipe:
    return Recipe.model_validate_json(json.dumps({"model": {"path": str(directory)}}))


def test_a_tokenizer_of_today_needs_no_conversion(trained: Path) -> None:
    assert tokenizer_directory(recipe_of(trained)) == trained


def test_an_older_tokenizer_is_converted_once(tmp_path: Path) -> None:
    old = legacy(tmp_path / "old")
    into = tokenizer_directory(recipe_of(old))
    assert into != old
    text = "what is the mill?"
    assert Encoder.open(into).encode([text])[0] == AutoTokenizer.from_pretrained(old)(text)["input_ids"]
    before = (into / "tokenizer.json").stat().st_mtime_ns
    assert tokenizer_directory(recipe_of(old)) == into
    assert (into / "tokenizer.json").stat().st_mtime_ns == before


def test_a_directory_without_any_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="its tokenizer cannot be read") as caught:
        convert_tokenizer(tmp_path, tmp_path / "into")
    assert caught.value.faults[0].place == str(tmp_path)
    assert caught.value.faults[0].remedy == "set tokenizer.path to another directory"


def test_a_tokenizers_own_code_is_never_run(tmp_path: Path) -> None:
    directory = legacy(tmp_path / "old")
    config = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    (directory / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    with pytest.raises(ModelError, match="its tokenizer cannot be read"):
        convert_tokenizer(directory, tmp_path / "into")
    assert not (tmp_path / "ran").exists()


def test_a_written_tokenizer_carries_the_template_it_was_trained_with(trained: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "tokenizer_config.json").read_text())
    (trained / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": "old"}))
    (trained / "model.safetensors").write_bytes(b"weights")
    target = tmp_path / "deep" / "target"
    write_tokenizer(trained, target, "{{ 'ü' }}")
    assert Encoder.open(target).chat_template == "{{ 'ü' }}"
    assert AutoTokenizer.from_pretrained(target).chat_template == "{{ 'ü' }}"
    assert json.loads((target / "tokenizer_config.json").read_text()) == config
    assert (target / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()
    assert not (target / "model.safetensors").exists()


def test_without_a_template_the_files_are_copied_as_they_are(trained: Path, tmp_path: Path) -> None:
    write_tokenizer(trained, tmp_path / "target", None)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "target" / name).read_bytes() == (trained / name).read_bytes()
    assert not (tmp_path / "target" / "chat_template.jinja").exists()

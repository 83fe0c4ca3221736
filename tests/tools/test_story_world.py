"""The demo's data are what the generator makes, and its held-out questions are held out."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from tools.story_world.__main__ import write_world
from tools.story_world.inhabitants import CATEGORIES, load_inhabitants
from tools.story_world.questions import answer, wordings

DATA = Path(__file__).parents[2] / "recipes" / "data"
FILES = ("questions-train.csv", "questions-heldout.csv", "questions-from-stories.csv")


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stories() -> list[str]:
    return [json.loads(line)["text"] for line in (DATA / "stories.jsonl").read_text(encoding="utf-8").splitlines()]


def without_names(question: str) -> str:
    return re.sub("|".join(person.name for person in load_inhabitants()), "{name}", question)


def test_making_the_world_again_gives_the_shipped_files_byte_for_byte(tmp_path: Path) -> None:
    made = write_world(tmp_path)
    assert {path.name for path in made} == {*FILES, "stories.jsonl"}
    for path in made:
        assert path.read_bytes() == (DATA / path.name).read_bytes(), path.name


def test_another_seed_tells_another_world(tmp_path: Path) -> None:
    write_world(tmp_path, seed=8, stories=50)
    assert (tmp_path / "stories.jsonl").read_text().splitlines()[0] not in (DATA / "stories.jsonl").read_text()


@pytest.mark.parametrize("name", FILES)
def test_the_columns_are_category_human_assistant(name: str) -> None:
    found = rows(name)
    assert list(found[0]) == ["category", "human", "assistant"]
    assert {row["category"] for row in found} == set(CATEGORIES)
    assert all(row["human"].strip() and row["assistant"].endswith(".") for row in found)


def test_no_held_out_question_or_wording_occurs_in_training() -> None:
    trained = {row["human"] for row in rows("questions-train.csv")}
    held = [row["human"] for row in rows("questions-heldout.csv")]
    assert not trained & set(held)
    assert not {without_names(question) for question in trained} & {without_names(question) for question in held}
    for category in CATEGORIES:
        assert not set(wordings("train")[category]) & set(wordings("heldout")[category])


def test_every_held_out_fact_was_learned_in_other_words() -> None:
    learned = {row["assistant"] for row in rows("questions-train.csv")}
    assert all(row["assistant"] in learned for row in rows("questions-heldout.csv"))
    assert not any(row["assistant"] in learned for row in rows("questions-from-stories.csv"))


def test_the_stories_tell_every_fact_that_is_asked_for() -> None:
    text = " ".join(stories()).casefold()
    for person in load_inhabitants():
        for category in CATEGORIES:
            assert person.fact(category).casefold() in text, (person.name, category)


def test_everybody_and_everything_is_asked_about() -> None:
    held = rows("questions-heldout.csv")
    for person in load_inhabitants():
        assert any(person.name in row["human"] for row in held), person.name


def test_every_answer_is_the_one_canonical_sentence() -> None:
    canonical = {(category, answer(person, category)) for person in load_inhabitants() for category in CATEGORIES}
    for name in FILES:
        assert {(row["category"], row["assistant"]) for row in rows(name)} <= canonical


@pytest.mark.parametrize("name", FILES)
def test_no_question_is_asked_twice_and_none_has_an_open_blank(name: str) -> None:
    questions = [row["human"] for row in rows(name)]
    assert len(set(questions)) == len(questions)
    assert not any("{" in question for question in questions)


def test_no_held_out_question_is_asked_in_the_stories() -> None:
    corpus = "\n".join(stories())
    assert not [row["human"] for row in rows("questions-heldout.csv") if row["human"] in corpus]


def test_the_stories_tell_every_fact_again_and_again() -> None:
    told = stories()
    for person in load_inhabitants():
        about = [story for story in told if person.name in story]
        for category in CATEGORIES:
            fact = person.fact(category)
            assert sum(fact in story for story in about) >= 20, (person.name, category)


def test_stories_are_all_different_and_have_no_open_blank() -> None:
    told = stories()
    assert len(set(told)) == len(told)
    assert not [story for story in told if "{" in story or "  " in story or story != story.strip()]


def test_friendship_is_mutual() -> None:
    friends = {person.name: person.friend for person in load_inhabitants()}
    assert all(friends[friends[name]] == name for name in friends)

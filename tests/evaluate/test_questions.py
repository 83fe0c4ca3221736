"""Which questions a row asks."""

from __future__ import annotations

from dataclasses import replace

from luthier.data.encoder import Encoder
from luthier.data.example import TEXT, Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.evaluate.generate import prompt_ids
from luthier.evaluate.questions import asked, questions
from luthier.recipe.validate import build
from tests.conftest import World

SYSTEM, WHO, MIRA, TOM, BARN = (
    Message("system", "Be brief."),
    Message("user", "Who?"),
    Message("assistant", "Mira."),
    Message("user", "And Tom?"),
    Message("assistant", "In the barn."),
)
TALK = Example((SYSTEM, WHO, MIRA, TOM, BARN), "d:1")


def told(rows: list[Example], **more: bool) -> list[list[str]]:
    return [[message.content for message in one.messages] for one in questions(rows, **more)]


def test_each_answer_is_a_question_with_all_that_came_before_it() -> None:
    assert told([TALK]) == [
        ["Be brief.", "Who?", "Mira."],
        ["Be brief.", "Who?", "Mira.", "And Tom?", "In the barn."],
    ]
    assert told([TALK], last_only=True) == [["Be brief.", "Who?", "Mira.", "And Tom?", "In the barn."]]


def test_a_row_that_ends_with_a_question_asks_it_too() -> None:
    assert told([replace(TALK, messages=TALK.messages[:4])]) == [
        ["Be brief.", "Who?", "Mira."],
        ["Be brief.", "Who?", "Mira.", "And Tom?"],
    ]


def test_plain_text_and_a_lone_answer_ask_nothing() -> None:
    assert told([Example((Message(TEXT, "a"),), "d:1"), Example((MIRA,), "d:2")]) == []


def test_prompts_that_are_too_long_are_not_asked_and_the_first_rows_are_taken(world: World) -> None:
    encoder = Encoder.open(world.model)
    chat = ChatTemplate(template_source("chatml", encoder), encoder)
    short, long = (len(prompt_ids(one, chat, encoder)) for one in questions([TALK]))

    def count(longest: int | None, most: int | None = None) -> int:
        tree = {
            **world.recipe(data={"train": [{"path": str(world.questions)}]}),
            "evaluate": {"generation": {"max_prompt_length": longest}},
        }
        return len(asked([TALK, TALK], build(tree, str), chat, encoder, most))

    assert [count(None), count(long), count(long - 1), count(short), count(short - 1)] == [4, 4, 2, 2, 0]
    assert count(None, 3) == 3

"""Every type of rows that Axolotl has, and what is said of turns, files and roles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.data.convert import attempts_of
from luthier.data.example import Example
from luthier.dialects.axolotl import AXOLOTL
from luthier.dialects.axolotl.prompters import TYPES
from luthier.dialects.reading import Outcome, Reading
from luthier.recipe.source import Source
from tests.conftest import write_jsonl
from tests.dialects.axolotl.test_meanings import account, setting


def read(dataset: str, more: str = "") -> Reading:
    return AXOLOTL.read(f"base_model: a/b\n{more}\ndatasets:\n  - {dataset}\n", "axolotl.yml", ())


def source(dataset: str, more: str = "") -> Source:
    reading = read(dataset, more)
    assert reading.refusals() == ()
    return reading.recipe.data.train[0]


def example(kind: str, row: dict[str, Any], path: Path, more: str = "") -> Example:
    """The row as a run of this file reads it."""
    file = write_jsonl(path / "rows.jsonl", [row])
    (found,) = attempts_of(source(f"{{path: {file}, {kind}}}", more))
    assert isinstance(found, Example), found
    return found


ADD = {"instruction": "Add.", "output": "2"}
ADD_INPUT = {**ADD, "input": "1+1"}
ASKED = {"question": "Who?", "answer": "Mira."}
TASK = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
BRIEF = (
    "Below is an instruction from a USER that describes a task. The ASSISTANT writes a response that appropriately and "
    "concisely completes the request.\n\n"
)


@pytest.mark.parametrize(
    ("name", "row", "text"),
    [
        ("alpaca:chat", ADD, f"SYSTEM: {TASK}\nUSER: Add.\nASSISTANT:"),
        (
            "alpaca:chatml",
            ADD,
            f"<|im_start|>system\n{TASK}<|im_end|>\n<|im_start|>user\nAdd.<|im_end|>\n<|im_start|>assistant\n",
        ),
        ("alpaca:phi", ADD, f"<|system|>\n{TASK}<|end|>\n<|user|>\nAdd.<|end|>\n<|assistant|>\n"),
        ("gpteacher:chat", {"instruction": "Add.", "response": "2"}, f"SYSTEM: {TASK}\nUSER: Add.\nASSISTANT:"),
        ("alpaca_chat.load", ADD, f"SYSTEM: {TASK}\nUSER: Add.\nASSISTANT:"),
        ("alpaca_chat.load_qa", ASKED, f"SYSTEM: {BRIEF}\nUSER: Who?\nASSISTANT:"),
        ("alpaca_chat.load_concise", ADD, f"SYSTEM: {BRIEF}\nUSER: Add.\nASSISTANT:"),
        ("alpaca_chat.load_camel_ai", {"message_1": "Hi", "message_2": "Ho"}, f"SYSTEM: {BRIEF}\nUSER: Hi\nASSISTANT:"),
        ("alpaca_chat.load_no_prompt", ADD_INPUT, "USER: Add.\n1+1\nASSISTANT:"),
        ("alpaca_instruct.load_no_prompt", ADD, "### Instruction:\nAdd.\n\n### Response:\n"),
        ("alpaca_w_system.load", {**ADD, "system": "Count."}, "SYSTEM: Count.\nUSER: Add.\nASSISTANT:"),
        ("alpaca_w_system.load", {**ADD, "system": ""}, "USER: Add.\nASSISTANT:"),
        (
            "alpaca_w_system.load_open_orca",
            {"question": "Who?", "response": "Mira.", "system_prompt": "Guess."},
            "### System:\nGuess.\n### Human:\nWho?\n### Assistant:\n",
        ),
        (
            "explainchoice",
            {"question": "Who?", "choices": ["I", "you"], "explanation": "I."},
            "Choose the answer that best answers the question. Explain your reasoning.\n\n\n"
            '### Instruction:\nWho?\n\n### Input:\n- "I"\n- "you"\n\n### Response:\n',
        ),
        (
            "concisechoice",
            {"question": "Who?", "choices": ["I", "you"], "solution": "I"},
            "Choose the answer that best answers the question. Be concise in your response.\n\n"
            'USER: Who?\n- "I"\n- "you"\nASSISTANT:',
        ),
        (
            "summarizetldr",
            {"article": "Long.", "summary": "L."},
            "USER: Summarize the following article as a TL;DR.\nLong.\nASSISTANT:",
        ),
        (
            "context_qa.load",
            {**ASKED, "article": "Long."},
            "SYSTEM: Use the following contextual information to concisely answer the question.\n\n"
            "USER: Long.\n===\nWho?\nASSISTANT:",
        ),
        ("context_qa.load_v2", {**ASKED, "context": "Long."}, "Context: Long.\nQuestion: Who?\n"),
    ],
)  # fmt: skip
def test_prompts_are_those_of_axolotls_code(name: str, row: dict[str, Any], text: str, tmp_path: Path) -> None:
    found = example(f"type: '{name}'", row, tmp_path)
    assert found.pieces[0].text == text and found.framed


def test_the_answer_of_reflection_has_its_headings(tmp_path: Path) -> None:
    found = example("type: reflection:instruct", {**ADD_INPUT, "reflection": "No.", "corrected": "3"}, tmp_path)
    asked, answer = (piece.text for piece in found.pieces)
    assert asked.endswith("to the generation\n\n### Instruction:\nAdd.\n\n### Input:\n1+1\n\n### Response:\n")
    assert answer == "### Thought:\n2\n\n### Agent Reflection:\nNo.\n\n### Final Response:\n3"
    bare = example("type: reflection", {**ADD_INPUT, "reflection": "No.", "corrected": "3"}, tmp_path)
    assert asked.endswith(bare.pieces[0].text) and bare.pieces[0].text.startswith("### Instruction:")


@pytest.mark.parametrize("name", ["alpaca", "oasst", "gpteacher", "jeopardy", "alpaca_instruct.load"])
def test_alpacas_text_is_the_template_of_that_name(name: str) -> None:
    reading = read(f"{{path: a/b, type: {name}}}")
    assert reading.refusals() == () and reading.recipe.data.template == "alpaca"
    assert reading.recipe.data.train[0].prompt is None


def test_beside_conversations_alpacas_text_is_a_prompt(tmp_path: Path) -> None:
    text = "base_model: a/b\ndatasets:\n  - {path: a/b, type: alpaca}\n  - {path: c/d, type: chat_template}\n"
    data = AXOLOTL.read(text, "axolotl.yml", ()).recipe.data
    assert data.template == "auto" and data.train[1].prompt is None
    assert data.train[0].prompt is not None
    assert data.train[0].prompt.no_input_format == f"{TASK}\n\n### Instruction:\n{{instruction}}\n\n### Response:\n"


@pytest.mark.parametrize("name", TYPES)
def test_no_type_is_refused(name: str) -> None:
    assert read(f"{{path: a/b, type: '{name}'}}").refusals() == ()


@pytest.mark.parametrize(
    ("kind", "format"),
    [
        ("chat_template", "messages"), ("sharegpt", "messages"), ("'sharegpt:chat'", "messages"),
        ("sharegpt.load_guanaco", "messages"), ("completion", "text"), ("input_output", "input_output"),
        ("null", "auto"),
    ],
)  # fmt: skip
def test_other_types_are_formats(kind: str, format: str) -> None:  # noqa: A002
    assert source(f"{{path: a/b, type: {kind}}}").format == format


def test_a_mapping_is_a_prompt_of_ones_own(tmp_path: Path) -> None:
    kind = (
        "type: {field_instruction: q, field_input: i, field_output: a, system_prompt: Count., "
        'format: "[{instruction}|{input}] ", '
        'no_input_format: "[{instruction}] ", system_format: "S {system}\\n"}'
    )
    row = {"q": "Add.", "a": "2", "i": "1+1"}
    assert [one.text for one in example(kind, row, tmp_path).pieces] == ["S Count.\n[Add.|1+1] ", "2"]
    assert example(kind, {"q": "Add.", "a": "2"}, tmp_path).pieces[0].text == "S Count.\n[Add.] "


def test_what_a_mapping_does_not_say_is_a_space(tmp_path: Path) -> None:
    row = {"q": "Add.", "a": "2", "input": "1+1"}
    assert example("type: {field_instruction: q, field_output: a}", row, tmp_path).pieces[0].text == "Add. 1+1 "
    assert (
        example("type: {field_instruction: q, field_output: a}", {**row, "input": ""}, tmp_path).pieces[0].text
        == "Add. "
    )


def test_doubled_braces_are_braces(tmp_path: Path) -> None:
    found = example("type: {format: '{{x}} {instruction}', no_input_format: '{{{instruction}}}'}", ADD_INPUT, tmp_path)
    assert found.pieces[0].text == "{x} Add."


DPO = "rl: dpo"
ANSWERS = {"chosen": "Mira.", "rejected": "Dunno."}


@pytest.mark.parametrize(
    ("name", "row", "template"),
    [
        ("chatml.intel", {"question": "Who?", "prompt": "x", **ANSWERS}, "chatml"),
        ("chatml.icr", {"input": "Who?", **ANSWERS}, "chatml"),
        (
            "chatml.argilla",
            {"instruction": "Who?", "chosen_response": "Mira.", "rejected_response": "Dunno."},
            "chatml",
        ),
        ("chatml.prompt_pairs", {"prompt": "Who?", **ANSWERS}, "chatml"),
        (
            "llama3.ultra",
            {
                "prompt": "Who?",
                "chosen": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Mira."}],
                "rejected": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Dunno."}],
            },
            "llama3",
        ),
        ("chat_template.default", {"messages": [{"role": "user", "content": "Who?"}], **ANSWERS}, "auto"),
    ],
)
def test_judged_rows_are_pairs(name: str, row: dict[str, Any], template: str, tmp_path: Path) -> None:
    found = example(f"type: {name}", row, tmp_path, DPO)
    assert [message.content for message in found.messages] == ["Who?", "Mira."]
    assert [message.content for message in found.rejected] == ["Who?", "Dunno."]
    assert read(f"{{path: a/b, type: {name}}}", DPO).recipe.data.template == template


def test_pairs_of_a_chat_template_may_name_their_parts(tmp_path: Path) -> None:
    kind = (
        "type: chat_template.default, field_messages: talk, field_chosen: good, field_rejected: bad, "
        "message_property_mappings: {role: who, content: says}, roles: {user: [asker], assistant: [answerer]}"
    )
    row = {
        "talk": [{"who": "asker", "says": "Who?"}],
        "good": {"who": "answerer", "says": "Mira."},
        "bad": {"who": "answerer", "says": "Dunno."},
    }
    found = example(kind, row, tmp_path, DPO)
    assert [message.content for message in found.messages] == ["Who?", "Mira."]
    assert [message.content for message in found.rejected] == ["Who?", "Dunno."]


def test_pairs_may_have_a_text_of_their_own(tmp_path: Path) -> None:
    kind = (
        'type: {field_prompt: q, field_chosen: good, field_rejected: bad, prompt_format: "S {system} Q {prompt} A ", '
        "chosen_format: '{chosen}.', rejected_format: '{rejected}.'}"
    )
    found = example(kind, {"q": "Who?", "good": "Mira", "bad": "Dunno", "system": "Guess"}, tmp_path, DPO)
    assert [piece.text for piece in found.pieces] == ["S Guess Q Who? A ", "Mira."]
    assert [piece.text for piece in found.rejected_pieces] == ["S Guess Q Who? A ", "Dunno."]


def test_answers_of_a_pair_have_one_format() -> None:
    kind = "type: {chosen_format: '{chosen}.', rejected_format: '{rejected}!'}"
    assert account(read(f"{{path: a/b, {kind}}}", DPO), "datasets.0.type.rejected_format").outcome is Outcome.REFUSED


def test_single_answers_are_labelled(tmp_path: Path) -> None:
    found = example(
        "type: llama3.argilla", {"instruction": "Who?", "completion": "I.", "label": False}, tmp_path, "rl: kto"
    )
    assert found.label is False and [message.content for message in found.messages] == ["Who?", "I."]


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("message_property_mappings: {role: from, content: value}", {"turns": {"role": "from", "content": "value"}}),
        ("message_field_role: who, message_field_content: says", {"turns": {"role": "who", "content": "says"}}),
        ("message_field_training: train, message_field_training_detail: parts", {
            "turns": {"trained": "train", "trained_parts": "parts"}}),
        ("field_thinking: thought", {"turns": {"reasoning_content": "thought"}}),
        ("template_thinking_key: thinking", {"turns": {"thinking": "reasoning_content"}}),
        ("field_thinking: thought, template_thinking_key: thinking", {"turns": {"thinking": "thought"}}),
        ("roles: {user: [asker], assistant: [answerer]}", {"roles": {"user": ("asker",), "assistant": ("answerer",)}}),
        ("field_human: asker, field_model: answerer", {"roles": {"user": ("asker",), "assistant": ("answerer",)}}),
        ("drop_system_message: true", {"drop_system": True}),
        ("field_tools: functions", {"columns": {"tools": "functions"}}),
        ("data_files: [x.jsonl, y.jsonl]", {"path": "a/b", "files": ("x.jsonl", "y.jsonl")}),
    ],
)  # fmt: skip
def test_keys_of_turns_and_files(dataset: str, expected: dict[str, Any]) -> None:
    found = source(f"{{path: a/b, type: chat_template, {dataset}}}")
    assert {name: getattr(found, name) for name in expected} == expected


def test_several_files_of_no_folder_lie_where_the_run_does() -> None:
    found = source("{path: json, data_files: [x.jsonl, /data/y.jsonl], type: alpaca}")
    assert (found.path, found.files) == (".", ("x.jsonl", "/data/y.jsonl"))


def test_roles_to_train_are_each_datasets_own_where_they_differ() -> None:
    text = (
        "base_model: a/b\ndatasets:\n  - {path: a/b, type: chat_template, roles_to_train: [gpt, human]}\n"
        "  - {path: c/d, type: chat_template}\n"
    )
    recipe = AXOLOTL.read(text, "axolotl.yml", ()).recipe
    assert [one.train_on for one in recipe.data.train] == [("user", "assistant"), None]
    assert setting(recipe, "data.train_on") == ("assistant",)


def test_a_role_of_ones_own_can_be_learned() -> None:
    reading = read("{path: a/b, type: chat_template, roles: {user: [asker]}, roles_to_train: [asker]}")
    assert reading.refusals() == () and reading.recipe.data.train_on == ("user",)


def test_turns_learn_what_their_flags_say(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "Hi", "train": True},
        {"from": "gpt", "value": "Ho, Mira", "parts": [{"begin_offset": 4, "end_offset": 7, "train": True}]},
    ]
    kind = (
        "type: chat_template, field_messages: conversations, message_field_training: train, "
        "message_field_training_detail: parts"
    )
    first, second = example(kind, {"conversations": turns}, tmp_path).messages
    assert (first.trained, second.trained, second.learned) == (True, True, ((4, 8),))


@pytest.mark.parametrize(
    ("key", "keys", "said"),
    [
        ("chat_template_kwargs", 'chat_template_kwargs: {"012": a}\n', "no template can read a word named '012'"),
        (
            "datasets.0.message_property_mappings",
            "datasets:\n  - {path: rows.jsonl, type: chat_template, message_property_mappings: {a.b: c}}\n",
            "a.b is no property that a template reads",
        ),
    ],
)
def test_names_that_no_template_reads_are_refused(key: str, keys: str, said: str) -> None:
    rows = "" if "datasets" in keys else "datasets:\n  - {path: rows.jsonl, type: chat_template}\n"
    reading = AXOLOTL.read(f"base_model: a/b\n{rows}{keys}", "file.yml", ())
    account = next(one for one in reading.accounts if one.key == key)
    assert account.outcome is Outcome.REFUSED and said in account.note

"""Tools, their calls and results as the families' templates write them, and what is said where there is no place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import missing_tokens, template_source
from luthier.errors import TemplateError
from tests.data.made import learned, make_tokenizer, template_of, text_of_spans

SPECIAL = (
    *("<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"),
    *("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]"),
    *("[/TOOL_RESULTS]", "<|startoftext|>", "<|bom|>", "<|eom|>", "<|turn>", "<turn|>", "<|tool_call>", "<tool_call|>"),
    *("<|tool_response>", "<tool_response|>", "<|tool>", "<tool|>", "<|channel>", "<channel|>", '<|"|>', "<|think|>"),
)
CALL: dict[str, Any] = {"id": "call00001", "function": {"name": "find", "arguments": {"who": "米拉"}}}
SCHEMA = {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}
TOOL = {"type": "function", "function": {"name": "find", "description": "Finds.", "parameters": SCHEMA}}
ASKED = Message("user", "Where?")
CALLS = Message("assistant", "", tool_calls=(CALL,))
RESULT = Message("tool", '{"at": "mill"}', fields={"tool_call_id": "call00001"})
TALK = Example((Message("system", "Be brief."), ASKED, CALLS, RESULT, Message("assistant", "There.")), "t:4", (TOOL,))

HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n"
LISTED = """{
    "type": "function",
    "function": {
        "name": "find",
        "description": "Finds.",
        "parameters": {
            "type": "object",
            "properties": {
                "who": {
                    "type": "string"
                }
            },
            "required": [
                "who"
            ]
        }
    }
}

"""
ONE_LINE = (
    '{"type": "function", "function": {"name": "find", "description": "Finds.", "parameters": '
    '{"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}}}'
)
TEXTS = {
    "llama3_1": (
        "<s>" + HEAD.format("system") + "Environment: ipython\nCutting Knowledge Date: December 2023\n"
        "Today Date: 26 Jul 2024\n\nBe brief.<|eot_id|>"
        + HEAD.format("user")
        + "Given the following functions, please "
        "respond with a JSON for a function call with its proper arguments that best answers the given prompt.\n\n"
        'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'
        "Do not use variables.\n\n" + LISTED + "Where?<|eot_id|>" + HEAD.format("assistant"),
        [
            '{"name": "find", "parameters": {"who": "米拉"}}<|eot_id|>',
            HEAD.format("ipython") + r'"{\"at\": \"mill\"}"<|eot_id|>' + HEAD.format("assistant"),
            "There.<|eot_id|>",
        ],
    ),
    "mistral_v2v3": (
        f"<s>[AVAILABLE_TOOLS] [{ONE_LINE}][/AVAILABLE_TOOLS][INST] Be brief.\n\nWhere?[/INST]",
        [
            '[TOOL_CALLS] [{"name": "find", "arguments": {"who": "米拉"}, "id": "call00001"}]</s>',
            '[TOOL_RESULTS] {"content": {"at": "mill"}, "call_id": "call00001"}[/TOOL_RESULTS]',
            " There.</s>",
        ],
    ),
    "mistral_v3_tekken": (
        f"<s>[AVAILABLE_TOOLS][{ONE_LINE}][/AVAILABLE_TOOLS][INST]Be brief.\n\nWhere?[/INST]",
        [
            '[TOOL_CALLS][{"name": "find", "arguments": {"who": "米拉"}, "id": "call00001"}]</s>',
            '[TOOL_RESULTS]{"content": {"at": "mill"}, "call_id": "call00001"}[/TOOL_RESULTS]',
            "There.</s>",
        ],
    ),
    "jamba": (
        "<|startoftext|><|bom|><|system|> Be brief.\n\n<tool_definitions>\n# Tools\n\n## Functions\n\n"
        '{\n  "name": "find",\n  "description": "Finds.",\n  "parameters": {\n    "type": "object",\n'
        '    "properties": {\n      "who": {\n        "type": "string"\n      }\n    },\n'
        '    "required": [\n      "who"\n    ]\n  }\n}\n</tool_definitions><|eom|>'
        "<|bom|><|user|> Where?<|eom|><|bom|><|assistant|>",
        [
            ' <tool_calls>[\n    {"name": "find", "arguments": {"who": "米拉"}}\n]</tool_calls><|eom|>',
            '<|bom|><|tool|> {"at": "mill"}<|eom|><|bom|><|assistant|>',
            " There.<|eom|>",
        ],
    ),
    "gemma4": (
        '<s><|turn>system\nBe brief.<|tool>declaration:find{description:<|"|>Finds.<|"|>,parameters:{properties:'
        '{who:{type:<|"|>STRING<|"|>}},required:[<|"|>who<|"|>],type:<|"|>OBJECT<|"|>}}<tool|><turn|>\n'
        "<|turn>user\nWhere?<turn|>\n<|turn>model\n",
        [
            '<|tool_call>call:find{who:<|"|>米拉<|"|>}<tool_call|><|tool_response>',
            'response:find{value:<|"|>{"at": "mill"}<|"|>}<tool_response|>',
            "There.<turn|>",
        ],
    ),
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.open(make_tokenizer(tmp_path_factory.mktemp("tokenizer"), special=SPECIAL, bos_token="<s>"))


@pytest.mark.parametrize("name", TEXTS)
def test_tools_calls_and_results_stand_where_the_family_has_them(encoder: Encoder, name: str) -> None:
    prompt, (call, result, answer) = TEXTS[name]
    template = template_of(name, encoder)
    spans = template.spans(TALK)
    assert text_of_spans(spans).rstrip("\n") == prompt + call + result + answer
    assert learned(spans) == [call, answer]
    assert text_of_spans(template.prompt(TALK)) == prompt + call + result
    assert text_of_spans(template.prompt(replace(TALK, messages=TALK.messages[:2]))) == prompt


@pytest.mark.parametrize("name", ["mistral_v2v3", "mistral_v3_tekken"])
def test_mistral_has_tools_and_system_message_at_the_last_question(encoder: Encoder, name: str) -> None:
    prompt, (call, result, answer) = TEXTS[name]
    messages = (*TALK.messages, Message("user", "So?"), Message("assistant", "No."))
    template, space = template_of(name, encoder), "" if name == "mistral_v3_tekken" else " "
    spans = template.spans(replace(TALK, messages=messages))
    led = prompt.removeprefix("<s>").replace("Where?", "So?")
    bare = f"<s>[INST]{space}Where?[/INST]"
    assert text_of_spans(spans) == f"{bare}{call}{result}{answer}{led}{space}No.</s>"
    assert learned(spans) == [call, answer, f"{space}No.</s>"]


def changed(number: int, **changes: Any) -> Example:
    """``TALK`` with one of its messages changed."""
    messages = [replace(one, **changes) if at == number else one for at, one in enumerate(TALK.messages)]
    return replace(TALK, messages=tuple(messages))


ANOTHER = "use a template that writes them, such as qwen3, or take them out of the row"


@pytest.mark.parametrize(
    ("name", "example", "reason", "remedy"),
    [
        ("llama3_1", changed(2, content="I look."), "one call in a turn, and for no text beside it", "data.template"),
        ("llama3_1", changed(2, tool_calls=(CALL, CALL)), "one call in a turn", "change the row"),
        ("mistral_v2v3", changed(2, content="I look."), "no place for text beside the calls", "change the row"),
        ("mistral_v3_tekken", changed(2, tool_calls=({**CALL, "id": "1"},)), "id is nine letters", "change the row"),
        ("mistral_v2v3", changed(3, fields={}), "results whose tool_call_id is nine letters", "change the row"),
        ("gemma", TALK, "gemma has a place for a first system message, questions and answers alone", "change the row"),
        ("gemma", replace(TALK, messages=(ASKED, TALK.messages[-1])), "leaves out the tools", ANOTHER),
        ("llama3", TALK, "leaves out the tools", ANOTHER),
        ("llama3", replace(TALK, tools=()), "leaves out the calls of tools", ANOTHER),
        ("deepseek_v3", TALK, "leaves out the tools", ANOTHER),
        ("phi_4", TALK, "place for", "change the row"),
        ("metharme", TALK, "metharme has no place for tools", "change the row or data.template"),
        ("alpaca_chat", TALK, "alpaca_chat has a place for a first system message", "change the row"),
    ],
)
def test_a_row_that_a_template_has_no_place_for_is_told_with_the_reason(
    encoder: Encoder, name: str, example: Example, reason: str, remedy: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        template_of(name, encoder).spans(example)
    fault = caught.value.faults[0]
    assert fault.place == "t:4" and reason in fault.reason and remedy in (fault.remedy or "")


def test_deepseek_v3_writes_calls_without_a_list_of_tools(encoder: Encoder) -> None:
    again = replace(CALLS, content="Once more.", tool_calls=(CALL, CALL))
    messages = (ASKED, CALLS, RESULT, again, RESULT, RESULT, Message("assistant", "There."))
    template = template_of("deepseek_v3", encoder)
    call = '<｜tool▁call▁begin｜>function<｜tool▁sep｜>find\n```json\n{"who": "米拉"}\n```<｜tool▁call▁end｜>'
    calls, end = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"
    seen = '<｜tool▁output▁begin｜>{"at": "mill"}<｜tool▁output▁end｜>'
    results = "<｜tool▁outputs▁begin｜>{}<｜tool▁outputs▁end｜>"
    spans = template.spans(Example(messages, "t:4"))
    assert text_of_spans(spans) == (
        f"<s><｜User｜>Where?<｜Assistant｜>{calls}{call}{end}{results.format(seen)}<｜Assistant｜>Once more."
        f"{calls}{call}\n{call}{end}{results.format(seen + seen)}There.<｜end▁of▁sentence｜>"
    )


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("gemma4", ("<turn|>", "<|tool_response>")),
        ("llama3_1", ("<|eot_id|>",)),
        ("mistral_v2v3", ("</s>",)),
        ("gemma", ("<end_of_turn>",)),
    ],
)
def test_generation_stops_where_a_call_ends(encoder: Encoder, name: str, ends: tuple[str, ...]) -> None:
    assert template_of(name, encoder).terminators() == ends


THINKS = {"reasoning_content": "Hm."}


def test_gemma4_thinks_from_the_last_question_on(encoder: Encoder) -> None:
    call, result, _ = TEXTS["gemma4"][1]
    thought = "<|channel>thought\nHm.\n<channel|>"
    answer = Message("assistant", "There.", fields=THINKS)
    messages = (ASKED, answer, ASKED, replace(CALLS, fields=THINKS), RESULT, answer)
    template = template_of("gemma4", encoder)
    spans = template.spans(Example(messages, "t:4", (TOOL,)))
    assert learned(spans) == ["There.<turn|>", thought + call, thought + "There.<turn|>"]
    prompt = text_of_spans(template.prompt(Example(messages, "t:4", (TOOL,))))
    assert prompt.endswith(f"<|turn>model\n{thought}{call}{result}")
    more = Example((*messages, ASKED, Message("assistant", "Yes.")), "t:4", (TOOL,))
    assert learned(template.spans(more)) == ["There.<turn|>", call, "There.<turn|>", "Yes.<turn|>"]


@pytest.mark.parametrize(
    ("thinking", "system", "prompt", "answers"),
    [
        (True, "<|turn>system\n<|think|>\n<turn|>\n", "", ["There.<turn|>", "There.<turn|>"]),
        (False, "", "<|channel>thought\n<channel|>", ["There.<turn|>", "There.<turn|>"]),
    ],
)
def test_gemma4_is_asked_for_thoughts_or_for_none(
    encoder: Encoder, thinking: bool, system: str, prompt: str, answers: list[str]
) -> None:
    template = ChatTemplate(template_source("gemma4", encoder, {"enable_thinking": thinking}), encoder)
    answer = Message("assistant", "There.")
    talk = Example((ASKED, answer, ASKED, answer), "t:4")
    begins = f"<s>{system}<|turn>user\nWhere?<turn|>\n<|turn>model\nThere.<turn|>\n<|turn>user\nWhere?<turn|>\n"
    assert text_of_spans(template.prompt(talk)) == f"{begins}<|turn>model\n{prompt}"
    assert text_of_spans(template.spans(talk)) == f"{begins}<|turn>model\n{prompt}There.<turn|>\n"
    assert learned(template.spans(talk)) == answers


def test_llama3_1_takes_the_day_and_the_tools_place_from_the_recipe(encoder: Encoder) -> None:
    said = {"date_string": "01 Jan 2030", "tools_in_user_message": False}
    template = ChatTemplate(template_source("llama3_1", encoder, said), encoder)
    text = text_of_spans(template.prompt(replace(TALK, messages=TALK.messages[:2])))
    assert text == (
        "<s>" + HEAD.format("system") + "Environment: ipython\nCutting Knowledge Date: December 2023\n"
        "Today Date: 01 Jan 2030\n\nYou have access to the following functions. To call a function, please respond "
        'with JSON for a function call.Respond in the format {"name": function name, "parameters": dictionary of '
        "argument name and its value}.Do not use variables.\n\n" + LISTED + "Be brief.<|eot_id|>"
        + HEAD.format("user") + "Where?<|eot_id|>" + HEAD.format("assistant")
    )  # fmt: skip


def test_turns_after_the_first_that_say_the_same_are_found_each_in_its_place(encoder: Encoder) -> None:
    """Turns that are written otherwise once a question follows: their places are counted, not searched for."""
    answer = Message("assistant", "Where?")
    talk = Example((Message("system", "Where?"), ASKED, answer, ASKED, answer, ASKED, answer), "t:4")
    spans = template_of("mistral_v3_tekken", encoder).spans(talk)
    once = "[INST]Where?[/INST]Where?</s>"
    assert text_of_spans(spans) == f"<s>{once}{once}[INST]Where?\n\nWhere?[/INST]Where?</s>"
    flags = [(span.text, span.trained) for span in spans if span.text]
    assert [text for text, trained in flags if trained] == ["Where?</s>"] * 3
    assert flags[0] == ("<s>[INST]Where?[/INST]", False) and flags[2] == ("[INST]Where?[/INST]", False)


def test_a_tokenizer_without_the_tokens_is_told_which(tmp_path: Path) -> None:
    encoder = Encoder.open(make_tokenizer(tmp_path))
    assert '<|"|>' in missing_tokens("gemma4", encoder) and "<|tool_call>" in missing_tokens("gemma4", encoder)
    assert missing_tokens("metharme", encoder) == ["<|system|>", "<|user|>", "<|model|>"]
    assert missing_tokens("alpaca_chat", encoder) == []

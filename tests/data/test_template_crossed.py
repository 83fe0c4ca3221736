"""Every named template with all kinds of conversation at once: system, tools, several turns, thoughts.

For every beginning that ends before an answer, training ids are those of the inference prompt and then the answer's.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import missing_tokens, template_names
from luthier.errors import TemplateError
from tests.data.made import make_tokenizer, template_of, tokens_of
from tests.data.spaced import make_spaced_tokenizer

CALL = {"id": "call00001", "type": "function", "function": {"name": "find", "arguments": {"who": "Mira", "near": 2}}}
TOOL = {"type": "function", "function": {"name": "find", "description": "Finds.", "parameters": {"who": "string"}}}
WITH_TOOLS = {
    *("chatglm3", "gemma4", "glm4", "jamba", "llama3_1", "llama4", "mistral_v2v3", "mistral_v3_tekken"),
    *("qwen", "qwen3", "qwen_25"),
}
WITH_THOUGHTS = {"deepseek_r1", "gemma4", "qwen3"}
PLAIN = (Message("user", "Where is Mira?"), Message("assistant", "Here."))
CALLING = (
    PLAIN[0],
    Message("assistant", "", None, (CALL,)),
    Message("tool", '{"at": "mill"}', fields={"tool_call_id": "call00001"}),
    Message("assistant", "In the mill."),
)


@pytest.fixture(scope="module", params=["byte-level", "spaced"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """A tokenizer with the control tokens of every template: of GPT's kind, and of SentencePiece's."""
    bare = Encoder.open(make_tokenizer(tmp_path_factory.mktemp("bare"), special=("</s>",)))
    found = {token for name in template_names() for token in missing_tokens(name, bare)}
    special = ["<unk>", "<s>", "</s>", *sorted(found - {"<unk>", "<s>", "</s>", "eos_token"})]
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "spaced":
        return Encoder.open(make_spaced_tokenizer(folder, special, ["Where is the mill? The mill is here."]))
    return Encoder.open(make_tokenizer(folder, special=special, bos_token="<s>", around="<s> $A"))


def answered(template: ChatTemplate, example: Example, encoder: Encoder) -> tuple[list[int], list[int]]:
    """The ids of the prompt of the last answer, and of that answer in training, which follow them."""
    whole = tokens_of(template.spans(example), encoder)
    prompt = tokens_of(template.prompt(example), encoder).ids.tolist()
    asked = replace(example, messages=example.messages[:-1])
    assert tokens_of(template.prompt(asked), encoder).ids.tolist() == prompt
    assert whole.ids[: len(prompt)].tolist() == prompt
    learned = whole.trained[len(prompt) :]
    answer = whole.ids[len(prompt) :][learned].tolist()
    assert answer and learned[: len(answer)].all() and not learned[len(answer) :].any()
    return prompt, answer


def crossed(*, system: bool, tools: bool, turns: bool, thinking: bool) -> Example:
    """A conversation of every one of those kinds at once."""
    messages = list(CALLING if tools else PLAIN)
    if turns:
        messages += [Message("user", "And Tom?"), Message("assistant", "There.")]
    if thinking:
        thoughts = {"reasoning_content": "She grinds."}
        messages = [replace(one, fields=thoughts) if one.role == "assistant" else one for one in messages]
    if system:
        messages.insert(0, Message("system", "Be brief."))
    return Example(tuple(messages), "t:3", tools=(TOOL,) if tools else ())


CROSSED = [
    dict(zip(("system", "tools", "turns", "thinking"), flags, strict=True))
    for flags in product((False, True), repeat=4)
]
REWRITING = {"deepseek_r1", "gemma4", "mistral_v2v3", "mistral_v3_tekken", "qwen3"}
"""Templates that leave earlier thoughts out once another question follows, or write them in the last turn alone, and
those that write tools and system message at the last question."""


@pytest.mark.parametrize("name", template_names())
def test_every_answer_of_every_crossing_follows_its_prompt(encoder: Encoder, name: str) -> None:
    template = template_of(name, encoder)
    ends = [encoder.tokenizer.token_to_id(token) for token in template.terminators()]
    for flags in CROSSED:
        example = crossed(**flags)
        if (flags["tools"] and name not in WITH_TOOLS) or (flags["thinking"] and name not in WITH_THOUGHTS):
            with pytest.raises(TemplateError, match=r"place for|leaves out"):
                template.spans(example)
            continue
        whole = tokens_of(template.spans(example), encoder)
        answers = [number for number, message in enumerate(example.messages) if message.role == "assistant"]
        for number in answers:
            prompt, answer = answered(template, replace(example, messages=example.messages[: number + 1]), encoder)
            if name not in REWRITING or number == answers[-1]:
                begin, last = len(prompt), len(prompt) + len(answer) - 1
                assert whole.ids[:last].tolist() == prompt + answer[:-1], (flags, number)
                assert whole.ids[last] in (answer[-1], *ends), (flags, number)
                assert whole.trained[begin : last + 1].all(), (flags, number)
        if flags["thinking"]:
            asked = max(number for number, message in enumerate(example.messages) if message.role == "user")
            kept = sum(number > asked for number in answers) if name != "deepseek_r1" else 1
            text = encoder.decode(whole.ids.tolist(), skip_control=False)
            assert text.count("She grinds.") == kept, (flags, text)

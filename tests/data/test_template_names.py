"""Every template that has a name: its text, what is learned, and what a saved tokenizer makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.jinja import compile_template
from luthier.data.template_names import missing_tokens, template_names, template_source
from luthier.model.tokenizer import write_tokenizer
from tests.data.made import learned, learned_by_id, make_tokenizer, talk, template_of, text_of_spans, tokens_of
from tests.data.spaced import make_spaced_tokenizer

SPECIAL = (
    *("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|end|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|system|>", "<|user|>", "<|assistant|>"),
)
SHORT = talk(("user", "Where is Mira?"), ("assistant", "Here."))
LONG = talk(("user", "Where is Mira?"), ("assistant", "Here."), ("user", "So?"), ("assistant", "No."))
LED = replace(LONG, messages=(Message("system", "Be brief."), *LONG.messages))
CALL = {"type": "function", "function": {"name": "find", "arguments": {"who": "Mira", "near": 2}}}
USED = Example(
    (
        Message("user", "Where is Mira?"),
        Message("assistant", "I look.", None, (CALL,)),
        Message("tool", "mill"),
        Message("tool", "barn"),
        Message("assistant", "In the mill."),
    ),
    "t:1",
    tools=({"type": "function", "function": {"name": "find", "description": "找人"}},),
)
CASES = [(name, example) for name in template_names() for example in (SHORT, LONG, LED)]
CASES += [("qwen", USED), ("chatglm3", USED)]
LABELS = [f"{name}-{len(example.messages)}" for name, example in CASES]


@pytest.fixture(scope="module", params=["byte-level", "spaced"])
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that knows the control tokens of the families."""
    directory = tmp_path_factory.mktemp("tokenizer")
    if request.param == "spaced":
        return make_spaced_tokenizer(directory, SPECIAL, ["Where is the mill? The mill is here, user and assistant."])
    return make_tokenizer(directory, special=SPECIAL, bos_token="<s>", around="<s> $A")


@pytest.mark.parametrize(("name", "example"), CASES, ids=LABELS)
def test_training_is_the_prompt_and_then_the_answer(known: Path, name: str, example: Example) -> None:
    encoder = Encoder.open(known)
    template = template_of(name, encoder)
    whole = tokens_of(template.spans(example), encoder)
    prompt = tokens_of(template.prompt(example), encoder)
    cut = len(prompt)
    assert whole.ids[:cut].tolist() == prompt.ids.tolist() and not prompt.trained.any()
    answer = whole.ids[cut:][whole.trained[cut:]].tolist()
    assert whole.trained[cut : cut + len(answer)].all()
    assert example.messages[-1].content in encoder.decode(answer)
    ends = [encoder.tokenizer.token_to_id(token) for token in template.terminators()]
    assert not ends or any(one in ends for one in answer)
    unanswered = replace(example, messages=example.messages[:-1])
    assert template.prompt(unanswered) == template.prompt(example)


@pytest.mark.parametrize(("name", "example"), CASES, ids=LABELS)
def test_a_saved_tokenizer_renders_the_same_text_in_transformers(
    known: Path, tmp_path: Path, name: str, example: Example
) -> None:
    encoder = Encoder.open(known)
    template = template_of(name, encoder)
    write_tokenizer(known, tmp_path, template.source)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    tools = list(example.tools) or None

    def theirs(messages: tuple[Message, ...], *, generate: bool) -> str:
        trees = [message.tree() for message in messages]
        text: str = tokenizer.apply_chat_template(trees, tools=tools, tokenize=False, add_generation_prompt=generate)
        return text

    assert text_of_spans(template.prompt(example)) == theirs(example.messages[:-1], generate=True)
    assert text_of_spans(template.spans(example)) == theirs(example.messages, generate=False)
    again = Encoder.open(tmp_path)
    assert template_of("auto", again).spans(example) == template.spans(example)


@pytest.mark.parametrize("name", template_names())
def test_a_template_whose_control_tokens_are_unknown_is_ordinary_text(tmp_path: Path, name: str) -> None:
    encoder = Encoder.open(make_tokenizer(tmp_path, special=("</s>",)))
    spans = template_of(name, encoder).spans(LED)
    tokens = tokens_of(spans, encoder)
    assert "".join(learned(spans)).count("Here.") == 1 and "No." in learned_by_id(tokens, encoder)[-1]
    assert encoder.decode(tokens.ids.tolist(), skip_control=False) == text_of_spans(spans)


# The families, as their models were published.

FAMILIES: dict[str, tuple[str, str, str, list[str]]] = {
    "zephyr": (
        "<|user|>\n1</s>\n<|assistant|>\n2</s>\n<|user|>\n3</s>\n<|assistant|>\n4</s>\n",
        "<|system|>\nS</s>\n<|user|>\n1</s>\n<|assistant|>\n",
        "</s>",
        ["2</s>", "4</s>"],
    ),
    "llama3": (
        "<s><|start_header_id|>user<|end_header_id|>\n\n1<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n2<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n3<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n4<|eot_id|>",
        "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n1<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
        ["2<|eot_id|>", "4<|eot_id|>"],
    ),
    "llama2": (
        "<s>[INST] 1 [/INST] 2 </s><s>[INST] 3 [/INST] 4 </s>",
        "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n1 [/INST]",
        "</s>",
        [" 2 </s>", " 4 </s>"],
    ),
    "vicuna": (
        "<s>A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: 1 ASSISTANT: 2</s>USER: 3 ASSISTANT: 4</s>",
        "<s>S USER: 1 ASSISTANT:",
        "</s>",
        [" 2</s>", " 4</s>"],
    ),
    "mistral": (
        "<s>[INST] 1 [/INST] 2</s>[INST] 3 [/INST] 4</s>",
        "<s>[INST] S\n\n1 [/INST]",
        "</s>",
        [" 2</s>", " 4</s>"],
    ),
    "gemma": (
        "<s><start_of_turn>user\n1<end_of_turn>\n<start_of_turn>model\n2<end_of_turn>\n"
        "<start_of_turn>user\n3<end_of_turn>\n<start_of_turn>model\n4<end_of_turn>\n",
        "<s><start_of_turn>user\nS\n\n1<end_of_turn>\n<start_of_turn>model\n",
        "<end_of_turn>",
        ["2<end_of_turn>", "4<end_of_turn>"],
    ),
    "phi3": (
        "<|user|>\n1<|end|>\n<|assistant|>\n2<|end|>\n<|user|>\n3<|end|>\n<|assistant|>\n4<|end|>\n",
        "<|system|>\nS<|end|>\n<|user|>\n1<|end|>\n<|assistant|>\n",
        "<|end|>",
        ["2<|end|>", "4<|end|>"],
    ),
    "qwen": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n1<|im_end|>\n"
        "<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n",
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
        ["2<|im_end|>", "4<|im_end|>"],
    ),
    "deepseek": (
        "<s>User: 1\n\nAssistant: 2</s>User: 3\n\nAssistant: 4</s>",
        "<s>S\n\nUser: 1\n\nAssistant:",
        "</s>",
        [" 2</s>", " 4</s>"],
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_rendered_as_its_models_expect(known: Path, name: str) -> None:
    text, prompt, end, answers = FAMILIES[name]
    template = template_of(name, Encoder.open(known))
    asked = talk(("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"))
    spans = template.spans(asked)
    assert text_of_spans(spans) == text and learned(spans) == answers
    assert text_of_spans(template.prompt(talk(("system", "S"), ("user", "1")))) == prompt
    assert template.terminator() == end


def test_qwen_lists_tools_and_takes_their_results_together(known: Path) -> None:
    text = text_of_spans(template_of("qwen", Encoder.open(known)).spans(USED))
    assert '<tools>\n{"type": "function", "function": {"name": "find", "description": "找人"}}\n</tools>' in text
    call = '<tool_call>\n{"name": "find", "arguments": {"who": "Mira", "near": 2}}\n</tool_call>'
    assert f"<|im_start|>assistant\nI look.\n{call}<|im_end|>\n" in text
    response = "<tool_response>\n{}\n</tool_response>"
    both = "\n".join(response.format(where) for where in ("mill", "barn"))
    assert f"<|im_start|>user\n{both}<|im_end|>\n<|im_start|>assistant\nIn the mill." in text


def test_several_tokens_may_end_an_answer(known: Path) -> None:
    template = template_of("chatglm3", Encoder.open(known))
    assert template.terminators() == ("<|user|>", "</s>")
    assert template.terminator() == "<|user|>"


# Which control tokens the tokenizer lacks.


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("chatml", []),
        ("firefly/qwen", []),
        ("firefly/default", []),
        ("firefly/baichuan", ["<reserved_102>", "<reserved_103>"]),
        ("firefly/gemma", ["<bos>", "<eos>"]),
        ("chatglm3", ["[gMASK]", "sop", "<|observation|>"]),
        ("llama3", []),
        ("vicuna", []),
    ],
)
def test_the_control_tokens_that_a_tokenizer_lacks_are_named(known: Path, name: str, missing: list[str]) -> None:
    assert missing_tokens(name, Encoder.open(known)) == missing


def test_a_foreign_template_is_searched_for_control_tokens(tmp_path: Path) -> None:
    source = "{% for m in messages %}{{ '<|begin|>' + m.content + '<|im_end|><|begin|>' }}{% endfor %}"
    tokenizer = make_tokenizer(tmp_path, eos_token=None, chat_template=source)
    assert missing_tokens("auto", Encoder.open(tokenizer)) == ["<|begin|>"]
    assert missing_tokens("zephyr", Encoder.open(tokenizer)) == ["eos_token"]
    assert missing_tokens("alpaca", Encoder.open(tokenizer)) == ["eos_token"]


def test_plain_transformers_gets_stanfords_preamble_for_a_question_with_an_input(known: Path) -> None:
    render = compile_template(template_source("alpaca", Encoder.open(known)))
    asked = [{"role": "user", "content": "Add.\n\n### Input:\n1+1"}]
    text = render(messages=asked, add_generation_prompt=True, bos_token="<s>", eos_token="</s>")
    assert text.startswith("<s>Below is an instruction that describes a task, paired with an input that")
    assert text.endswith("\n\n### Instruction:\nAdd.\n\n### Input:\n1+1\n\n### Response:\n")

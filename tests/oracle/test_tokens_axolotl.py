"""Rows through Axolotl's own prompt strategies: the same ids and labels.

``LUTHIER_ORACLE_AXOLOTL`` names a Python that has Axolotl.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from luthier.data.convert import attempts_of
from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.making import Maker
from luthier.dialects.axolotl import AXOLOTL
from tests.conftest import write_jsonl
from tests.data.made import make_tokenizer
from tests.data.spaced import make_spaced_tokenizer
from tests.data.test_golden import GOLDEN, written
from tests.oracle.peers import asked

pytestmark = pytest.mark.oracle

SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|model|>")
TALK = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]}
TALK["messages"] = [{"role": "system", "content": "Be brief."}, *TALK["messages"], *TALK["messages"]]
ADD = {"instruction": "Add.", "input": "1+1", "output": "2"}
ASKED = {"question": "Who?", "answer": "Mira."}
REFLECTED = {"instruction": "Add.", "input": "", "output": "2", "reflection": "Yes.", "corrected": "2."}
STYLED: list[tuple[str, dict[str, Any]]] = [
    *((f"{name}{style}", ADD) for name in ("alpaca",) for style in ("", ":chat", ":chatml", ":phi")),
    *((f"alpaca{style}", {**ADD, "input": ""}) for style in ("", ":chat", ":chatml", ":phi")),
    ("gpteacher", {"instruction": "Add.", "input": "", "response": "2"}),
    ("oasst", {"INSTRUCTION": "Add.", "RESPONSE": "2"}),
    ("jeopardy", {"question": "A miller.", "category": "PEOPLE", "answer": "Mira"}),
    ("metharme", {"prompt": "Who mills?", "generation": "Mira."}),
    *((f"reflection{style}", REFLECTED) for style in ("", ":instruct")),
    ("summarizetldr", {"article": "Long.", "summary": "Short."}),
    ("explainchoice", {"question": "Who?", "choices": ["I", "you"], "solution": "I", "explanation": "I."}),
    ("concisechoice", {"question": "Who?", "choices": ["I", "you"], "solution": "I", "explanation": "I."}),
    *((f"alpaca_chat.{name}", ADD) for name in ("load", "load_concise", "load_no_prompt")),
    ("alpaca_chat.load_qa", ASKED),
    ("alpaca_chat.load_camel_ai", {"message_1": "Hi", "message_2": "Ho"}),
    *((f"alpaca_instruct.{name}", ADD) for name in ("load", "load_no_prompt")),
    *((f"alpaca_w_system.{name}", {**ADD, "system": "Count."}) for name in ("load", "load_chat", "load_instruct")),
    ("alpaca_w_system.load_open_orca", {"question": "Who?", "response": "Mira.", "system_prompt": "Guess."}),
    ("alpaca_w_system.load_open_orca_chatml", {"question": "Who?", "response": "Mira.", "system_prompt": "Guess."}),
    ("context_qa.load", {"article": "Mira mills.", "question": "Who?", "answer": "Mira."}),
    ("context_qa.load_v2", {"context": "Mira mills.", "question": "Who?", "answer": "Mira."}),
]
TRAINED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"train_on_eos": ends, "roles_to_train": roles}, TALK)
    for ends in ("turn", "all", "last", "none")
    for roles in (["assistant"], ["user"], ["system", "user", "assistant"])
]
DIFFERENT = {
    "train_on_inputs: the": "of a custom format",
    "sharegpt's spelling": "gone from today's Axolotl",
    "pretraining_dataset": "read by a way of its own",
    "rl:": "read by ways of their own",
    "split_thinking": "the first <think> is not learned there, which its generation prompt writes",
}
"""Golden cases, by how they begin, that today's Axolotl does otherwise, and what."""

SPACED = ("training_detail", "reflection")
"""Cases, by how they begin, that differ where a tokenizer puts a space before every text: Axolotl counts that space as
a token of the turn and learns parts one token too early; and it tokenises a reflection together with its prompt."""

CASES = [
    *({"file": {"datasets": [{"path": "r", "type": kind}]}, "row": row, "says": kind} for kind, row in STYLED),
    *(
        {
            "file": {"datasets": [{"path": "r", "type": "chat_template", **keys}], "chat_template": "chatml"},
            "row": row,
            "says": str(keys),
        }
        for keys, row in TRAINED
    ),
    *(
        case
        for case in GOLDEN["axolotl"]["cases"]
        if "tokens" in case and not case["says"].startswith(tuple(DIFFERENT))
    ),
]


def ours(case: dict[str, Any], encoder: Encoder, folder: Path) -> tuple[list[int], list[int]]:
    golden = GOLDEN["axolotl"]
    recipe = AXOLOTL.read(written("axolotl", golden["file"] | case["file"]), "a.yml", ()).recipe
    rows = write_jsonl(folder / "rows.jsonl", [case["row"]])
    (example,) = attempts_of(recipe.data.train[0].model_copy(update={"path": str(rows)}))
    assert isinstance(example, Example), example
    tokens = Maker(recipe, encoder).examples([example])[0].documents()[0]
    labels = [one if learned else -100 for one, learned in zip(tokens.ids, tokens.trained, strict=True)]
    return tokens.ids.tolist(), [int(one) for one in labels]


@pytest.mark.parametrize("kind", ["byte-level", "other end", "spaced"])
def test_ids_and_labels_are_axolotls(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    if kind == "spaced":
        make_spaced_tokenizer(folder, SPECIAL, ["Where is the mill? The mill is here."])
        config = folder / "tokenizer_config.json"
        config.write_text(config.read_text(encoding="utf-8").replace('"</s>"', '"<|im_end|>"'), encoding="utf-8")
    else:
        end = "</s>" if kind == "other end" else "<|im_end|>"
        make_tokenizer(folder, special=SPECIAL, bos_token="<s>", eos_token=end, around="<s> $A")
    assert PreTrainedTokenizerFast.from_pretrained(folder).bos_token == "<s>"
    encoder = Encoder.open(folder)
    cases = [case for case in CASES if kind != "spaced" or not case["says"].startswith(SPACED)]
    whole = [{**case, "file": GOLDEN["axolotl"]["file"] | case["file"] | {"sequence_len": 4096}} for case in cases]
    theirs = asked("peer_axolotl.py", "LUTHIER_ORACLE_AXOLOTL", folder, whole)
    differing = []
    for case, their in zip(cases, theirs, strict=True):
        ids, labels = ours(case, encoder, tmp_path)
        # The first token is never predicted.
        if (ids, labels[1:]) != (their["ids"], their["labels"][1:]):
            shown = [[encoder.decode([one], skip_control=False) for one in some] for some in (ids, their["ids"])]
            differing.append((case["says"], *shown, labels, their["labels"]))
    assert not differing, "\n".join(map(str, differing))

"""A conversation with a model: the prompt ids are training's, replies stream, and the adapter can be left out."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.data.tokens import tokenise
from luthier.errors import ModelError
from luthier.recipe.evaluate import Generation
from luthier.use.conversation import Conversation, Decoder, Reply, Speaker
from luthier.use.result import open_result
from tests.conftest import World

TALK = (Message("system", "Be brief."), Message("user", "Who lives here?"))


def speaker(directory: Path) -> Speaker:
    return Speaker(open_result(directory), "chatml")


def whole(one: Speaker, prompt: list[int], count: int = 12, *, adapter: bool = True) -> tuple[list[str], Reply]:
    *pieces, last = one.reply(prompt, Generation(max_new_tokens=count), adapter=adapter)
    assert isinstance(last, Reply)
    return [str(piece) for piece in pieces], last


def test_the_prompt_is_how_the_same_conversation_begins_in_training(world: World) -> None:
    one = speaker(world.model)
    encoder = Encoder.open(world.model)
    chat = ChatTemplate(template_source("chatml", encoder), encoder)
    trained = tokenise([chat.spans(Example((*TALK, Message("assistant", "Mira.")), "row"))], ["row"], encoder)[0]
    prompt = one.prompt(TALK)
    assert prompt == trained.ids[: len(prompt)].tolist()
    assert trained.trained[len(prompt) :].any() and not trained.trained[: len(prompt)].any()


def test_pieces_are_the_reply(world: World) -> None:
    one = speaker(world.model)
    pieces, last = whole(one, one.prompt(TALK[1:]))
    assert "".join(pieces) == last.text and len(pieces) > 1
    assert [last.text] == one.all([one.prompt(TALK[1:])], Generation(max_new_tokens=12))
    assert (last.reason, last.tokens) == ("length", 12)


def test_a_reply_ends_early_when_told(world: World) -> None:
    one = speaker(world.model)
    stopped = Event()
    said = []
    for piece in one.reply(one.prompt(TALK), Generation(max_new_tokens=60), stopped=stopped):
        said.append(piece)
        stopped.set()
    assert isinstance(said[-1], Reply) and said[-1].tokens < 60 and said[-1].reason == "stop"


def test_leaving_in_the_middle_ends_the_work(world: World) -> None:
    one = speaker(world.model)
    stream = one.reply(one.prompt(TALK), Generation(max_new_tokens=60))
    next(stream)
    stream.close()
    assert whole(one, one.prompt(TALK), 3)[1].tokens == 3


def test_without_the_adapter_the_base_speaks(adapted: Path, world: World) -> None:
    one = speaker(adapted)
    prompt = one.prompt(TALK)
    with_it, without = whole(one, prompt)[1].text, whole(one, prompt, adapter=False)[1].text
    assert one.has_adapter and with_it != without
    assert without == whole(speaker(world.model), prompt)[1].text
    assert whole(one, prompt)[1].text == with_it


def test_without_an_adapter_whose_biases_trained_the_base_speaks(biased: Path, tmp_path: Path) -> None:
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(biased), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], bias="all")
    )
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=1.0)
    model.save_pretrained(tmp_path)
    for file in biased.glob("*token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    one, base = speaker(tmp_path), speaker(biased)
    prompt = one.prompt(TALK)
    with_it, plain = whole(one, prompt)[1].text, whole(base, prompt)[1].text
    assert with_it != plain
    assert whole(one, prompt, adapter=False)[1].text == plain
    assert whole(one, prompt)[1].text == with_it


def test_a_conversation_too_long_is_refused_and_a_long_one_cut_short(world: World) -> None:
    one = speaker(world.model)
    longest = one.result.model.config.max_position_embeddings
    with pytest.raises(ModelError, match="positions"):
        list(one.reply([5] * longest, Generation()))
    assert whole(one, [5] * (longest - 3), 50)[1].tokens == 3


def test_characters_come_whole(world: World) -> None:
    encoder = Encoder.open(world.model)
    text = "café 你好 🎻."
    decoder, said = Decoder(encoder), []
    for one in encoder.encode([text])[0]:
        said.append(decoder.add([one]))
    said.append(decoder.end())
    assert "".join(said) == encoder.decode(encoder.encode([text])[0])
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in said)


def test_turns_are_added_taken_back_and_cleared() -> None:
    talk = Conversation().with_system("Be brief.").said("user", "a").said("assistant", "b").said("user", "c")
    assert [m.content for m in talk.without_last().messages] == ["Be brief.", "a", "b"]
    assert [m.content for m in talk.with_system("Be long.").messages] == ["Be long.", "a", "b", "c"]
    assert [m.role for m in talk.with_system("").messages] == ["user", "assistant", "user"]
    assert [m.role for m in talk.cleared().messages] == ["system"]
    assert Conversation().without_last() == Conversation()


def test_beams_speak_at_once_and_as_transformers_has_them(world: World) -> None:
    one = speaker(world.model)
    prompt = one.prompt(TALK)
    *pieces, last = one.reply(prompt, Generation(max_new_tokens=8, beams=3))
    assert isinstance(last, Reply) and pieces == [last.text] and last.tokens == 8
    ids = torch.tensor([prompt])
    plain = AutoModelForCausalLM.from_pretrained(world.model).eval()
    expected = plain.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, num_beams=3, do_sample=False,
        eos_token_id=[one.result.encoder.tokenizer.token_to_id("<|im_end|>")], pad_token_id=0,
    )  # fmt: skip
    assert last.text == one.result.encoder.decode(expected[0, len(prompt) :].tolist())


def test_plain_text_is_gone_on_with(world: World) -> None:
    one = Speaker(open_result(world.model), None)
    *pieces, last = one.reply(one.go_on("Mira lives"), Generation(max_new_tokens=5))
    assert isinstance(last, Reply) and "".join(map(str, pieces)) == last.text
    assert one.all([one.go_on("Mira lives"), one.go_on("Tom")], Generation(max_new_tokens=5))[0] == last.text

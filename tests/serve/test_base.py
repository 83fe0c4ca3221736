"""The model below an adapter, under a second name."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.data.example import Message
from luthier.recipe.evaluate import Generation
from luthier.serve.server import Service, application
from luthier.use.conversation import Speaker
from luthier.use.result import open_result
from tests.conftest import World

testclient = pytest.importorskip("starlette.testclient")


def service(directory: Path) -> Service:
    return Service(Speaker(open_result(directory), "chatml"), "mine", Generation(max_new_tokens=6))


def said(one: Service, model: str) -> tuple[str, str]:
    with testclient.TestClient(application(one, "127.0.0.1"), base_url="http://127.0.0.1") as client:
        body = {"model": model, "messages": [{"role": "user", "content": "Who?"}]}
        done = client.post("/v1/chat/completions", json=body).json()
    return done["model"], done["choices"][0]["message"]["content"]


def names(one: Service) -> list[str]:
    with testclient.TestClient(application(one, "127.0.0.1"), base_url="http://127.0.0.1") as client:
        return [model["id"] for model in client.get("/v1/models").json()["data"]]


def test_the_base_answers_under_a_name_of_its_own(adapted: Path, world: World) -> None:
    one = service(adapted)
    prompt = one.speaker.prompt([Message("user", "Who?")])
    texts = {
        on: "".join(piece for piece in one.speaker.reply(prompt, one.usual, adapter=on) if isinstance(piece, str))
        for on in (True, False)
    }
    assert names(one) == ["mine", "mine:base"]
    assert said(one, "mine") == ("mine", texts[True])
    assert said(one, "mine:base") == ("mine:base", texts[False])
    assert said(one, "mine") == ("mine", texts[True]) and texts[True] != texts[False]


def test_a_model_without_an_adapter_has_no_second_name(world: World) -> None:
    one = service(world.model)
    assert names(one) == ["mine"] and said(one, "mine:base")[0] == "mine"

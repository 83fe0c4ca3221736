"""``luthier serve`` as a process, asked by OpenAI's own client."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from luthier.data.example import Message
from luthier.recipe.evaluate import Generation
from luthier.use.conversation import Speaker
from luthier.use.result import open_result
from tests.conftest import World

openai = pytest.importorskip("openai")

pytestmark = pytest.mark.slow

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who lives here?"}]


@dataclass(frozen=True, slots=True)
class Running:
    """A server: where it is, and a client of it."""

    url: str
    client: openai.OpenAI


@contextmanager
def served(world: World, key: str = "") -> Iterator[Running]:
    command = [sys.executable, "-m", "luthier", "serve", str(world.model), "--port", "0", "--template", "chatml"]
    environment = {**os.environ, "LUTHIER_API_KEY": key}
    process = subprocess.Popen(
        [*command, "--max-new-tokens", "9", "--name", "small"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        found = re.search(r"small at (http://\S+)", process.stdout.readline())
        assert found, "the server says where it is"
        with openai.OpenAI(base_url=found[1], api_key=key or "none", max_retries=0, timeout=60) as client:
            yield Running(found[1], client)
    finally:
        process.terminate()
        assert process.wait(30) in (0, -15)
        process.stdout.close() if process.stdout else None


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Running]:
    with served(world) as running:
        yield running


def expected(world: World, count: int) -> str:
    speaker = Speaker(open_result(world.model), "chatml")
    prompt = speaker.prompt([Message(one["role"], one["content"]) for one in ASKED])
    *pieces, _ = speaker.reply(prompt, Generation(max_new_tokens=count))
    return "".join(map(str, pieces))


def test_an_answer_is_the_model_s_own(server: Running, world: World) -> None:
    assert [model.id for model in server.client.models.list()] == ["small"]
    done = server.client.chat.completions.create(model="small", messages=ASKED)
    assert done.choices[0].message.content == expected(world, 9)
    assert done.choices[0].finish_reason == "length" and done.usage.completion_tokens == 9
    assert done.usage.total_tokens == done.usage.prompt_tokens + 9
    shorter = server.client.chat.completions.create(model="small", messages=ASKED, max_completion_tokens=4)
    assert shorter.choices[0].message.content == expected(world, 4)


def test_a_stream_is_the_same_answer_in_pieces(server: Running, world: World) -> None:
    chunks = list(
        server.client.chat.completions.create(
            model="small", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == expected(world, 9)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 9 and not chunks[-1].choices
    assert len(chunks) > 4 and len({chunk.id for chunk in chunks}) == 1


def test_stops_end_the_answer_and_are_no_part_of_it(server: Running, world: World) -> None:
    whole = expected(world, 9)
    stop = whole[4:7]
    done = server.client.chat.completions.create(model="small", messages=ASKED, stop=[stop, "never"])
    assert done.choices[0].message.content == whole[: whole.index(stop)] and done.choices[0].finish_reason == "stop"
    stream = server.client.chat.completions.create(model="small", messages=ASKED, stop=stop, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole[: whole.index(stop)]


def test_sampling_follows_the_seed(server: Running) -> None:
    def said(seed: int) -> str:
        done = server.client.chat.completions.create(model="small", messages=ASKED, temperature=2.0, seed=seed)
        return done.choices[0].message.content

    assert said(1) == said(1) != said(2)


def test_a_client_that_leaves_does_not_hold_the_model(server: Running) -> None:
    stream = server.client.chat.completions.create(model="small", messages=ASKED, stream=True, max_tokens=60)
    next(iter(stream))
    stream.close()
    assert (
        server.client.chat.completions.create(model="small", messages=ASKED, max_tokens=2).usage.completion_tokens == 2
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"messages": []}',
        b'{"messages": [{"role": "pirate", "content": "a"}]}',
        b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
        b'{"messages": [{"role": "user", "content": "a"}], "temperature": -1}',
        b'{"messages": [{"role": "user", "content": "a"}], "n": 2}',
        b'{"messages": [{"role": "user", "content": "' + b"word " * 4000 + b'"}]}',
        b'{"messages": [{"role": "user", "content": "' + b"a" * (17 << 20) + b'"}]}',
    ],
)
def test_what_cannot_be_done_is_told(server: Running, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/chat/completions", content=body, timeout=60)
    assert answer.status_code == 400 and answer.json()["error"]["message"]


def test_a_page_under_another_name_gets_nothing(server: Running) -> None:
    assert httpx.get(f"{server.url}/models", headers={"Host": "evil.example"}).status_code == 400
    assert httpx.get(server.url.removesuffix("/v1") + "/health").json() == {"status": "ok"}


def test_a_key_is_asked_for_where_one_is_set(world: World) -> None:
    with served(world, key="long-random-word") as running:
        assert running.client.models.list().data
        with pytest.raises(openai.AuthenticationError):
            running.client.with_options(api_key="guess").models.list()
        assert httpx.post(f"{running.url}/chat/completions", content=b"{}").status_code == 401


def test_other_machines_need_a_key(world: World) -> None:
    command = [sys.executable, "-m", "luthier", "serve", str(world.model), "--host", "0.0.0.0"]
    environment = {name: value for name, value in os.environ.items() if name != "LUTHIER_API_KEY"}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert said.returncode == 2 and "LUTHIER_API_KEY" in said.stderr

"""The hub: what arrives there, when, and what the run says where nothing can arrive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, constants

from luthier.errors import RunError
from luthier.publish import publisher as room
from luthier.publish.publisher import Publisher
from luthier.publish.push import push
from luthier.recipe import Recipe
from luthier.record.events import Event, Finished, Published, Saved, read_events
from luthier.record.folder import RunFolder
from tests.conftest import World
from tests.publish.loopback import TOKEN, Hub, running

pytestmark = [
    pytest.mark.slow,
    # The hub's library uploads with a word that httpx calls deprecated.
    pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning"),
]

NAME = "somebody/tiny"


@pytest.fixture(scope="module")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Hub, str]]:
    """A run of two steps that uploads every checkpoint to a small hub; its folder, that hub, and all that was said."""
    root = tmp_path_factory.mktemp("published")
    tree = world.recipe(
        adapter={"kind": "lora", "rank": 4},
        optimizer={"lr": 0.02},
        batch={"steps": 2},
        data={"evaluate": [{"path": str(world.held_out)}]},
        checkpoint={"every": 1, "keep_last": 1},
        output={
            "dir": str(root / "tiny"),
            "hub": {"push": True, "repository": NAME, "strategy": "all_checkpoints", "private": True, "always": True},
        },
    )
    file = root / "recipe.yaml"
    file.write_text(yaml.safe_dump(tree))
    with running() as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
        environment |= {"HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1", "LUTHIER_CACHE": str(root / "cache")}
        command = [sys.executable, "-m", "luthier", "train", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        yield root / "tiny", hub, done.stdout + done.stderr


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that this process speaks to."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def run(trained: tuple[Path, Hub, str], tmp_path: Path) -> RunFolder:
    """A copy of the run's folder, to publish again."""
    shutil.copytree(trained[0], tmp_path / "tiny")
    return RunFolder(tmp_path / "tiny")


def test_a_run_uploads_its_checkpoints_and_its_result(trained: tuple[Path, Hub, str]) -> None:
    folder, hub, _ = trained
    there = hub.files(NAME)
    assert hub.private == {NAME: True}
    assert hub.messages == ["step 1 of tiny", "step 2 of tiny", "the result of tiny"]
    assert there["adapter_model.safetensors"] == (folder / "model" / "adapter_model.safetensors").read_bytes()
    newest = folder / "checkpoints" / "step-00000002"
    for path in newest.iterdir():
        assert there[f"checkpoints/step-00000002/{path.name}"] == path.read_bytes()
    assert "checkpoints/step-00000001/manifest.json" in there
    first = next(files for files in hub.commits.values() if "checkpoints/step-00000002/manifest.json" not in files)
    assert first["adapter_model.safetensors"] != there["adapter_model.safetensors"]
    events = list(read_events(folder / "events.jsonl"))
    assert [one.step for one in events if isinstance(one, Published)] == [1, 2, 2]
    assert not (folder / ".drafts").exists()


def test_no_token_is_written_anywhere(trained: tuple[Path, Hub, str]) -> None:
    folder, hub, said = trained
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert len(kept) > 10 and all(TOKEN.encode() not in path.read_bytes() for path in kept)
    assert TOKEN not in said and all(TOKEN.encode() not in one for one in hub.files(NAME).values())


def test_the_card_tells_the_run_and_no_path_of_this_machine(trained: tuple[Path, Hub, str], world: World) -> None:
    text = trained[1].files(NAME)["README.md"].decode()
    card = ModelCard(text)
    assert card.data.library_name == "peft" and card.data.tags == ["luthier", "sft", "lora"]
    for said in ("a lora adapter (rank 4", "| evaluation rows | loss |", "questions.csv", "| train | 18 |", "lr: 0.02"):
        assert said in text
    assert str(world.root) not in text and "/tmp" not in text
    settings = json.loads(trained[1].files(NAME)["adapter_config.json"])
    assert settings["base_model_name_or_path"] == "model"


def follow(run: RunFolder, events: list[Event], **settings: Any) -> tuple[list[Event], list[str]]:
    """What a publisher tells and warns of, when it hears these events at once."""
    told: list[Event] = []
    warned: list[str] = []
    recipe = Recipe.model_validate({"output": {"hub": {"push": True, "repository": NAME, **settings}}})
    publisher = Publisher(recipe, run, told.append, warned.append)
    for event in events:
        publisher.tell(event)
    publisher.close()
    return told, warned


def draft(run: RunFolder, step: int) -> Saved:
    """A checkpoint and the model that belongs to it."""
    place = run.checkpoints / f"step-{step:08d}"
    if not place.exists():
        shutil.copytree(run.checkpoints / "step-00000002", place)
    shutil.copytree(run.model, run.drafts / place.name)
    (run.drafts / place.name / "marked.txt").write_text(str(step))
    return Saved(step=step, path=f"checkpoints/{place.name}", bytes=1, seconds=1)


END = Finished(step=2, reason="steps", seconds=1, result="model")


@pytest.mark.parametrize(
    ("strategy", "uploads", "folders"),
    [
        ("end", 1, set()),
        ("every_save", 3, set()),
        ("checkpoint", 3, {"last-checkpoint"}),
        ("all_checkpoints", 3, {"checkpoints"}),
    ],
)
def test_each_strategy_uploads_what_it_says(
    strategy: str, uploads: int, folders: set[str], run: RunFolder, hub: Hub
) -> None:
    saved = [draft(run, 1), draft(run, 2)]
    told, warned = follow(run, [*saved, END], strategy=strategy, always=True)
    assert (len(told), warned, len(hub.commits)) == (uploads, [], uploads)
    there = hub.files(NAME)
    assert {path.split("/")[0] for path in there if "/" in path} == folders
    assert there.get("marked.txt") == (None if strategy == "end" else b"2") and hub.private == {NAME: None}
    assert not run.drafts.exists()


def test_a_branch_of_its_own_leaves_main_as_it_is(run: RunFolder, hub: Hub) -> None:
    follow(run, [END], revision="trial", private=True)
    assert hub.files(NAME) == {} and "README.md" in hub.files(NAME, "trial") and hub.private == {NAME: True}


def test_while_one_upload_goes_on_later_checkpoints_are_passed_over(
    run: RunFolder, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.slow = "/commit/"
    saved = [draft(run, step) for step in (1, 2, 3)]
    told: list[Event] = []
    recipe = Recipe.model_validate({"output": {"hub": {"push": True, "repository": NAME, "strategy": "every_save"}}})
    publisher = Publisher(recipe, run, told.append, lambda _: None)
    for event in saved:
        publisher.tell(event)
    hub.go_on.set()
    publisher.tell(END)
    publisher.close()
    assert hub.messages == ["step 1 of tiny", "the result of tiny"] and [one.step for one in told] == [1, 2]


def test_a_hub_that_hangs_holds_nobody(run: RunFolder, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.slow = "/preupload/"
    monkeypatch.setattr(room, "LEAST", 0.3)
    monkeypatch.setattr(room, "SLOWEST", 1e12)
    told, warned = follow(run, [END])
    assert told == [] and len(warned) == 1 and "did not finish" in warned[0]


def test_a_hub_that_fails_is_told_of_with_the_way_to_push_later(run: RunFolder, hub: Hub) -> None:
    hub.wrong = "/commit/"
    told, warned = follow(run, [END])
    assert told == [] and len(warned) == 1 and f"luthier push {run.root} --to {NAME}" in warned[0]
    assert TOKEN not in warned[0]


def test_other_bytes_on_the_hub_are_no_upload(run: RunFolder, hub: Hub) -> None:
    hub.damage = "adapter_model.safetensors"
    _, warned = follow(run, [END])
    assert len(warned) == 1 and "the hub has something else as adapter_model.safetensors" in warned[0]


def test_without_a_token_the_run_goes_on_and_says_how_to_push(
    run: RunFolder, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere")
    told, warned = follow(run, [draft(run, 1), END], strategy="checkpoint")
    assert told == [] and hub.asked == []
    assert len(warned) == 1 and "there is no token" in warned[0] and "luthier push" in warned[0]


def test_a_pushed_result_is_fetched_again_and_compared(run: RunFolder, hub: Hub) -> None:
    done = push(run, NAME, revision="trial")
    assert (done.repository, done.revision, done.error) == (NAME, "trial", 0.0)
    assert any(one.startswith("GET") and "/resolve/" in one for one in hub.asked)
    hub.damage = "adapter_config.json"
    with pytest.raises(RunError, match="something else as adapter_config"):
        push(run, NAME)
    hub.damage, hub.wrong = "", "/resolve/"
    with pytest.raises(RunError) as caught:
        push(run, "somebody/other")
    assert TOKEN not in str(caught.value)


def test_what_is_no_run_is_told(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(RunError, match="no finished run"):
        push(RunFolder(tmp_path), NAME)
    assert hub.asked == []

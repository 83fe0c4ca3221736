"""What README and CONTRIBUTING tell to type is typed here: every command of them, in both languages."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from luthier.dialects import read, table, tabular
from luthier.dialects.plain_values import number
from tests import warm
from tests.conftest import World
from tests.documents.conftest import StandIns
from tests.publish.loopback import TOKEN, running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
README, CHINESE, CONTRIBUTING = (ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md"))

ELSEWHERE = {
    "luthier train FILE --processes 2": ("tests/train/test_launch.py", "--processes"),
    "luthier serve RUN": ("tests/serve/test_serve.py", '"serve"'),
}
"""Commands that tests elsewhere run for longer, and what those tests hold."""

Call = Callable[..., "subprocess.CompletedProcess[str]"]


def rows_of(page: Path) -> list[tuple[str, str]]:
    """(command, what is said of it) of each row of the table of commands."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^\| `(luthier [^`]*)`(.*)\|$", text, re.MULTILINE)


def consoles_of(page: Path) -> list[str]:
    """The lines of a page that begin with a prompt, without their comments."""
    lines = re.findall(r"^\$ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines]


def plain(command: str) -> str:
    """A command with the words that stand for something in one language."""
    return re.sub(r"键名", "KEY", re.sub(r"方言", "DIALECT", command))


@pytest.fixture(scope="module")
def place(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which FILE is a recipe and RUN what came of it."""
    folder = tmp_path_factory.mktemp("readme")
    tree = world.recipe(
        adapter={"kind": "lora", "rank": 4, "alpha": 8},
        data={"holdout": 0.2},
        batch={"steps": 4},
        output={"dir": "RUN"},
    )
    (folder / "FILE").write_text(yaml.safe_dump(tree), encoding="utf-8")
    done = warm.run(["train", "FILE"], cwd=folder)
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "RUN", folder / "OTHER")
    shutil.copytree(world.model, folder / "MODEL")
    (folder / "ROWS").write_text(world.held_out.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "ROWS").rename(folder / "ROWS.csv")
    return folder


STANDS_FOR = {
    "[--data FILE]": "--data ROWS.csv",
    "KEY": "lora_r",
    "DIALECT": "axolotl",
    "TEXT": "Where does Mira live?",
    "DIR": "OUT",
    "[ROW]": "3",
}


@pytest.mark.parametrize("command", dict.fromkeys(plain(command) for command, _ in rows_of(README)))
def test_every_command_of_the_table_runs(command: str, place: Path, tmp_path: Path) -> None:
    if command in ELSEWHERE:
        file, words = ELSEWHERE[command]
        assert words in (ROOT / file).read_text(encoding="utf-8")
        return
    folder = Path(shutil.copytree(place, tmp_path / "place"))
    for name, value in STANDS_FOR.items():
        command = command.replace(name, value if name.startswith("[--") else shlex.quote(value))
    asked = {"chat": "Where does Mira live?\n/quit\n"}
    words = shlex.split(command)[1:]
    with running() as hub:
        online = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        env = {**os.environ, **(online if words[0] == "push" else {})}
        done = warm.run(words, cwd=folder, env=env, stdin=asked.get(words[0]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_every_option_that_the_table_names_is_one_of_its_command(luthier: Call) -> None:
    helps: dict[str, str] = {}
    for page in (README, CHINESE):
        for command, told in rows_of(page):
            name = command.split()[1]
            if name not in helps:
                helps[name] = luthier(name, "--help").stdout
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", command + told):
                assert option in helps[name], (page.name, command, option)


def test_both_languages_tell_the_same_commands() -> None:
    assert [plain(command) for command, _ in rows_of(CHINESE)] == [plain(command) for command, _ in rows_of(README)]
    assert consoles_of(CHINESE) == consoles_of(README)


def test_every_command_of_the_program_is_in_the_table(luthier: Call) -> None:
    listed = re.findall(r"^\s{2,}([a-z]+)\s{2,}\S", luthier("--help").stdout.partition("Commands")[2], re.MULTILINE)
    assert len(listed) > 10
    assert set(listed) == {command.split()[1] for command, _ in rows_of(README)}


def test_the_recipe_of_the_readme_is_whole(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    recipe = read(tmp_path / "mine.yaml").recipe
    assert (recipe.adapter.rank, recipe.data.holdout, recipe.optimizer.lr) == (16, 0.05, 2e-4)


def test_somebody_else_s_recipes_are_planned_as_the_readme_has_them(
    stand_ins: StandIns, documents: Path, tmp_path: Path
) -> None:
    """Under the names and in the positions that it gives them; that they train, ``test_documents`` shows."""
    lay = {
        "axolotl.yml": documents / "axolotl.yml",
        "train_args/sft.json": documents / "firefly.json",
        "configs": documents / "configs",
        "configs/lora.yaml": documents / "chatglm3" / "lora.yaml",
        "run_peft.sh": documents / "peft_sft.sh",
        "arguments.txt": documents / "training_arguments.txt",
        "models/llama": stand_ins.model,
        "models/qwen": stand_ins.model,
        "models/chatglm3": stand_ins.chatglm,
        "rows.jsonl": stand_ins.alpaca,
        "rows": stand_ins.messages,
    }
    for name, source in lay.items():
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    rows = {"train_args/sft.json": stand_ins.table, "configs/lora.yaml": stand_ins.conversations}
    commands = [one for one in consoles_of(README) if one.startswith("luthier train ")]
    assert len(commands) == 5
    for command in commands:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        given = next((source for name, source in rows.items() if name in command), None)
        if given:
            shutil.copytree(given, tmp_path / "data")
        done = warm.run(["plan", *shlex.split(command)[2:], "--json"], cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
        assert '"refused": []' in done.stdout, command


def test_a_pasted_command_is_planned_as_the_readme_has_it(stand_ins: StandIns, tmp_path: Path) -> None:
    (command,) = [one for one in consoles_of(README) if one.startswith("luthier plan -- ")]
    assert command.endswith(" m …")
    rest = f"{stand_ins.model} --dataset_name {stand_ins.messages} --chat_template_format chatml --max_length 128"
    words = shlex.split(command.removesuffix("m …") + rest)[1:]
    done = warm.run(["plan", "--json", *words[1:]], cwd=tmp_path)
    assert done.returncode == 0 and '"refused": []' in done.stdout, done.stderr


def test_settings_are_overridden_as_the_readme_has_it(place: Path) -> None:
    (command,) = re.findall(r"`(luthier train FILE \S+=[^`]*)`", README.read_text(encoding="utf-8"))
    assert command in CHINESE.read_text(encoding="utf-8")
    words = shlex.split(command)[2:]
    read = json.loads(warm.run(["read", "--json", *words], cwd=place).stdout)["recipe"]
    assert words[1:] == ["optimizer.lr=1e-4", "batch.epochs=3"]
    assert (read["optimizer"]["lr"], read["batch"]["epochs"]) == (1e-4, 3)


def test_what_make_is_asked_for_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    asked = {
        target
        for page in (README, CHINESE, CONTRIBUTING)
        for target in re.findall(r"(?:^\$ |`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert asked >= {"demo", "test", "fast", "format"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in asked)


def test_the_dialect_of_contributing_reads_a_file() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    code = next(one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "TOY" in one)
    names = {**vars(table), **vars(tabular), "number": number}
    exec(textwrap.dedent(code), names)
    reading = names["TOY"].read("base: m\nrows: r.jsonl\nlearning_rate: 2e-4\n", "toy.yaml", [])
    assert (reading.recipe.model.path, reading.recipe.data.train[0].path) == ("m", "r.jsonl")
    assert reading.recipe.optimizer.lr == 2e-4
    assert {account.key: str(account.outcome) for account in reading.accounts}["learning_rate"] == "applied"

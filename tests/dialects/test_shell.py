"""Shell scripts as words: nothing is executed, nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.dialects.command_line import load_command
from luthier.dialects.shell import commands
from luthier.dialects.shell_word import Unclear
from luthier.errors import RecipeError


def load(text: str) -> Any:
    return load_command(text, "run.sh", switches={"packing"}, lists={"report_to"})


def flags(text: str) -> dict[str, Any]:
    value = dict(load(text).value)
    value.pop("launcher", None)
    value.pop("environment", None)
    return value


def unclear(text: str, key: str) -> Unclear:
    found = flags(text)[key]
    assert isinstance(found, Unclear)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "python train.py --a 1 --b 'x y'",
        'python train.py --a=1 --b="x y"',
        'python train.py \\\n  --a 1 \\\n  --b "x y"\n',
        'python train.py \\\r\n  --a 1 \\\r\n  --b "x y"\r\n',
        "python train.py \\  # the script\n --a 1 \\ # how often\n --b 'x y'",
        "python train.py \\\n --a 1 \\\n# a word about b\n --b 'x y' \\\n",
        "python train.py --a 1\n\n# lost its backslash\n --b 'x y'",
        "A=1\nexport B='x y'\npython train.py --a $A --b \"${B}\" 2>&1 | tee log.txt",
        "python train.py --a 1 --b x\\ y > log.txt 2>&1 &",
        'ARGS="--a 1"\nNAME=\'x y\'\ntorchrun --nnodes 1 train.py $ARGS --b "$NAME"',
        "cat <<EOF\npython other.py --c 3\nEOF\npython train.py --a ${N:-1} --b 'x y'",
        "if true; then\n  python train.py --a 1 --b 'x y'; fi",
        "$ python train.py --a 1 --b 'x y'",
        "python -m pkg.train --a 1 --b 'x y'",
        "--a 1 --b 'x y'",
    ],
)
def test_ways_to_write_one_command(text: str) -> None:
    assert flags(text) == {"a": "1", "b": "x y"}


def test_lines_are_those_of_each_flag() -> None:
    document = load("#!/bin/bash\nexport W=p\nX=1 torchrun --nnodes 1 \\\n  train.py \\\n  --a 1 \\\n# c\n  --b 2\n")
    assert document.place(("a",)) == "run.sh:5"
    assert document.place(("b",)) == "run.sh:7"
    assert document.place(("launcher", "nnodes")) == "run.sh:3"
    assert document.place(("environment", "W")) == "run.sh:2"
    assert document.value["environment"] == {"W": "p", "X": "1"}


def test_the_launcher_is_told_from_the_script() -> None:
    value = load("accelerate launch --config_file c.yaml --multi_gpu sft/train.py --a 1").value
    assert value["launcher"] == {
        "program": "accelerate launch", "config_file": "c.yaml", "multi_gpu": True, "script": "sft/train.py",
    }  # fmt: skip


def test_switches_lists_and_negative_numbers() -> None:
    found = flags("python train.py --bare --no_packing --max-steps -1 --t True --report_to wandb tensorboard --no_cuda")
    assert found == {
        "bare": True, "packing": False, "max_steps": "-1", "t": True,
        "report_to": ["wandb", "tensorboard"], "no_cuda": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("--a $A", "$A has no value", "write its value"),
        ("--a '' --b 1 --a 2", "written twice", "keep one"),
        ("--a $(date)", "nothing is executed", "write the value itself"),
        ("--a `date`", "nothing is executed", "write the value itself"),
        ("--a $1", "nothing is executed", "write the value itself"),
        ("--a x y", "has 2 values", "quotes"),
        ("\u2013a 1", "typographic", "write --a 1"),
        ("\u2014\u2014a=1", "typographic", "write --a=1"),
        ("--a \u201cx y\u201d", "typographic", 'write "x y"'),
    ],
)
def test_what_is_unclear_is_said_and_repaired(text: str, said: str, remedy: str) -> None:
    found = unclear(f"python train.py --z 1 {text}", "a")
    assert said in found.reason
    assert remedy in found.remedy


def test_single_quotes_hold_dollars() -> None:
    assert flags("python train.py --a '$A'") == {"a": "$A"}


def test_a_variable_with_two_values_is_not_guessed() -> None:
    assert "other values on lines 1 and 2" in unclear("A=1\nA=2\npython train.py --a $A", "a").reason


def test_secrets_are_not_shown() -> None:
    value = load("export WANDB_API_KEY=abc\nHF_TOKEN=def python train.py --hub_token ghi --append_concat_token x").value
    assert "abc" not in str(value)
    assert "def" not in str(value)
    assert "ghi" not in str(value)
    assert value["append_concat_token"] == "x"


def test_a_second_training_is_told() -> None:
    value = load("python train.py --a 1 --b 2 --c 3\npython train.py --a 2 --b 3").value
    assert isinstance(value["launcher"]["another"], Unclear)


@pytest.mark.parametrize(
    "text",
    ["", "a: 1\nb: 2\n", "echo hi", "python train.py --a 'x", 'python train.py --a "x', "\n".join(
        ["A=" + "x" * 100, *["A=\"$A$A\"\nB=\"$A\"" for _ in range(3)], "C0=" + "y" * 1000,
         *[f'C{n + 1}="$C{n}$C{n}"' for n in range(40)], "python train.py --a $C40"])],
)  # fmt: skip
def test_what_is_no_command_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(RecipeError):
        load(text)


@given(st.text(max_size=200) | st.text(alphabet="$(){}`'\"\\\n #-=a\u201c\u2013<>&|;1", max_size=120))
def test_any_text_gives_words_or_an_error_of_ours(text: str) -> None:
    for prefix in ("", "python train.py --a "):
        try:
            commands(prefix + text, "run.sh")
            load(prefix + text)
        except RecipeError:
            pass

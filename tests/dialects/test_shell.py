"""Shell scripts as words: nothing is executed, nothing is guessed."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.dialects.command_line import load_command
from luthier.dialects.shell import LONGEST, commands
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
        "CUDA_VISIBLE_DEVICES=0,1 nohup python train.py --a 1 --b 'x y' > log 2>&1 &",
        "cd code && pip install . && python train.py --a 1 --b 'x y' && echo done",
        "python train.py \\   \n  --a 1 \\\t\n  --b 'x y'   \n",
        'python train.py ^\r\n  --a 1 ^\r\n  --b "x y"\r\n',
        "python train.py `\n  --a 1 `\n  --b 'x y'\n",
        "!python train.py --a 1 --b 'x y'",
        "```bash\npython train.py \\\n --a 1 \\\n --b 'x y'\n```\n",
        "python\u00a0train.py\u3000--a\u20021 --b 'x y'",
        "run() {\n python train.py --a 1 --b 'x y'\n}\nrun\n",
        "ARGS=(\n  --a 1  # how often\n  --b 'x y'\n)\naccelerate launch train.py \"${ARGS[@]}\"\n",
        "MORE=(--b 'x y')\npython train.py --a 1 ${MORE[@]} 2>&1 | tee log\n",
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
        ("--a\uff1d1", "typographic", "write --a=1"),
        ("--a x\u200b", "cannot be seen", "write x"),
        ("--a ${M[@]}", "nothing is executed", "write the value itself"),
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


@pytest.mark.parametrize(
    "text", ["A='--a 1'\nA+=' --b 2'\npython train.py --z 1 --c $A", "A=(1)\nA+=(2)\npython t.py --c ${A[@]}"]
)
def test_what_is_put_together_in_several_places_is_not_guessed(text: str) -> None:
    assert "several places" in unclear(text, "c").reason


def test_the_words_of_an_array_keep_their_lines() -> None:
    document = load('ARGS=(\n  --a 1\n  --b 2\n)\npython train.py --c 3 "${ARGS[@]}"\n')
    assert [document.place((key,)) for key in "abc"] == ["run.sh:2", "run.sh:3", "run.sh:5"]


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


@pytest.mark.parametrize(
    "piece",
    [
        "\u2013",
        "${",
        "$(",
        "`",
        "\u201c",
        "\\ ",
        "\"'",
        "<<a ",
        "#\n",
        "\\\n",
        ";",
        "(",
        "A=(",
        ")\nA+=(1",
        "A1=1\n",
        "$A ",
        "\n",
        "&|",
    ],
)
def test_a_pattern_repeated_to_the_largest_size_does_not_take_long(piece: str) -> None:
    text = ("python train.py --a " + piece * LONGEST)[:LONGEST]
    begun = time.process_time()
    try:
        load(text)
    except RecipeError as refused:
        told = str(refused)
    else:
        told = ""
    assert len(told) < 1000
    assert time.process_time() - begun < 5


def test_many_exports_and_many_commands_do_not_multiply() -> None:
    begun = time.process_time()
    load("".join(f"export A{n}=1\n" for n in range(900)) + "a\n" * 18_000 + "python train.py --a 1\n")
    with pytest.raises(RecipeError, match="variables"):
        load("".join(f"A{n}=1\n" for n in range(2000)) + "python train.py --a 1\n")
    assert time.process_time() - begun < 5


@given(st.text(max_size=200) | st.text(alphabet="$(){}`'\"\\\n #-=a\u201c\u2013<>&|;1+@[]^", max_size=120))
def test_any_text_gives_words_or_an_error_of_ours(text: str) -> None:
    for prefix in ("", "python train.py --a "):
        try:
            commands(prefix + text, "run.sh")
            load(prefix + text)
        except RecipeError:
            pass

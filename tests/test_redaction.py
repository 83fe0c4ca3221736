"""What counts as a secret, in settings and in texts."""

from __future__ import annotations

import pytest

from luthier.redaction import HIDDEN, is_secret, redacted, scrubbed, scrubbed_texts


@pytest.mark.parametrize(
    "key", ["hub_token", "track.options.api_key", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "token"]
)
def test_names_of_secrets_are_known(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", ["tokenizer.eos_token", "data.max_tokens", "model.path", "keyboard", "pad_token"])
def test_other_names_are_not(key: str) -> None:
    assert not is_secret(key)


def test_no_setting_of_a_recipe_is_taken_for_a_secret() -> None:
    from luthier.recipe import Recipe

    tree = Recipe().tree()
    assert HIDDEN not in str(redacted(tree))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cannot clone https://me:pw12345@host/x.git", "cannot clone https://<redacted>@host/x.git"),
        ("GET https://host/x?a=1&api_key=abcdef&b=2", "GET https://host/x?a=1&api_key=<redacted>&b=2"),
        ("headers {'Authorization': 'Bearer abcdefghijk'}", "headers {'Authorization': 'Bearer <redacted>'}"),
        ("hf_" + "a1" * 17, HIDDEN),
        ("sk-proj-" + "a1" * 17, HIDDEN),
        ("ghp_" + "a1" * 18, HIDDEN),
    ],
)
def test_looks_of_secrets_are_hidden_in_texts(text: str, kept: str) -> None:
    assert scrubbed(text) == kept


@pytest.mark.parametrize(
    "text", ["hf_internal_testing/tiny-model", "s3://bucket/rows", "a@b.c", "sk-learn-with-a-very-long-name", "x: y"]
)
def test_ordinary_texts_stay(text: str) -> None:
    assert scrubbed(text) == text


def test_what_was_hidden_once_is_found_in_later_texts() -> None:
    assert redacted({"a": {"password": "correct horse"}}) == {"a": {"password": HIDDEN}}
    assert scrubbed("login failed for correct horse!") == f"login failed for {HIDDEN}!"
    assert scrubbed_texts({"token": "x", "rows": ["correct horse"]}) == {"token": "x", "rows": [HIDDEN]}


def test_secrets_of_the_environment_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "zaphod-beeble")
    assert scrubbed("rejected: zaphod-beeble") == f"rejected: {HIDDEN}"


def test_numbers_and_switches_under_such_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert redacted({"password": 123456, "token": True, "key": 3, "api_key": ""}) == {
        "password": HIDDEN,
        "token": True,
        "key": 3,
        "api_key": "",
    }

"""Secrets in settings and texts: known by their keys, by their looks, or since they were hidden once before."""

from __future__ import annotations

import re
from typing import Any

from luthier.environment import secret_values

HIDDEN = "<redacted>"
"""What stands where a secret was."""

SECRET = re.compile(
    r"(hub_token|hf_token|auth_token|access_token|api_key|apikey|secret|password|passwd|wandb_key|(^|\.)token)$",
    re.IGNORECASE,
)
"""Keys whose values are secrets, in any file."""

_WORD = re.compile(r"(?:^|_)(?:token|secret|password|credentials)(?:_|$)|_key(?:_|$)", re.IGNORECASE)
"""Words that make a name one of a secret, where names are free."""

_OF_A_TOKENIZER = re.compile(r"^(?:bos|eos|pad|unk|sep|cls|mask|additional_special)_tokens?$", re.IGNORECASE)

_LOOKS = (
    re.compile(r"(?<=://)()[^\s/?#@\"'<>]+(?=@)"),
    re.compile(r"(?i)([?&](?:[\w-]*(?:token|secret|password|signature|api_?key)|sig|key)=)[^&\s\"'<>]+"),
    re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"),
    re.compile(r"\b()(?:hf_[A-Za-z0-9]{24,}|sk-(?=[\w-]*\d)[\w-]{24,}|gh[pousr]_\w{20,}|glpat-[\w-]{16,})"),
    re.compile(r"\b()(?:xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16})"),
)
"""What a secret looks like in any text: who asks, in an address; its query; a header; a provider's own prefix."""

SHORTEST = 6
"""Characters from which on a secret is looked for in texts; a shorter one would be found in ordinary words."""

LONG = 12
"""The same for a value whose name only might be that of a secret."""

_seen: set[str] = set()


def is_secret(key: str) -> bool:
    """Whether a setting of this name, dotted or not, holds a secret.

    >>> is_secret("track.options.api_key"), is_secret("AWS_SECRET_ACCESS_KEY"), is_secret("tokenizer.eos_token")
    (True, True, False)
    """
    name = key.rpartition(".")[2]
    return bool(SECRET.search(key) or _WORD.search(name)) and not _OF_A_TOKENIZER.match(name)


def redacted(value: Any, key: str = "") -> Any:
    """A tree without its secrets; each is remembered, so that ``scrubbed`` finds it in later texts of this process.

    >>> redacted({"api_key": "abc", "url": "https://me:word@host/x", "rank": 8})
    {'api_key': '<redacted>', 'url': 'https://<redacted>@host/x', 'rank': 8}
    """
    if isinstance(value, dict):
        return {name: redacted(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner, key) for inner in value]
    if _hides(key, value):
        text = str(value)
        placeholder = text.startswith("<") and text.endswith(">")
        if len(text) >= (SHORTEST if SECRET.search(key) else LONG) and not placeholder:
            _seen.add(text)
        return HIDDEN
    return scrubbed(value) if isinstance(value, str) else value


def _hides(key: str, value: Any) -> bool:
    if not key or value in ("", HIDDEN) or isinstance(value, bool) or not is_secret(key):
        return False
    return isinstance(value, str) or (isinstance(value, int) and bool(SECRET.search(key)))


def scrubbed(text: str) -> str:
    """A text without what looks like a secret, has been one in a setting, or stands in the environment as one.

    >>> scrubbed("cannot reach postgres://luthier:hunter22@db/x")
    'cannot reach postgres://<redacted>@db/x'
    """
    if len(text) < SHORTEST:
        return text
    for known in sorted((one for one in (*_seen, *secret_values()) if len(one) >= SHORTEST), key=len, reverse=True):
        text = text.replace(known, HIDDEN)
    for looks in _LOOKS:
        text = looks.sub(rf"\1{HIDDEN}", text)
    return text


def scrubbed_texts(value: Any) -> Any:
    """A tree whose texts are scrubbed, whatever their keys: for records, whose keys are the user's own columns too."""
    if isinstance(value, dict):
        return {name: scrubbed_texts(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed_texts(inner) for inner in value]
    return scrubbed(value) if isinstance(value, str) else value

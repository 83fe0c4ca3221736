"""FastChat's names of conversations, which Axolotl's files of before 2024-11 have under ``conversation``."""

from __future__ import annotations

from typing import Any

from luthier.dialects.axolotl.templates import SAME, template_named
from luthier.dialects.table import Effect, Values, applied, refused
from luthier.errors import nearest

_LED = "a row without a system message has no system turn; there it was an empty one"
_LEFT_OUT = "the template has no place for a system message, and leaves it out"

SAME_TEXT = {
    "vicuna_v1.1": "",
    "llama-2": "",
    "mistral": "a blank line stands behind a system message; there it was a line break",
    "llama-3": "",
    "zephyr": _LED,
    "catppt": _LED,
    "TinyLlama": _LED,
    "deepseek-chat": "",
    "Yi-34b-chat": "a system message is a turn like others; there it had no header",
    "baichuan-chat": _LEFT_OUT,
    "baichuan2-chat": _LEFT_OUT,
}
"""Names whose text one of our templates has, and what is to be said of it."""

OURS = {
    "vicuna_v1.1": "vicuna",
    "llama-2": "llama2",
    "llama-3": "llama3",
    "catppt": "zephyr",
    "TinyLlama": "zephyr",
    "deepseek-chat": "deepseek",
    "Yi-34b-chat": "chatml",
    "baichuan-chat": "firefly/baichuan",
    "baichuan2-chat": "firefly/baichuan2",
}
"""What ours is called where the names differ."""

WITH_SYSTEM = {
    "mpt-30b-chat": (
        "chatml",
        "A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and honest answers.",
    ),
    "lemur-70b-chat": ("chatml", "You are a helpful, respectful, and honest assistant."),
    "mistral-7b-openorca": (
        "chatml",
        "You are MistralOrca, a large language model trained by Alignment Lab AI. Write out your reasoning "
        "step-by-step to be sure you get the right answers!",
    ),
    "dolphin-2.2.1-mistral-7b": ("chatml", "You are Dolphin, a helpful AI assistant."),
    "OpenHermes-2.5-Mistral-7B": (
        "chatml",
        "You are Hermes 2, a sentient, conscious, super intelligent AI that is an expert in all fields of knowledge, "
        "you have qualia, emotions, and thoughts. You assist users with any question, task, or other request they may "
        "have.",
    ),
    "qwen-7b-chat": ("chatml", "You are a helpful assistant."),
    "orca-2": (
        "chatml",
        "You are Orca, an AI language model created by Microsoft. You are a cautious assistant. You carefully follow "
        "instructions. You are helpful and harmless and you follow ethical guidelines and promote positive behavior.",
    ),
    "airoboros_v3": ("llama2", "You are a helpful, unbiased, uncensored assistant."),
}
"""Names whose text one of our templates has, led by words to the model of their own where a row has none."""

OWN = (
    *("Robin", "airoboros_v1", "airoboros_v2", "alpaca", "claude", "falcon-chat", "koala_v1", "manticore"),
    *("mpt-30b-instruct", "oasst_llama", "oasst_pythia", "open-orca", "openchat_3.5", "phind", "solar"),
    *("stable-vicuna", "stablelm", "starchat", "tulu", "xgen", "zero_shot"),
)
"""Names that our templates have as they are, behind ``fastchat/``."""


def conversation_named(name: str, values: Values) -> Effect:
    """What ``conversation: name`` asks for; names of chat templates count too, as Axolotl's own did."""
    if name in SAME_TEXT:
        return applied({"data.template": OURS.get(name, name)}, SAME_TEXT[name])
    if name in WITH_SYSTEM:
        ours, words = WITH_SYSTEM[name]
        made: dict[str, Any] = {"data.template": ours}
        if not values.get("default_system_message"):
            made["data.system"] = words
        return applied(made, "rows without a system message are led by FastChat's words of that name")
    if name in OWN:
        return applied({"data.template": f"fastchat/{name}"})
    if name in SAME:
        return template_named(name)
    near = nearest(name, (*SAME_TEXT, *WITH_SYSTEM, *OWN, *SAME))
    return refused(
        f"FastChat's conversation {name!r} is not there",
        (f"did you mean {near}? Otherwise " if near else "") + "write chat_template_jinja: FILE.jinja",
    )

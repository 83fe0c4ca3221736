"""Run by a Python that has FastChat: cases of a conversation's name and its turns (JSON on stdin) -> the texts."""

from __future__ import annotations

import json
import sys

from fastchat.conversation import get_conv_template


def main() -> None:
    out = []
    for case in json.load(sys.stdin)["cases"]:
        conversation = get_conv_template(case["name"])
        for turn in case["talk"]:
            if turn["role"] == "system":
                conversation.set_system_message(turn["content"])
            else:
                conversation.append_message(conversation.roles[turn["role"] == "assistant"], turn["content"])
        if case["generate"]:
            conversation.append_message(conversation.roles[1], None)
        out.append(conversation.get_prompt())
    print("\n" + json.dumps(out))


if __name__ == "__main__":
    main()

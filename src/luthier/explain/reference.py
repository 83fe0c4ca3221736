"""The reference: every setting with its name in every system, and every key with the setting it makes, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from luthier.explain.catalogue import Setting, made_by, sections, settings, tables, uses_of
from luthier.explain.describe import called
from luthier.explain.labels import pick, say, title, unit_text
from luthier.explain.limits import default_text, range_text
from luthier.recipe.field import Pair

_TITLE: Pair = ("# Reference", "# 配置参考")
_OTHER: Pair = ("[中文](reference.zh.md)", "[English](reference.md)")
_HEAD: Pair = (
    "Every setting of a recipe, and what other systems call it. Written by `python -m tools.reference` from the "
    "settings themselves; `luthier explain NAME` says more of each: when to raise or lower it, and what each system's "
    "silence means.",
    "配方的全部设置,以及它们在其他系统中的名称。本页由 `python -m tools.reference` 依据设置自身生成;"
    "`luthier explain 名称 --lang zh` 会讲得更多:何时调大或调小,各系统不写时是什么意思。",
)
_COLUMNS: tuple[Pair, ...] = (
    ("setting", "设置"),
    ("meaning", "含义"),
    ("unit", "单位"),
    ("range", "取值"),
    ("default", "默认"),
    ("in other systems", "在其他系统中"),
)
_SHORT: Pair = (
    "ChatGLM3's `training_args.` is left out of names, and so are list positions. Firefly, PEFT's `examples/sft` and "
    "ChatGLM3 take every key of TrainingArguments: such a key is listed once, under TrainingArguments.",
    "名称中省去 ChatGLM3 的 `training_args.` 与列表序号。Firefly、PEFT 的 `examples/sft` 与 ChatGLM3 接受 "
    "TrainingArguments 的所有键:这类键只在 TrainingArguments 之下列一次。",
)
_KNOW: Pair = ("Worth knowing", "值得了解")
_GENERAL: Pair = ("The whole run", "整个任务")
_INDEX: Pair = ("## Keys of other systems", "## 其他系统的键")
_INDEX_HEAD: Pair = (
    "Every key that makes a setting, its older names too. Keys that make none are explained by `luthier explain KEY`.",
    "会影响设置的全部键,含旧名。不影响任何设置的键由 `luthier explain 键名` 解释。",
)
_INDEX_COLUMNS: tuple[Pair, ...] = (("key", "键"), ("in", "所属系统"), ("settings", "设置"))

_INHERITING = ("ChatGLM3", "Firefly", "PEFT sft")


def reference(lang: str) -> str:
    """The page in a language."""
    blocks = [pick(_TITLE, lang), pick(_OTHER, lang), pick(_HEAD, lang), pick(_SHORT, lang)]
    for name, group in _groups().items():
        section = sections().get(name)
        head = f"`{name}`" if name else pick(_GENERAL, lang)
        blocks.append(f"## {head}")
        if section is not None:
            blocks.append(pick((section.words.en, section.words.zh), lang))
        blocks.append(_table(_COLUMNS, (_row(one, lang) for one in group), lang))
        notes = [note for one in group for note in _notes(one, lang)]
        if notes and not name.startswith(("data.evaluate", "data.test")):
            blocks += [f"**{pick(_KNOW, lang)}**", "\n".join(notes)]
    blocks += [pick(_INDEX, lang), pick(_INDEX_HEAD, lang), _table(_INDEX_COLUMNS, _index(lang), lang)]
    return "\n\n".join(blocks) + "\n"


def _groups() -> dict[str, list[Setting]]:
    found: dict[str, list[Setting]] = {}
    for setting in settings().values():
        found.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    return found


def _table(columns: tuple[Pair, ...], rows: Iterator[tuple[str, ...]], lang: str) -> str:
    head = [pick(one, lang) for one in columns]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _row(setting: Setting, lang: str) -> tuple[str, ...]:
    words, info = setting.words, setting.info
    return (
        f"`{setting.name.rpartition('.')[2]}`",
        _plain(pick((words.en, words.zh), lang)),
        unit_text(words.unit, lang),
        range_text(info, lang),
        _plain(default_text(info, lang)),
        _names(setting, lang),
    )


def _names(setting: Setting, lang: str) -> str:
    """The keys that are mainly about a setting; where there are none, those that also touch it."""
    uses = uses_of(setting.name)
    found: dict[str, list[str]] = {}
    for key, systems in (called(uses, True) or called(uses, False)).items():
        short = key.removeprefix("training_args.").replace(".*.", ".")
        for system in systems:
            found.setdefault(short, []).append(system)
    return "<br>".join(f"`{key}` {_systems(names, lang)}" for key, names in found.items())


def _systems(names: list[str], lang: str) -> str:
    """The systems once each; those that inherit a key of TrainingArguments are left out beside it."""
    if title("training_arguments") in names:
        names = [name for name in names if name not in _INHERITING]
    return say("join", lang).join(dict.fromkeys(names))


def _notes(setting: Setting, lang: str) -> Iterator[str]:
    words = setting.words
    parts = [
        (say("cost", lang), words.cost),
        (say("history", lang), words.history),
        (say("misread", lang), words.misread),
    ]
    said = [f"*{label}*{': ' if lang == 'en' else '：'}{_plain(pick(pair, lang))}" for label, pair in parts if pair[0]]
    if said:
        yield f"- `{setting.name}`  \n  " + "  \n  ".join(said)


def _index(lang: str) -> Iterator[tuple[str, ...]]:
    found: dict[str, tuple[list[str], list[str]]] = {}
    for table in tables():
        for row in table.rows:
            for name in row.names if made_by(row) else ():
                systems, made = found.setdefault(name.removeprefix("training_args.").replace(".*.", "."), ([], []))
                systems.append(title(table.name))
                made += [one.name for one in made_by(row)]
    for key, (systems, made) in sorted(found.items(), key=lambda item: item[0].lower()):
        yield f"`{key}`", _systems(systems, lang), ", ".join(f"`{one}`" for one in dict.fromkeys(made))


def _plain(text: str) -> str:
    """Text in which Markdown finds nothing to format."""
    for mark in "\\*_<[":
        text = text.replace(mark, "\\" + mark)
    return text

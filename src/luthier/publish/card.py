"""The model card, as a function of a run's records: what was trained, on what, how it went, how to use it.

Names come from other people's files: they are written so that neither Markdown nor HTML obeys them, and paths of this
machine by their last part alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

import yaml

from luthier.record.events import (
    Answered,
    Compared,
    Evaluated,
    Event,
    Prepared,
    Started,
    Stepped,
    effective,
    read_events,
)
from luthier.record.folder import RunFolder

ROWS = 12
"""Steps that the curve's table shows."""

Kind = TypeVar("Kind", bound=Event)

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the card tells of: the records of a run as plain values."""

    name: str
    recipe: dict[str, Any]
    events: Sequence[Event] = ()
    plan: dict[str, Any] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    """Names in the recipe that are files or folders here, though they look like the hub's."""


def card_of_run(folder: RunFolder, name: str) -> str:
    """The card of a run's result, for a repository of this name."""
    recipe = yaml.safe_load(folder.recipe.read_text(encoding="utf-8"))
    plan = json.loads(folder.plan.read_text(encoding="utf-8")) if folder.plan.exists() else {}
    named = [_text(recipe, "model.path"), *(one["path"] for one in _sources(recipe))]
    local = frozenset(one for one in named if one and not PurePath(one).is_absolute() and Path(one).exists())
    return card(Facts(name, recipe, effective(list(read_events(folder.events))), plan, local))


def card(facts: Facts) -> str:
    """Markdown with a front matter of YAML, as the hub reads it."""
    parts = [
        _title(facts),
        _data(facts),
        _curve(facts),
        _evaluation(facts),
        _use(facts),
        _recipe(facts),
        _machine(facts),
    ]
    front = yaml.safe_dump(_front(facts), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def plain(text: object) -> str:
    """Text that Markdown and HTML show as it is, on one line.

    >>> plain("a|b <script>")
    'a&#124;b &#60;script&#62;'
    """
    line = " ".join(str(text).split())
    return re.sub(r"[^\w\s.,:;/()+%-]", lambda found: f"&#{ord(found[0])};", line).replace("_", "&#95;")


def short(path: str) -> str:
    """The last part of a path of this machine; anything else as it is."""
    local = PurePath(path).is_absolute() or path.startswith(("~", ".", "\\")) or re.match(r"[A-Za-z]:[\\/]", path)
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] if local else path


def _front(facts: Facts) -> dict[str, Any]:
    base, adapter = _text(facts.recipe, "model.path"), _text(facts.recipe, "adapter.kind")
    front: dict[str, Any] = {
        "library_name": "transformers" if adapter == "none" else "peft",
        "pipeline_tag": "text-classification" if _text(facts.recipe, "method.kind") == "reward" else "text-generation",
        "tags": ["luthier", _text(facts.recipe, "method.kind"), *([adapter] if adapter != "none" else [])],
    }
    if _on_hub(base, facts):
        front["base_model"] = base
    listed = [one["path"] for one in _sources(facts.recipe) if _on_hub(one["path"], facts)]
    return front | ({"datasets": list(dict.fromkeys(listed))} if listed else {})


def _on_hub(name: str, facts: Facts) -> bool:
    suffix = PurePath(name).suffix in (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
    return bool(HUB_NAME.fullmatch(name)) and not suffix and name not in facts.local


def _title(facts: Facts) -> str:
    recipe = facts.recipe
    base, kind = _text(recipe, "model.path"), _text(recipe, "adapter.kind")
    trained = "all weights" if kind == "none" else f"a {kind} adapter"
    if kind == "lora":
        trained += f" (rank {_at(recipe, 'adapter.rank')}, alpha {_at(recipe, 'adapter.alpha')})"
    origin = f"on {plain(short(base))}" if base else "from scratch"
    lines = [f"# {plain(facts.name)}", f"Trained by {plain(_text(recipe, 'method.kind'))}: {trained} {origin}."]
    counts = facts.plan.get("parameters") or {}
    if counts.get("trained") and counts.get("total"):
        lines[-1] += f" {counts['trained']:,} of {counts['total']:,} parameters learned."
    compared = _last(facts, Compared)
    if compared is not None:
        lines[-1] += f" Compared by hash, {compared.moved} tensors moved and {compared.unmoved} stayed as they were."
    return "\n\n".join(lines)


def _data(facts: Facts) -> str:
    prepared: dict[str, Prepared] = {}
    for event in facts.events:
        if isinstance(event, Prepared):
            prepared.setdefault(event.name, event)
    rows = [
        (plain(e.name), f"{e.documents:,}", f"{e.tokens:,}", f"{e.targets:,}", _fates(e)) for e in prepared.values()
    ]
    sources = ", ".join(plain(short(one["path"])) for one in _sources(facts.recipe))
    table = _table(("rows", "documents", "tokens", "learned", "what became of them"), rows)
    return f"## Data\n\nTrained on {sources or 'nothing'}.\n\n{table}" if rows else ""


def _fates(event: Prepared) -> str:
    counted = {name: one for name, one in event.summary.items() if isinstance(one, int) and not isinstance(one, bool)}
    return plain("; ".join(f"{name.replace('_', ' ')} {one:,}" for name, one in counted.items() if one))


def _curve(facts: Facts) -> str:
    steps = list({e.step: e for e in facts.events if isinstance(e, Stepped) and not e.skipped}.values())
    if not steps:
        return ""
    chosen = sorted({round(index * (len(steps) - 1) / max(1, min(ROWS, len(steps)) - 1)) for index in range(ROWS)})
    shown = [steps[index] for index in chosen if index < len(steps)]
    rows = [(f"{e.step:,}", f"{e.epoch:.2f}", f"{e.loss:.4f}", f"{e.lr:.2e}", f"{e.gradient_norm:.3f}") for e in shown]
    return "## Training\n\n" + _table(("step", "epoch", "loss", "learning rate", "gradient norm"), rows)


def _evaluation(facts: Facts) -> str:
    figures: list[tuple[str, ...]] = []
    for event in facts.events:
        if isinstance(event, Evaluated):
            figures.append((f"{event.step:,}", "evaluation rows", "loss", f"{event.loss:.4f}"))
            figures += [(f"{event.step:,}", "evaluation rows", plain(n), f"{v:.4g}") for n, v in event.metrics.items()]
        elif isinstance(event, Answered):
            rows = f"{plain(event.rows_of)} rows"
            figures += [(f"{event.step:,}", rows, plain(n), f"{v:.4g}") for n, v in event.metrics.items()]
    return "## Evaluation\n\n" + _table(("step", "on", "figure", "value"), figures) if figures else ""


def _use(facts: Facts) -> str:
    name = facts.name if HUB_NAME.fullmatch(facts.name) else "OWNER/NAME"
    auto = "AutoPeftModelForCausalLM" if _text(facts.recipe, "adapter.kind") != "none" else "AutoModelForCausalLM"
    if _text(facts.recipe, "method.kind") == "reward":
        auto = auto.replace("CausalLM", "SequenceClassification")
    library = "peft" if auto.startswith("AutoPeft") else "transformers"
    code = f'from {library} import {auto}\n\nmodel = {auto}.from_pretrained("{name}")'
    return f"## Use\n\n```python\n{code}\n```"


def _recipe(facts: Facts) -> str:
    kept = {name: one for name, one in facts.recipe.items() if name not in ("output", "track")}
    text = yaml.safe_dump(_shortened(kept), sort_keys=False, allow_unicode=True, width=110)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 3)
    return f"## Recipe\n\n{fence}yaml\n{text}{fence}"


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shortened(one) for one in value]
    return short(value) if isinstance(value, str) and "\n" not in value else value


def _machine(facts: Facts) -> str:
    started = _last(facts, Started)
    names = ("luthier", "torch", "transformers", "peft", "python", "compute", "processes")
    here = (
        [(name, plain(started.environment[name])) for name in names if name in started.environment] if started else []
    )
    return "## Made with\n\n" + _table(("", "version"), [*here, ("device", plain(started.device))]) if started else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _last(facts: Facts, kind: type[Kind]) -> Kind | None:
    return next((event for event in reversed(facts.events) if isinstance(event, kind)), None)


def _sources(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    found = _at(recipe, "data.train")
    return [one for one in found if isinstance(one, dict) and one.get("path")] if isinstance(found, list) else []


def _at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _text(tree: dict[str, Any], path: str) -> str:
    value = _at(tree, path)
    return value if isinstance(value, str) else ""

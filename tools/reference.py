"""Writes docs/reference.md and docs/reference.zh.md: ``python -m tools.reference``."""

from __future__ import annotations

from pathlib import Path

from luthier.explain.reference import reference

DOCS = Path(__file__).resolve().parents[1] / "docs"

PAGES = {"en": DOCS / "reference.md", "zh": DOCS / "reference.zh.md"}


def main() -> None:
    """Write both pages."""
    DOCS.mkdir(exist_ok=True)
    for lang, path in PAGES.items():
        path.write_text(reference(lang), encoding="utf-8")
        print(f"{path}: written")


if __name__ == "__main__":
    main()

"""Writes the data files of the demo: `python -m tools.story_world --out recipes/data`."""

import argparse
import csv
import json
import random
from collections.abc import Iterable
from pathlib import Path

from tools.story_world.inhabitants import load_inhabitants
from tools.story_world.questions import Question, split_questions
from tools.story_world.stories import tell_stories

COLUMNS = ("category", "human", "assistant")
SEED = 7
STORIES = 5200


def write_world(out: Path, seed: int = SEED, stories: int = STORIES) -> list[Path]:
    """Writes all files into a folder; the same arguments give the same bytes."""
    people = load_inhabitants()
    out.mkdir(parents=True, exist_ok=True)
    split = split_questions(people, random.Random(f"questions {seed}"))
    return [
        write_stories(out / "stories.jsonl", tell_stories(people, stories, random.Random(f"stories {seed}"))),
        write_questions(out / "questions-train.csv", split.train),
        write_questions(out / "questions-heldout.csv", split.heldout),
        write_questions(out / "questions-from-stories.csv", split.from_stories),
    ]


def write_stories(path: Path, stories: Iterable[str]) -> Path:
    """One JSON object a line, with the story under `text`."""
    lines = (json.dumps({"text": story}, ensure_ascii=False) + "\n" for story in stories)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path


def write_questions(path: Path, questions: Iterable[Question]) -> Path:
    """One question a row below a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(question.row for question in questions)
    return path


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.story_world", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("recipes/data"), help="the folder to write into")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed gives another telling")
    parser.add_argument("--stories", type=int, default=STORIES, help="how many stories to tell")
    arguments = parser.parse_args()
    for path in write_world(arguments.out, arguments.seed, arguments.stories):
        print(f"{path}  {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

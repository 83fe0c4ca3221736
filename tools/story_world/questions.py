"""Makes the questions: which facts are asked for, in which wording, and in which of the three files."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import product

from tools.story_world.inhabitants import CATEGORIES, SEEDS, Inhabitant
from tools.story_world.sections import read_sections

WORDINGS_A_FACT = 14
"""How many wordings of every training fact the training file has."""


@dataclass(frozen=True)
class Question:
    """One row of a questions file."""

    category: str
    human: str
    assistant: str

    @property
    def row(self) -> tuple[str, str, str]:
        """The fields in the order of the columns."""
        category, human, assistant = astuple(self)
        return category, human, assistant


@dataclass(frozen=True)
class Split:
    """The three files: what is trained on, new wordings of the same facts, and facts only the stories tell."""

    train: tuple[Question, ...]
    heldout: tuple[Question, ...]
    from_stories: tuple[Question, ...]


def wordings(kind: str) -> dict[str, tuple[str, ...]]:
    """The question wordings of one kind, `train` or `heldout`, by category.

    The training wordings are those written out, and every clause and topic in every form of request: a request that
    goes with all categories alike says nothing about the category, so that its clause or topic has to be read.
    """
    sections = {(section.title, *section.tags): section.lines for section in read_sections(SEEDS / "wordings.txt")}
    found = {category: sections[category, kind] for category in CATEGORIES}
    if kind == "train":
        for category, (request, blank) in product(CATEGORIES, (("request", "clause"), ("about", "topic"))):
            pairs = product(sections["any", request], sections[category, blank])
            found[category] += tuple(form.replace(f"{{{blank}}}", filling) for form, filling in pairs)
    return found


def answer(person: Inhabitant, category: str) -> str:
    """The one canonical sentence that states the fact."""
    frames = {section.title: section.lines[0] for section in read_sections(SEEDS / "answers.txt")}
    return frames[category].format_map(person.words())


def make_question(person: Inhabitant, category: str, wording: str) -> Question:
    """The question about that fact in that wording, with its answer."""
    return Question(category, wording.format_map(person.words()), answer(person, category))


def story_only(people: Sequence[Inhabitant]) -> Iterator[tuple[Inhabitant, str]]:
    """One fact of each inhabitant, the categories taking turns: these are never asked for in training."""
    for number, person in enumerate(people):
        yield person, CATEGORIES[number % len(CATEGORIES)]


def split_questions(people: Sequence[Inhabitant], rng: random.Random) -> Split:
    """Draws the rows of all three files."""
    train_wordings, heldout_wordings = wordings("train"), wordings("heldout")
    hidden = set(story_only(people))
    train: list[Question] = []
    heldout: list[Question] = []
    from_stories: list[Question] = []
    for number, person in enumerate(people):
        asked = [category for category in CATEGORIES if (person, category) not in hidden]
        for category in asked:
            chosen = rng.sample(train_wordings[category], WORDINGS_A_FACT)
            train += [make_question(person, category, wording) for wording in chosen]
        skipped = asked[number // len(CATEGORIES) % len(asked)]
        for place, category in enumerate(asked):
            if category != skipped:
                choices = heldout_wordings[category]
                heldout.append(make_question(person, category, choices[(number + place) % len(choices)]))
    for person, category in story_only(people):
        chosen = rng.sample(train_wordings[category], 2)
        from_stories += [make_question(person, category, wording) for wording in chosen]
    rng.shuffle(train)
    return Split(tuple(train), tuple(heldout), tuple(from_stories))

"""Tells the stories: an opening, a few facts in passing, a plot, and an ending."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tools.story_world.inhabitants import CATEGORIES, SEEDS, Inhabitant
from tools.story_world.sections import Section, read_sections

T = TypeVar("T")

SEASONS = ("spring", "summer", "autumn", "winter")
OPENING_CHANCE = 0.4
CLOSING_CHANCE = 0.3
BRIDGE_CHANCE = 0.3
PORTRAIT_SHARE = 0.8
PORTRAIT_LENGTH = 3
ROUND_SHARE = 0.08
ROUND_LENGTH = 3
BETWEEN_CHANCE = 0.3


def deck(cards: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Deals the cards for ever, reshuffled each time round, so that all of them come up equally often."""
    while True:
        yield from rng.sample(cards, len(cards))


def seed_lines(name: str) -> dict[str, tuple[str, ...]]:
    """The alternatives of every section of a seed text, by title."""
    return {section.title: section.lines for section in read_sections(SEEDS / name)}


class Teller:
    """Keeps the decks that make people, plots, facts and sentences come up equally often."""

    def __init__(self, people: Sequence[Inhabitant], rng: random.Random) -> None:
        """Reads the seed texts and shuffles the first decks."""
        self.people = people
        self.rng = rng
        self.facts = seed_lines("facts.txt")
        self.openings = seed_lines("openings.txt")
        self.bridges = seed_lines("bridges.txt")["any"]
        self.closings = seed_lines("closings.txt")["any"]
        self.rounds = seed_lines("rounds.txt")
        self.exchanges = seed_lines("exchanges.txt")
        self.by_name = {person.name: person for person in people}
        self.heroes = deck(people, rng)
        self.plots = deck([plot for path in sorted(SEEDS.glob("plots-*.txt")) for plot in read_sections(path)], rng)
        self.decks: dict[str, Iterator[str]] = {}

    def tell(self) -> str:
        """One new story."""
        kind = self.rng.random()
        if kind < PORTRAIT_SHARE:
            return self.tell_portrait()
        return self.tell_round() if kind < PORTRAIT_SHARE + ROUND_SHARE else self.tell_plot()

    def tell_portrait(self) -> str:
        """A few sentences about one inhabitant."""
        hero = next(self.heroes)
        return " ".join(self.asides(hero, PORTRAIT_LENGTH))

    def tell_round(self) -> str:
        """A story in which somebody is asked about one neighbour after another."""
        other, *asked = self.rng.sample(self.people, 1 + ROUND_LENGTH)
        talk: list[str] = []
        for person in asked:
            category = self.pick(f"round {person.name}", CATEGORIES)
            exchange = self.pick(f"exchange {category}", self.exchanges[category])
            talk.append(exchange.format_map(person.words()))
            if person is not asked[-1] and self.rng.random() < BETWEEN_CHANCE:
                talk.append(self.pick("between", self.rounds["between"]))
        start, end = (self.pick(f"round {part}", self.rounds[part]) for part in ("start", "end"))
        return "\n\n".join((start, " ".join(talk), end)).format_map(other.words("o_"))

    def tell_plot(self) -> str:
        """A story in which one inhabitant has a small adventure."""
        hero, plot = next(self.heroes), next(self.plots)
        other = self.companion(hero, plot)
        words = hero.words() | other.words("o_")
        beats = [self.pick(f"{plot.title} {number}", group) for number, group in enumerate(plot.groups)]
        start = [*self.opening(plot), *self.asides(hero, 1)]
        middle, end = beats[:2], beats[2:]
        if self.rng.random() < BRIDGE_CHANCE:
            start += [self.pick("bridge", self.bridges), *self.asides(other, 1)]
        if self.rng.random() < CLOSING_CHANCE:
            end.append(self.pick("closing", self.closings))
        paragraphs = (" ".join(sentences) for sentences in (start, middle, end))
        return "\n\n".join(paragraphs).format_map(words)

    def companion(self, hero: Inhabitant, plot: Section) -> Inhabitant:
        """The second person of the story: the best friend if the plot wants that, else anybody but the friend."""
        if "friend" in plot.tags:
            return self.by_name[hero.friend]
        return self.rng.choice([one for one in self.people if one.name not in (hero.name, hero.friend)])

    def opening(self, plot: Section) -> list[str]:
        """A first sentence that suits the season the plot needs, or none."""
        if self.rng.random() > OPENING_CHANCE:
            return []
        seasons = sorted(plot.tags & set(SEASONS)) or ["any", *SEASONS]
        season = self.rng.choice(seasons)
        return [self.pick(f"opening {season}", self.openings[season])]

    def asides(self, person: Inhabitant, count: int) -> list[str]:
        """Some facts about a person, mentioned in passing and already filled in."""
        drawn: dict[str, str] = {}
        while len(drawn) < count:
            category = self.pick(f"category {person.name}", CATEGORIES)
            frame = self.pick(f"{category} {person.name}", self.facts[category])
            drawn.setdefault(category, frame.format_map(person.words()))
        return list(drawn.values())

    def pick(self, name: str, alternatives: Sequence[str]) -> str:
        """The next alternative from the deck of that name."""
        if name not in self.decks:
            self.decks[name] = deck(alternatives, self.rng)
        return next(self.decks[name])


def tell_stories(people: Sequence[Inhabitant], count: int, rng: random.Random) -> list[str]:
    """That many stories, no two of them the same."""
    teller = Teller(people, rng)
    stories: dict[str, None] = {}
    while len(stories) < count:
        stories.setdefault(teller.tell())
    return list(stories)

"""Who lives in the valley, and the words a sentence frame may use to speak about one of them."""

import csv
from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"

CATEGORIES = ("home", "trade", "food", "friend", "fear", "hat", "pet")
"""The facts every inhabitant has, in the order of the seed table."""

PRONOUNS = {"she": ("she", "her", "her"), "he": ("he", "him", "his")}


@dataclass(frozen=True)
class Inhabitant:
    """One row of the seed table."""

    name: str
    pronoun: str
    home: str
    trade: str
    doing: str
    tool: str
    food: str
    friend: str
    fear: str
    colour: str
    kind: str
    pet: str

    def words(self, prefix: str = "") -> dict[str, str]:
        """Every placeholder that stands for this person; `{Food}` is `{food}` at the start of a sentence."""
        they, them, their = PRONOUNS[self.pronoun]
        words = {
            "name": self.name,
            "they": they,
            "them": them,
            "their": their,
            "home": self.home,
            "place": self.home.split(" ", 1)[1],
            "trade": self.trade,
            "a_trade": with_article(self.trade),
            "trade_s": plural(self.trade),
            "doing": self.doing,
            "tool": self.tool,
            "food": self.food,
            "friend": self.friend,
            "fear": self.fear,
            "colour": self.colour,
            "hat": f"{self.colour} hat",
            "a_hat": with_article(f"{self.colour} hat"),
            "kind": self.kind,
            "a_kind": with_article(self.kind),
            "pet": self.pet,
        }
        prefixed = {prefix + key: text for key, text in words.items()}
        return prefixed | {capital(key): capital(text) for key, text in prefixed.items()}

    def fact(self, category: str) -> str:
        """The bare value behind a category: what a story must say for the fact to be learnable from it."""
        return self.colour if category == "hat" else str(getattr(self, category))


def with_article(noun: str) -> str:
    """The noun with `a` or `an` before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(trade: str) -> str:
    """More than one of a trade."""
    return f"{trade[:-3]}men" if trade.endswith("man") else f"{trade}s"


def capital(text: str) -> str:
    """The text with its first letter in upper case and the rest as it was."""
    return text[:1].upper() + text[1:]


def load_inhabitants(path: Path = SEEDS / "inhabitants.csv") -> tuple[Inhabitant, ...]:
    """Everybody in the seed table, in its order."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(Inhabitant(**row) for row in csv.DictReader(file))

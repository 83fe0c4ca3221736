"""A metric of one's own that fails costs its figure, and says on which rows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from luthier.errors import RecipeError
from luthier.evaluate.scores import Scorer

CODE = """
def odd(answer, reference):
    if answer == "bad":
        raise KeyError("no such word")
    return len(answer)

def nothing(answer, reference):
    return None

def infinite(answer, reference):
    return float("inf")
"""


@pytest.fixture(scope="module", autouse=True)
def _own_metrics(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("own")
    (folder / "metrics_of_scores_test.py").write_text(CODE)
    pytest.MonkeyPatch().syspath_prepend(str(folder))


def own(*names: str) -> Scorer:
    return Scorer([f"metrics_of_scores_test:{name}" for name in names])


def test_a_metric_that_raises_is_left_out_where_it_does_and_named_with_its_rows() -> None:
    scorer = own("odd")
    scores = [scorer.scores(answer, "", f"d:{line}") for line, answer in enumerate(("ab", "bad", "abcd", "bad"), 1)]
    assert scores == [{"metrics_of_scores_test:odd": 2.0}, {}, {"metrics_of_scores_test:odd": 4.0}, {}]
    assert scorer.means(scores) == {"metrics_of_scores_test:odd": 3.0}
    [failure] = scorer.failures.values()
    assert failure.rows == ["d:2", "d:4"]
    assert str(failure) == "metrics_of_scores_test:odd gave no figure for 2 rows: KeyError: 'no such word'"


@pytest.mark.parametrize("name", ["nothing", "infinite"])
def test_what_gives_no_number_has_no_figure(name: str) -> None:
    scorer = own(name)
    scores = [scorer.scores("a", "b", "d:1")]
    assert scores == [{}] and math.isnan(scorer.means(scores)[f"metrics_of_scores_test:{name}"])
    assert scorer.failures


def test_ours_stand_beside_it() -> None:
    scorer = Scorer(("exact_match", "metrics_of_scores_test:odd", "chrf"))
    assert scorer.scores("a", "a", "d:1") == {"exact_match": 1.0, "metrics_of_scores_test:odd": 1.0, "chrf": 100.0}


def test_a_metric_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no_such_module"):
        Scorer(["no_such_module:metric"])

from __future__ import annotations

from luthier.record.events import Finished, Stopped, Warned
from luthier.report.history import history
from tests.report.folders import (
    BEGUN,
    answered,
    evaluated,
    finished_run,
    resumed_run,
    saved,
    started,
    stepped,
)


def test_a_whole_run() -> None:
    past = history(finished_run())
    assert [step.step for step in past.steps] == list(range(1, 241))
    assert past.finished is not None
    assert past.seconds == past.finished.seconds
    assert past.restarts == ()
    assert [one.name for one in past.prepared] == ["train", "evaluation"]
    assert past.before is not None and past.after is not None


def test_repeated_steps_count_once_and_the_pause_not_at_all() -> None:
    past = history(resumed_run())
    assert [step.step for step in past.steps] == list(range(1, 91))
    assert max(step.loss for step in past.steps) < 99
    (restart,) = past.restarts
    assert (restart.started.step, restart.again) == (40, 17)
    first, second = 20 + 57 * 1.4, 20 + 90 * 1.4
    assert abs(past.seconds - (first + second)) < 1e-3
    assert past.begun == BEGUN


def test_the_first_preparation_tells_what_happened_to_the_rows() -> None:
    assert [one.cached for one in history(resumed_run()).prepared] == [False]


def test_a_run_begun_anew_forgets_what_was_before() -> None:
    past = history([started(), stepped(1), stepped(2), saved(2), started(at=100), stepped(1, at=100)])
    assert [step.step for step in past.steps] == [1]
    assert past.saved == ()
    assert [one.again for one in past.restarts] == [2]


def test_a_finished_run_that_goes_on_is_not_finished() -> None:
    end = Finished(step=2, at=BEGUN + 50, reason="steps", seconds=50.0, result="model")
    assert history([started(steps=2), stepped(1), stepped(2), end, started(2, at=60, steps=4)]).finished is None


def test_evaluations_and_answers_of_a_step_count_once() -> None:
    past = history(
        [started(), evaluated(0, 3.0), evaluated(0, 2.0), answered("after", 0, 0.1, 2), answered("after", 0, 0.2, 2)]
    )
    assert [one.loss for one in past.evaluations] == [2.0]
    assert past.after is not None
    assert past.after.metrics == {"exact_match": 0.2}


def test_a_warning_before_the_start_is_no_process_of_its_own() -> None:
    early = Warned(step=0, at=BEGUN + 5_000, message="passed over a damaged checkpoint")
    past = history([started(), stepped(1), early, started(1, at=5_001), stepped(2, at=5_001)])
    assert len(past.restarts) == 1
    assert past.seconds < 100
    assert history([early, started(), stepped(1)]).restarts == ()


def test_why_the_newest_process_stopped_and_no_older_one() -> None:
    first = [started(), stepped(1), Stopped(step=1, reason="stopped by SIGTERM")]
    past = history(first)
    assert past.finished is None
    assert past.stopped is not None and past.stopped.reason == "stopped by SIGTERM"
    assert history([*first, started(1, source="checkpoints/step-00000001"), stepped(2)]).stopped is None

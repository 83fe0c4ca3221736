"""The record of a run: events that survive, and the history that counts."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from luthier.record.events import (
    KINDS,
    Answered,
    Chosen,
    Compared,
    Evaluated,
    Event,
    EventLog,
    Finished,
    Prepared,
    Published,
    Saved,
    Started,
    Stepped,
    Stopped,
    Warned,
    Watched,
    effective,
    read_events,
)

EACH: tuple[Event, ...] = (
    Started(step=0, steps=9, device="cpu", environment={"torch": "2", "threads": 1}),
    Prepared(
        step=0, name="train", documents=3, tokens=9, targets=8, packs=2, cached=False, seconds=0.5, summary={"rows": 3}
    ),
    Stepped(
        step=1, epoch=0.1, loss=2.5, lr=1e-4, gradient_norm=1.0, tokens=9, targets=8, seconds=0.1, waited=0.0, memory=10
    ),
    Evaluated(step=1, loss=2.25, targets=4, seconds=0.1),
    Answered(
        step=1,
        when="after",
        rows=1,
        metrics={"exact_match": 1.0},
        file="answers/after.jsonl",
        seconds=1.0,
        sample=[{"question": "问", "answer": "答"}],
    ),
    Watched(step=1, spreads={"gradients/w": [[1, 2], [0.0, 0.5, 1.0]]}),
    Saved(step=1, path="checkpoints/x", bytes=100, seconds=0.2),
    Published(step=1, repository="me/it", commit="a1", bytes=100, seconds=0.2),
    Compared(step=1, moved=3, unmoved=5, stood_still=["a"], drifted=[]),
    Warned(step=1, message="two\nlines\u2028and more"),
    Chosen(step=1, best_step=1, metric="rouge-l", value=0.5),
    Stopped(step=1, reason="stopped by SIGTERM"),
    Finished(step=1, reason="steps", seconds=3.0, result="model"),
)


def step(number: int, loss: float = 1.0) -> Stepped:
    return Stepped(
        step=number,
        epoch=0.0,
        loss=loss,
        lr=0.1,
        gradient_norm=1.0,
        tokens=1,
        targets=1,
        seconds=1.0,
        waited=0.0,
        memory=0,
    )


def write(path: Path, *events: Event) -> None:
    with EventLog(path) as log:
        for event in events:
            log.write(event)


def test_each_kind_is_tried_here() -> None:
    assert {event.kind for event in EACH} == set(KINDS)


@pytest.mark.parametrize("event", EACH, ids=lambda event: event.kind)
def test_an_event_reads_back_as_it_was_written(tmp_path: Path, event: Event) -> None:
    write(tmp_path / "e.jsonl", event)
    [again] = read_events(tmp_path / "e.jsonl")
    assert again == event and type(again) is type(event)


def test_events_are_appended_one_a_line_across_openings(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    write(path, *EACH[:3])
    write(path, *EACH[3:])
    assert list(read_events(path)) == list(EACH)
    lines = path.read_bytes().split(b"\n")
    assert len(lines) == len(EACH) + 1 and lines[-1] == b""
    assert [json.loads(line)["event"] for line in lines[:-1]] == [event.kind for event in EACH]


def test_an_event_is_on_its_way_to_the_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.jsonl") as log:
        log.write(step(1))
        assert [event.step for event in read_events(tmp_path / "e.jsonl")] == [1]
        log.sync()


def test_numbers_that_are_not_finite_are_kept_apart(tmp_path: Path) -> None:
    write(tmp_path / "e.jsonl", step(1, math.nan), step(2, math.inf), step(3, -math.inf))
    losses = [event.loss for event in read_events(tmp_path / "e.jsonl") if isinstance(event, Stepped)]
    assert math.isnan(losses[0]) and losses[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_torn_last_line_is_passed_over_and_cut_off_by_the_next_writer(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "e.jsonl"
    write(path, step(1), step(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert [event.step for event in read_events(path)] == [1]
    write(path, step(7))
    assert [event.step for event in read_events(path)] == [1, 7]


def test_a_file_that_is_one_torn_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"event": "st')
    assert list(read_events(path)) == []
    write(path, step(1))
    assert [event.step for event in read_events(path)] == [1]


def steps_of(events: list[Event]) -> list[int]:
    return [event.step for event in events if isinstance(event, Stepped)]


def test_what_a_resumed_process_did_again_counts_once() -> None:
    events: list[Event] = [
        Started(step=0, steps=6),
        *map(step, (1, 2, 3, 4)),
        Started(step=2, steps=6),
        *map(step, (3, 4, 5, 6)),
    ]
    kept = effective(events)
    assert steps_of(kept) == [1, 2, 3, 4, 5, 6]
    assert kept[-4:] == events[-4:], "the later ones"


def test_twice_resumed_is_still_one_history() -> None:
    events: list[Event] = [
        Started(step=0, steps=9),
        *(step(n, 1.0) for n in range(1, 8)),
        Started(step=5, steps=9),
        *(step(n, 2.0) for n in range(6, 9)),
        Started(step=3, steps=9),
        *(step(n, 3.0) for n in range(4, 10)),
    ]
    kept = effective(iter(events))
    assert steps_of(kept) == list(range(1, 10))
    assert [event.loss for event in kept if isinstance(event, Stepped)] == [1.0] * 3 + [3.0] * 6
    assert [event.step for event in kept if isinstance(event, Started)] == [0, 5, 3]


def test_what_was_measured_and_saved_at_the_checkpoint_stays() -> None:
    events: list[Event] = [
        Started(step=0, steps=4),
        step(1),
        step(2),
        Evaluated(step=2, loss=1.0, targets=1, seconds=0.0),
        Saved(step=2, path="two", bytes=1, seconds=0.0),
        step(3),
        Evaluated(step=3, loss=9.0, targets=1, seconds=0.0),
        Started(step=2, steps=4, resumed_from="two"),
        step(3),
    ]
    kept = effective(events)
    assert [event.loss for event in kept if isinstance(event, Evaluated)] == [1.0]
    assert [event.path for event in kept if isinstance(event, Saved)] == ["two"]


def test_a_run_begun_anew_forgets_all_but_that_it_had_begun_before() -> None:
    events: list[Event] = [
        Started(step=0, steps=4),
        *EACH[1:2],
        step(1),
        Started(step=0, steps=4),
        *EACH[1:2],
        step(1, 7.0),
    ]
    kept = effective(events)
    assert kept == [events[0], *events[3:]]


def test_the_time_of_an_event_is_now(tmp_path: Path) -> None:
    import time

    before = time.time()
    event = Warned(step=0, message="x")
    assert before <= event.at <= time.time()
    assert asdict(event) == {"step": 0, "at": event.at, "message": "x", "rows": []}

"""Losses that stand out."""

from __future__ import annotations

import random

from luthier.train.spikes import FEWEST, WINDOW, Spikes


def falling(count: int, seed: int = 0) -> list[float]:
    """A noisy loss that falls, as a healthy run's does."""
    draw = random.Random(seed)
    return [4 * 0.99**step + draw.gauss(0, 0.05) for step in range(count)]


def test_a_healthy_run_has_no_spikes() -> None:
    spikes = Spikes()
    assert not any(spikes.is_spike(loss) for loss in falling(500))


def test_a_loss_far_above_the_others_is_one_and_does_not_hide_the_next() -> None:
    spikes = Spikes()
    for loss in falling(40):
        spikes.is_spike(loss)
    assert spikes.is_spike(9.0)
    assert spikes.is_spike(8.5)
    assert not spikes.is_spike(falling(41)[-1])


def test_one_is_seen_while_the_loss_still_falls_fast() -> None:
    spikes = Spikes()
    assert not any(spikes.is_spike(6 * 0.92**step) for step in range(24))
    assert spikes.is_spike(5.5)


def test_nothing_is_one_before_there_is_enough_to_compare_with() -> None:
    spikes = Spikes()
    assert not any(spikes.is_spike(1.0) for _ in range(FEWEST - 1))
    assert not spikes.is_spike(50.0)
    assert spikes.is_spike(50.0)


def test_small_steps_of_a_loss_that_hardly_varies_are_none() -> None:
    spikes = Spikes([1.0] * 30)
    assert not spikes.is_spike(1.1)


def test_no_more_is_kept_than_is_looked_at_and_it_goes_on_from_there() -> None:
    spikes = Spikes()
    for loss in falling(200):
        spikes.is_spike(loss)
    assert spikes.losses == falling(200)[-WINDOW:]
    assert Spikes(list(spikes.losses)).is_spike(9.0)

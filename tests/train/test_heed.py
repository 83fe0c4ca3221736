"""What a run is asked for on its way: to save, once; to stop, until it does."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from luthier.train.heed import SAVE, Heed
from luthier.train.interrupt import Asked, Interrupted
from luthier.train.ranks import Ranks


def test_a_wish_to_save_is_heard_once_and_a_signal_to_stop_outweighs_it(tmp_path: Path) -> None:
    asked, wanted = Asked(), tmp_path / "save-now"
    heed = Heed(asked, Ranks(), wanted)
    assert heed.said() is None
    wanted.touch()
    assert (heed.said(), wanted.exists(), heed.said()) == (SAVE, False, None)
    asked.save = True
    assert (heed.said(), heed.said()) == (SAVE, None)
    asked.save, asked.number = True, signal.SIGTERM
    assert (heed.said(), heed.said()) == (signal.SIGTERM, signal.SIGTERM)


def test_only_the_first_process_takes_the_file(tmp_path: Path) -> None:
    wanted = tmp_path / "save-now"
    wanted.touch()
    assert Heed(Asked(), Ranks(index=1), wanted).said() is None and wanted.exists()


def test_where_stopping_would_lose_something_no_signal_is_heard() -> None:
    heed = Heed(Asked(), Ranks(), Path("nowhere"))
    heed.stop()
    heed.asked.number = signal.SIGINT
    with pytest.raises(Interrupted, match="SIGINT"):
        heed.stop()
    heed.deaf = True
    heed.stop()

"""A reading -> a finished run folder."""

from __future__ import annotations

import secrets
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from luthier.dialects.document import load_yaml, to_yaml
from luthier.dialects.reading import Reading
from luthier.environment import processes, world
from luthier.errors import RunError
from luthier.plan.engine import engine_of
from luthier.plan.verdict import Verdict, verdict
from luthier.publish.publisher import Publisher
from luthier.recipe import Recipe
from luthier.record.checkpoints import step_of
from luthier.record.events import EventLog
from luthier.record.folder import RunFolder, write_json, write_whole
from luthier.record.silent import NoLog
from luthier.redaction import redacted
from luthier.track.tracking import Tracking
from luthier.train.display import Display
from luthier.train.interrupt import Asked, Interrupted, interruptions
from luthier.train.join import join
from luthier.train.launch import LAST_WORD
from luthier.train.prepare import Inputs, prepare_inputs
from luthier.train.ranks import Ranks
from luthier.train.resume import Start, as_begun, decide
from luthier.train.room import check_room
from luthier.train.signs import Lost

DISK_PATIENCE = 10.0
"""Seconds that a network's file system has to show on one machine what another has written."""


def run(reading: Reading, display: Display) -> RunFolder:
    """Carry a recipe out, from where its folder left off.

    Raises:
        LuthierError: the recipe, the inputs or the run are at fault; whatever was done stays.
        Interrupted: a signal asked the run to stop; it stopped at a whole checkpoint.
    """
    place = world()
    reading = _as_begun(reading)
    found = verdict(reading)
    if found.refused:
        if place.rank > 0:
            time.sleep(LAST_WORD)
        raise _silenced(place.rank == 0, RunError(*found.refused), 2)
    engine = engine_of(found.recipe, place.size).name
    ranks = join(found.recipe, alone=engine == "single")
    try:
        with interruptions() as asked:
            try:
                folder = _carry_out(reading, found, display if ranks.first else _silent(), ranks, asked)
            except Lost:
                # The other processes have had the same signal, and were sooner.
                if asked.number is not None:
                    raise Interrupted(asked.number) from None
                raise
    except Interrupted as stopped:
        ranks.signs.failed(stopped)
        raise _silenced(ranks.first, stopped, stopped.code) from None
    except Exception as error:
        if ranks.signs.failed(error):
            raise
        raise SystemExit(2) from error
    ranks.part()
    return folder


def _silenced(speaks: bool, error: BaseException, code: int) -> BaseException:
    """An error, from the process that tells it; the others only end."""
    return error if speaks else SystemExit(code)


def _silent() -> Display:
    return Display(Console(quiet=True), live=False)


def _as_begun(reading: Reading) -> Reading:
    """The reading with as many processes behind a step as the run in its folder began with, where it names none: a run
    that goes on with more or fewer keeps its steps."""
    recipe, folder = reading.recipe, RunFolder(Path(reading.recipe.output.dir))
    if recipe.batch.world is not None or recipe.checkpoint.resume == "never":
        return reading
    before = load_yaml(folder.recipe.read_text(encoding="utf-8"), "").value if folder.recipe.exists() else None
    world = processes() if before is None else as_begun(before, recipe, processes())
    batch = recipe.batch.model_copy(update={"world": world})
    return replace(reading, recipe=recipe.model_copy(update={"batch": batch}))


def _carry_out(reading: Reading, found: Verdict, display: Display, ranks: Ranks, asked: Asked) -> RunFolder:
    folder = RunFolder(Path(reading.recipe.output.dir))
    with folder.claimed() if ranks.first else nullcontext():
        _one_disk(folder, ranks)
        start = _told(decide(reading.recipe, folder) if ranks.first else None, ranks)
        if start.finished:
            display.stage(f"{folder.root} is finished already (checkpoint.resume=never runs it again)")
            return folder
        inputs = ranks.after_first("preparing the rows", lambda: prepare_inputs(found.recipe, display, found.instead))
        if ranks.first:
            display.plan(inputs.plan)
            tight = check_room(found.recipe, inputs.plan, folder)
            if tight:
                display.warn(tight)
            _write_down(reading, inputs, folder)
        from luthier.train.session import Session

        with _log(found.recipe, reading, folder, display, start) if ranks.first else NoLog() as log:
            Session(found.recipe, folder, inputs, display, log, asked, ranks).carry_out(start)
    return folder


def _one_disk(folder: RunFolder, ranks: Ranks) -> None:
    """See to it that all processes have the run's folder in common.

    Raises:
        RunError: some do not see what the first one writes there.
    """
    if ranks.count == 1:
        return
    sign = folder.root / f".shared-{ranks.told(secrets.token_hex(8) if ranks.first else None)}"
    try:
        if ranks.first:
            with suppress(OSError):  # what cannot be written is told by whoever has something to write
                sign.touch()
        ranks.sums([0.0])
        end = time.monotonic() + DISK_PATIENCE
        while not (seen := sign.exists()) and time.monotonic() < end:
            time.sleep(0.2)
        blind = [rank for rank, sees in enumerate(ranks.all(seen)) if not sees]
    finally:
        if ranks.first:
            sign.unlink(missing_ok=True)
    if blind and 0 not in blind:
        raise RunError(
            f"processes {', '.join(map(str, blind))} do not see what process 0 writes there",
            place=str(folder.root.absolute()),
            remedy="set output.dir to a folder on a disk that all machines share",
        )


def _log(recipe: Recipe, reading: Reading, folder: RunFolder, display: Display, start: Start) -> EventLog:
    """The run's log, and behind it the trackers that the recipe names and that are here, and the hub."""
    if not (recipe.track.to or recipe.output.hub.push):
        return EventLog(folder.events, display.warn)
    log = Tracking(folder.events, recipe, redacted(reading.recipe.tree()), display.warn, step_of(start.checkpoint))
    if recipe.output.hub.push:
        log.follow(Publisher(recipe, folder, log.note, log.warn))
    return log


def _told(start: Start | None, ranks: Ranks) -> Start:
    """Where the first process has found that the run starts."""
    tree = asdict(start) if start else {}
    told = ranks.told({**tree, "checkpoint": str(tree["checkpoint"])} if tree.get("checkpoint") else tree)
    checkpoint = told.get("checkpoint")
    return Start(**{**told, "checkpoint": Path(checkpoint) if checkpoint else None})


def _write_down(reading: Reading, inputs: Inputs, folder: RunFolder) -> None:
    """Write what is to happen into the run's folder.

    Raises:
        RunError: the disk is full or failing.
    """
    try:
        write_json(folder.accounts, {**reading.tree(), "source": reading.source})
        write_json(folder.plan, inputs.plan.tree())
        write_whole(folder.recipe, to_yaml(redacted(reading.recipe.tree())))
    except OSError as error:
        raise RunError(
            f"cannot be written: {error.strerror}", place=str(folder.root), remedy="free disk space, or set output.dir"
        ) from error

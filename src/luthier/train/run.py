"""A reading -> a finished run folder."""

from __future__ import annotations

from pathlib import Path

from luthier.dialects.document import to_yaml
from luthier.dialects.reading import Reading
from luthier.errors import RunError
from luthier.plan.verdict import verdict
from luthier.record.events import EventLog
from luthier.record.folder import RunFolder, write_json, write_whole
from luthier.train.display import Display
from luthier.train.interrupt import interruptions
from luthier.train.prepare import Inputs, prepare_inputs
from luthier.train.resume import decide


def run(reading: Reading, display: Display) -> RunFolder:
    """Carry a recipe out, from where its folder left off.

    Raises:
        LuthierError: the recipe, the inputs or the run are at fault; whatever was done stays.
        Interrupted: a signal asked the run to stop; it stopped at a whole checkpoint.
    """
    found = verdict(reading)
    if found.refused:
        raise RunError(*found.refused)
    folder = RunFolder(Path(reading.recipe.output.dir))
    with folder.claimed():
        start = decide(reading.recipe, folder)
        if start.finished:
            display.stage(f"{folder.root} is finished already (checkpoint.resume=never runs it again)")
            return folder
        inputs = prepare_inputs(found.recipe, display, found.instead)
        display.plan(inputs.plan)
        _write_down(reading, inputs, folder)
        from luthier.train.session import Session

        with EventLog(folder.events) as log, interruptions() as asked:
            Session(found.recipe, folder, inputs, display, log, asked).carry_out(start)
    return folder


def _write_down(reading: Reading, inputs: Inputs, folder: RunFolder) -> None:
    write_json(folder.accounts, {**reading.tree(), "source": reading.source})
    write_json(folder.plan, inputs.plan.tree())
    write_whole(folder.recipe, to_yaml(reading.recipe.tree()))

"""Ask TRL anew and keep its answers: ``python -m tests.oracle.write_trl``, with LUTHIER_ORACLE_TRL naming a Python that
has TRL."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.oracle import trl_jobs
from tests.oracle.peers import answers_of


def asked(folder: Path) -> dict[str, Any]:
    """TRL's answers to everything, as they are kept."""
    model, jobs = trl_jobs.write_model(folder / "model"), []
    for number, name in enumerate(trl_jobs.RUNS):
        own = folder / str(number)
        own.mkdir()
        jobs.append(trl_jobs.run_job(name, own, model))
    losses = trl_jobs.loss_jobs()
    answers = answers_of("trl_side.py", "LUTHIER_ORACLE_TRL", [{"job": "versions"}, *losses, *jobs], folder)
    runs = dict(zip(trl_jobs.RUNS, zip(jobs, answers[1 + len(losses) :], strict=True), strict=True))
    return {
        "versions": answers[0],
        "losses": [{**job, "answer": one} for job, one in zip(losses, answers[1:], strict=False)],
        "runs": {
            name: {"ids": trl_jobs.digest(job["rows"]), "same_ids": answer["same_ids"], "losses": answer["losses"]}
            for name, (job, answer) in runs.items()
        },
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = asked(Path(folder))
    trl_jobs.GOLDEN.parent.mkdir(exist_ok=True)
    trl_jobs.GOLDEN.write_text(_by_lines(kept), encoding="utf-8")


def _by_lines(kept: dict[str, Any]) -> str:
    """JSON with a line for every loss and every run."""
    losses = ",\n".join(json.dumps(one) for one in kept["losses"])
    runs = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in kept["runs"].items())
    return f'{{"versions": {json.dumps(kept["versions"])},\n"losses": [\n{losses}\n],\n"runs": {{\n{runs}\n}}}}\n'


if __name__ == "__main__":
    main()

"""The engines of several processes, one after another."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.plan.instead import installed

ENGINES: dict[str, dict[str, Any]] = {
    "ddp": {"engine": "ddp"},
    "fsdp": {"engine": "fsdp", "stage": 3},
    "zero-2": {"engine": "deepspeed", "stage": 2},
    "zero-3": {"engine": "deepspeed", "stage": 3},
}


@pytest.fixture(params=ENGINES)
def parallel(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A recipe's section ``parallel``."""
    settings = ENGINES[request.param]
    if settings["engine"] == "deepspeed" and not installed("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    return settings

"""The tokenizer that the tests of the data room share."""

from __future__ import annotations

import pytest

from luthier.data.encoder import Encoder
from tests.conftest import World


@pytest.fixture(scope="session")
def encoder(world: World) -> Encoder:
    """A byte-level tokenizer with the control tokens of ChatML."""
    return Encoder.open(world.model)

from __future__ import annotations

import pytest

from luthier.explain.catalogue import (
    defaults_of,
    made_by,
    plain_name,
    row_of,
    sections,
    setting_of,
    settings,
    tables,
    uses_of,
)
from luthier.registry import names

ROWS = {(table.name, row.name): row for table in tables() for row in table.rows}


def test_every_dialect_and_companion_is_there() -> None:
    found = [table.name for table in tables()]
    assert found == [*(name for name in names("dialects") if name != "luthier"), "accelerate", "deepspeed"]
    assert all(table.rows for table in tables())


def test_every_target_of_every_row_and_default_is_a_setting() -> None:
    targets = {target for row in ROWS.values() for target in row.targets}
    targets |= {target for table in tables() for default in table.defaults for target in default.settings}
    assert len(targets) > 100
    assert [target for target in targets if setting_of(target) is None] == []


def test_a_target_below_a_mapping_reaches_the_mapping() -> None:
    found = setting_of("parallel.deepspeed_config.zero_optimization.stage")
    assert found is settings()["parallel.deepspeed_config"]


def test_list_positions_do_not_count() -> None:
    assert plain_name("data.train.0.path") == plain_name("data.train.*.path") == "data.train.path"


def test_a_key_is_mainly_about_the_setting_it_is_named_after() -> None:
    assert made_by(ROWS["deepspeed", "zero_optimization.stage"])[0].name == "parallel.stage"
    assert made_by(ROWS["training_arguments", "lr_scheduler_type"])[0].name == "schedule.kind"


def test_settings_know_their_keys_and_which_only_touch_them() -> None:
    uses = {(use.table, use.row.name): use.first for use in uses_of("schedule.warmup_steps")}
    assert uses["axolotl", "warmup_steps"] is True
    assert uses["training_arguments", "lr_scheduler_type"] is False


def test_silence_is_known_by_dialect() -> None:
    found = {(table, value) for table, _, value, _ in defaults_of("adapter.rank")}
    assert ("firefly", 64) in found and ("chatglm3", 8) in found


def test_sections_hold_settings_and_are_none() -> None:
    assert {"model", "model.scratch", "data.train", "output.hub"} <= set(sections())
    assert not set(sections()) & set(settings())


@pytest.mark.parametrize("key", ["datasets.0.path", "datasets.12.path", "datasets.*.path"])
def test_a_row_is_found_by_the_key_as_a_file_has_it(key: str) -> None:
    axolotl = next(table for table in tables() if table.name == "axolotl")
    assert row_of(axolotl, key) is ROWS["axolotl", "datasets.*.path"]
    assert row_of(axolotl, "datasets.x.path") is None

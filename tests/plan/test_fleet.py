"""A run planned for devices that are not here: memory, time and what bounds it, under each engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from math import ceil
from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.plan.fleet import REACHED, FleetPlan, fleet_plan
from luthier.plan.fleet_page import describe_fleet
from luthier.plan.hardware import DEVICES, fleet_of
from luthier.plan.plan import facts_of, micro_batch, plan_of
from luthier.plan.sharing import CONTEXT, ENGINES, bytes_per_device, engines, largest_unit
from luthier.plan.traffic import collective_seconds, host_seconds, network_seconds
from luthier.recipe import Recipe
from tests.conftest import World
from tests.plan.conftest import Make

PARTS = {"weights": 1000, "gradients": 400, "optimizer": 800, "activations": 50, "logits": 7, "process": 99}


def on(recipe: Recipe, devices: str, nodes: int = 1) -> FleetPlan:
    facts = facts_of(recipe)
    return fleet_plan(facts.recipe, fleet_of(devices, nodes), plan_of(facts), facts.shape, facts.volume)


@pytest.mark.parametrize(
    ("text", "each", "name", "memory"),
    [
        ("8xH100", 8, "H100", 80),
        ("h200", 1, "H200", 141),
        ("4 x rtx 4090", 4, "RTX4090", 24),
        ("2*a100-40gb", 2, "A100-40GB", 40),
        ("2xmemory=48,flops=180,bandwidth=900,link=32", 2, "device of 48 GB", 48),
        ("8xH100,memory=64,network=12.5", 8, "H100", 64),
    ],
)
def test_devices_by_name_and_by_numbers(text: str, each: int, name: str, memory: float) -> None:
    fleet = fleet_of(text, 2)
    assert (fleet.each, fleet.count, fleet.device.name, fleet.device.memory) == (each, 2 * each, name, memory)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("8xH10", "did you mean H100"),
        ("8xTPU", "give its numbers"),
        ("0xH100", "names no devices"),
        ("", "names no devices"),
        ("2xmemory=48", "flops, bandwidth, link"),
        ("H100,memory=many", "no number"),
        ("H100,colour=3", "no number"),
        ("H100,memory=-1", "no number"),
        ("H100,memory=inf", "no number"),
    ],
)
def test_what_names_no_device_is_told(text: str, told: str) -> None:
    with pytest.raises(RunError, match=told):
        fleet_of(text, 1)


def test_every_device_has_plausible_numbers() -> None:
    for device in DEVICES.values():
        assert 16 <= device.memory <= 192 and 60 <= device.flops <= 2300 and 300 <= device.bandwidth <= 8000
        assert device.fp32 < device.flops and device.network <= device.link <= device.bandwidth


def test_what_each_stage_shares_out(make: Make) -> None:
    shape = facts_of(make()).shape
    held = {engine.name: bytes_per_device(PARTS, engine, 4, shape, 2) for engine in ENGINES}
    unit = 2 * largest_unit(shape) * 2
    rest = 57 + CONTEXT
    expected = {
        "ddp": (1000 + 400 + 800, 0),
        "zero 1": (1000 + 400 + 200, 0),
        "zero 2": (1000 + 100 + 200, 0),
        "zero 2, host optimiser": (1000 + 100, 200),
        "zero 3 / fsdp": (250 + 100 + 200 + unit, 0),
        "zero 3, host optimiser": (250 + 100 + unit, 200),
        "zero 3, all on host": (unit, 550),
    }
    assert {name: (sum(parts.values()) - rest, host) for name, (parts, host) in held.items()} == expected
    assert [engine.name for engine in engines(1)] == ["single", "single, host optimiser"]


def test_the_largest_unit_is_a_layer_or_the_embedding(make: Make) -> None:
    shape = facts_of(make()).shape
    layer = sum(
        dimensions[0] * (dimensions[1] if len(dimensions) > 1 else 1)
        for name, (dimensions, _) in shape.parameters.items()
        if name.startswith("model.layers.0.")
    )
    assert largest_unit(shape) == max(layer, shape.vocabulary * shape.hidden)


def test_what_is_sent_takes_its_time() -> None:
    pair = fleet_of("2xmemory=80,flops=100,bandwidth=1000,link=10,network=1,host=5", 1)
    assert collective_seconds(10e9, pair) == pytest.approx(0.5)
    two = fleet_of("2xmemory=80,flops=100,bandwidth=1000,link=10,network=1,host=5", 2)
    assert collective_seconds(10e9, two) == pytest.approx(0.5 + 0.5 * 10 / 2)
    assert collective_seconds(10e9, fleet_of("H100", 1)) == 0
    ddp, one, _, _, three, offloaded, all_off = ENGINES
    for engine in (ddp, one):
        assert network_seconds(engine, pair, 20e9, 10e9, 4) == pytest.approx(2 * 0.5)
    assert network_seconds(three, pair, 20e9, 10e9, 4) == pytest.approx(4 * (2 * 1.0 + 0.5))
    assert host_seconds(three, pair, 20e9, 10e9, 4) == 0
    assert host_seconds(offloaded, pair, 20e9, 10e9, 4) == pytest.approx((10 + 10) / 2 / 5)
    assert host_seconds(all_off, pair, 20e9, 10e9, 4) == pytest.approx((10 + 2 * 4 * 20) / 2 / 5)


def test_a_fleet_shares_out_the_operations_and_the_steps(make: Make) -> None:
    recipe = make(batch={"micro": 1, "accumulation": 1, "epochs": 2}, precision={"compute": "bf16"})
    facts = facts_of(recipe)
    here, one, two = plan_of(facts), on(recipe, "A100"), on(recipe, "2xA100")
    assert one.steps == here.steps and one.options[0].engine == "single"
    assert two.steps == 2 * ceil(facts.volume.packs / 2) and two.batch == 2
    assert one.options[0].compute == pytest.approx(here.operations / here.steps / (312e12 * REACHED))
    assert two.options[0].compute * 2 * two.steps == pytest.approx(here.operations / (312e12 * REACHED))
    assert two.options[0].total == pytest.approx(two.options[0].step * two.steps)
    assert two.checkpoint == here.disk["checkpoint"]


def test_processes_that_the_file_was_written_for_are_shared_out_anew(make: Make) -> None:
    plan = on(make(batch={"micro": 2, "accumulation": 3, "world": 8}), "4xA100")
    assert (plan.micros, plan.batch) == (6, 48)
    odd = on(make(batch={"micro": 2, "accumulation": 3, "world": 1}), "2xA100")
    assert odd.micros == 2 and any("do not share out evenly" in one for one in odd.warnings)


def test_a_step_waits_for_its_slowest_part(make: Make) -> None:
    recipe = make(batch={"accumulation": 2})
    numbers = "memory=80,flops=100,bandwidth=1000,link=100"
    slow = {
        "compute": numbers.replace("flops=100", "flops=0.000001"),
        "memory": numbers.replace("bandwidth=1000", "bandwidth=0.000001"),
        "network": numbers.replace("link=100", "link=0.000001"),
        "host": f"{numbers},host=0.000001",
    }
    for bound, device in slow.items():
        option = on(recipe, f"2x{device}").options[-1]
        assert option.bound == bound
        assert option.step == max(option.compute, option.bandwidth, option.network, option.host)


def test_the_fastest_that_fits_is_named(make: Make) -> None:
    tight = on(make(), "2xmemory=1.2,flops=100,bandwidth=1000,link=100")
    assert tight.best is not None and tight.best.fits
    assert all(option.step >= tight.best.step for option in tight.options if option.fits)
    nothing = on(make(), "2xmemory=0.5,flops=100,bandwidth=1000,link=100")
    assert nothing.best is None and not any(option.fits for option in nothing.options)


def test_a_device_without_bf16_computes_in_fp16_and_says_so(make: Make) -> None:
    plan = on(make(precision={"compute": "auto"}), "T4")
    assert plan.compute == "fp16" and any("no bf16" in one for one in plan.warnings)
    full = on(make(precision={"compute": "fp32"}), "H100")
    half = on(make(precision={"compute": "auto"}), "H100")
    assert full.options[0].compute == pytest.approx(half.options[0].compute * 989 / 67)


def test_memory_is_that_of_the_longest_micro_batch(make: Make) -> None:
    recipe = make(batch={"micro": 2})
    facts = facts_of(recipe)
    tokens, targets = micro_batch(facts.recipe, facts.volume)
    assert 0 < targets < tokens <= 2 * 96
    small, large = on(make(batch={"micro": 1}), "A100"), on(recipe, "A100")
    assert small.options[0].memory["activations"] < large.options[0].memory["activations"]


def test_the_command_prints_it(
    world: World,
    write_recipe: Callable[..., Path],
    luthier: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    file = write_recipe(world.recipe())
    shown = luthier("plan", str(file), "--devices", "8xH100", "--nodes", "4")
    assert shown.returncode == 0, shown.stderr
    assert "4 x 8 x H100" in shown.stdout and "zero 3 / fsdp" in shown.stdout
    assert "fastest that fits: " in shown.stdout
    told = json.loads(luthier("plan", str(file), "--devices", "8xH100", "--json").stdout)
    assert told["fleet"]["devices"] == 8 and told["fleet"]["best"] in {
        one["engine"] for one in told["fleet"]["options"]
    }
    assert "fleet" not in json.loads(luthier("plan", str(file), "--json").stdout)
    wrong = luthier("plan", str(file), "--devices", "8xH1000")
    assert wrong.returncode == 2 and "did you mean" in wrong.stderr
    assert luthier("plan", str(file), "--nodes", "2").returncode == 2


def test_the_table_says_that_nothing_fits(make: Make) -> None:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as shown:
        console.print(describe_fleet(on(make(), "2xmemory=0.5,flops=100,bandwidth=1000,link=100")))
    assert "nothing fits" in shown.get()

"""Devices that a run may be planned for without being there: by name, or by numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

from luthier.errors import RunError, nearest


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator's data sheet: gigabytes, dense 10^12 operations a second, gigabytes a second one way.

    ``flops`` is that of bf16 (fp16 where there is no bf16) with sums in fp32, ``fp32`` that of fp32; ``link`` joins it
    to the others of its machine, ``network`` to other machines, ``host`` to its machine's memory.
    """

    name: str
    memory: float
    flops: float
    bandwidth: float
    link: float
    fp32: float = 0.0
    network: float = 12.5
    host: float = 32.0
    bf16: bool = True


@dataclass(frozen=True, slots=True)
class Fleet:
    """``nodes`` machines of ``each`` devices."""

    device: Device
    each: int
    nodes: int = 1

    @property
    def count(self) -> int:
        """Devices in all."""
        return self.each * self.nodes

    def __str__(self) -> str:
        return (
            f"{self.nodes} x {self.each} x {self.device.name}"
            if self.nodes > 1
            else f"{self.each} x {self.device.name}"
        )


DEVICES = {
    device.name.lower(): device
    for device in (
        Device("B200", 180, 2250, 8000, 900, fp32=75, network=50, host=64),
        Device("H200", 141, 989, 4800, 450, fp32=67, network=50, host=64),
        Device("H100", 80, 989, 3350, 450, fp32=67, network=50, host=64),
        Device("H100-PCIe", 80, 756, 2000, 64, fp32=51, network=25, host=64),
        Device("A100", 80, 312, 2039, 300, fp32=19.5, network=25),
        Device("A100-40GB", 40, 312, 1555, 300, fp32=19.5, network=25),
        Device("MI300X", 192, 1307, 5300, 448, fp32=163, network=50, host=64),
        Device("L40S", 48, 362, 864, 32, fp32=91.6),
        Device("L4", 24, 121, 300, 32, fp32=30.3),
        Device("A10", 24, 125, 600, 32, fp32=31.2),
        Device("A6000", 48, 155, 768, 32, fp32=38.7),
        Device("RTX5090", 32, 209, 1792, 64, fp32=105, network=1.25, host=64),
        Device("RTX4090", 24, 165, 1008, 32, fp32=82.6, network=1.25),
        Device("RTX3090", 24, 71, 936, 32, fp32=35.6, network=1.25),
        Device("V100", 32, 125, 900, 150, fp32=15.7, host=16, bf16=False),
        Device("T4", 16, 65, 320, 16, fp32=8.1, network=3.1, host=16, bf16=False),
    )
}
"""The makers' data sheets (dense figures; SXM forms where there are several). Networks are the usual ones of machines
that hold such devices, 400 Gbit/s a device for the newest: ``--devices`` with ``network=`` says otherwise."""

NUMBERS = tuple(field.name for field in fields(Device) if field.type == "float")


def fleet_of(text: str, nodes: int) -> Fleet:
    """``8xH100``, ``H100``, ``8xH100,network=12.5`` or ``2xmemory=48,flops=180,bandwidth=900,link=32``.

    Raises:
        RunError: there is no such device, or a number is missing or none.

    >>> str(fleet_of("8xH100", 4))
    '4 x 8 x H100'
    """
    match = re.fullmatch(r"(?:(\d+)\s*[x*])?\s*(.+)", text.strip(), re.IGNORECASE)
    each = int(match[1] or 1) if match else 0
    if match is None or each < 1 or nodes < 1:
        raise RunError(f"{text!r} names no devices", place="--devices", remedy="write 8xH100, with --nodes 1 or more")
    name, *words = [part.strip() for part in match[2].split(",")]
    if "=" in name:
        name, words = "", [name, *words]
    numbers: dict[str, Any] = dict(_number(word) for word in words)
    return Fleet(replace(_named(name), **numbers) if name else _by_numbers(numbers), each, nodes)


def _number(word: str) -> tuple[str, float]:
    key, _, value = word.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if key not in NUMBERS or not 0 < number < 1e9:
        remedy = f"write {', '.join(f'{one}=…' for one in NUMBERS)}: GB, 10^12 operations/s and GB/s"
        raise RunError(f"{word!r} is no number of a device", place="--devices", remedy=remedy)
    return key, number


def _named(name: str) -> Device:
    bare = re.sub(r"[\s_]", "", name.lower())
    if bare not in DEVICES:
        near = nearest(bare, tuple(DEVICES))
        known = ", ".join(device.name for device in DEVICES.values())
        remedy = f"did you mean {DEVICES[near].name}?" if near else f"use one of {known}, or give its numbers"
        raise RunError(f"the device {name!r} is not known", place="--devices", remedy=remedy)
    return DEVICES[bare]


def _by_numbers(numbers: dict[str, Any]) -> Device:
    lacking = [name for name in ("memory", "flops", "bandwidth", "link") if name not in numbers]
    if lacking:
        remedy = "write as memory=80,flops=989,bandwidth=3350,link=450: GB, 10^12 operations/s and GB/s"
        raise RunError(f"a device by numbers needs its {', '.join(lacking)}", place="--devices", remedy=remedy)
    return Device(f"device of {numbers['memory']:g} GB", **numbers)

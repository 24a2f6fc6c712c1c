#!/usr/bin/env python3
"""Boot one machine in several shapes at once, and compare what the guest says. A failure of one ends all.

many.py [MACHINE.toml] [REGEX with a group]
"""

import shutil
import sys
import tempfile
from pathlib import Path

import trio

import qlaunch

SHAPES = {"small": {"cpu.vcpus": 1}, "wide": {"cpu.vcpus": 4}}


async def boot(path: Path, shape: dict[str, object], pattern: str, said: dict[str, str]) -> None:
    """Note what a machine of this shape prints."""
    async with qlaunch.launch(str(path), set=shape, ephemeral=True) as vm:
        said[vm.name] = (await vm.serial.expect(pattern, timeout_s=300))[1]


async def main(machine: str, pattern: str) -> None:
    """Run all shapes. Two machines cannot have one name, so each gets a file of its own."""
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            for name, shape in SHAPES.items():
                path = Path(shutil.copy(machine, f"{folder}/{name}.toml"))
                nursery.start_soon(boot, path, shape, pattern, said)
    for name in SHAPES:
        print(f"{name}: {said[name]}")


if __name__ == "__main__":
    defaults = ["machines/demo.toml", r"^processors: (\d+)"]
    trio.run(main, *(sys.argv[1:] + defaults[len(sys.argv) - 1 :]))

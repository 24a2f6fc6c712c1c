#!/usr/bin/env python3
"""Use a machine from an asyncio program: qlaunch's part runs on trio, in a thread of its own.

from_asyncio.py [NAME] [REGEX]
"""

import asyncio
import sys

import trio

import qlaunch


async def in_the_machine(name: str, pattern: str) -> str:
    """Runs on trio."""
    async with qlaunch.launch(name, ephemeral=True) as vm:
        return (await vm.serial.expect(pattern, timeout_s=300))[0]


async def main(name: str, pattern: str) -> None:
    """Runs on asyncio, which goes on meanwhile."""
    machine = asyncio.create_task(asyncio.to_thread(trio.run, in_the_machine, name, pattern))
    ticks = 0
    while not machine.done():
        await asyncio.sleep(0.1)
        ticks += 1
    print(f"{name}: {machine.result()!r}, while asyncio went on: {ticks > 1}")


if __name__ == "__main__":
    asyncio.run(main(*(sys.argv[1:] + ["demo", "end of report"][len(sys.argv) - 1 :])))

#!/usr/bin/env python3
"""Boot a machine, wait for a line on its serial port, ask QEMU a question, end it.

ask.py [NAME] [REGEX]
"""

import sys

import trio

import qlaunch


async def main(name: str, pattern: str) -> None:
    """Print what QEMU says of itself once the guest has printed the line."""
    async with qlaunch.launch(name) as vm:
        seen = await vm.serial.expect(pattern, timeout_s=300)
        status = await vm.execute("query-status")
        print(f"{vm.name}: {seen[0]!r}; QEMU {vm.pid} is {status['status']}")


if __name__ == "__main__":
    trio.run(main, *(sys.argv[1:] + ["demo", "end of report"][len(sys.argv) - 1 :]))

"""A USB device of this host to a guest that runs, and back: `attach` and `detach`, against QEMU's own part by QMP."""

import socket
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.bench.row import Row, compared, take_turns, timed
from tests.bench.scratch import Scratch

# A BIOS that looks for a server on a network does nothing, and the tablet brings a controller for USB devices.
IDLE = """
[machine]
accel = "{accel}"
[firmware]
type = "bios"
[memory]
size = "64M"
[[network]]
boot_index = 0
[display]
tablet = true
"""


def usb(scratch: Scratch) -> Iterator[Row]:
    """Yield attach and detach, with the host's drivers and the journal; nothing where no device was named."""
    if not scratch.usb:
        sys.stderr.write("usb: takes --usb ID, a device that the host does not use, as root; not measured\n")
        return
    vendor, product = (int(part, 16) for part in scratch.usb.split(":"))
    device: dict[str, Any] = {"driver": "usb-host", "id": "by-hand", "vendorid": vendor, "productid": product}
    scratch.write("idle", IDLE)
    scratch.start("idle")
    try:
        with _Monitor(f"{scratch.folder}/run/idle/qmp-user.sock") as monitor:
            both = {
                "qlaunch": lambda: (
                    timed(lambda: scratch.qlaunch("attach", "idle", str(scratch.usb))),
                    timed(lambda: scratch.qlaunch("detach", "idle", str(scratch.usb))),
                ),
                "QMP": lambda: (
                    timed(lambda: monitor.ask("device_add", **device)),
                    timed(lambda: monitor.ask("device_del", until="DEVICE_DELETED", id="by-hand")),
                ),
            }
            times = take_turns(both, scratch.rounds)
    finally:
        scratch.qlaunch("down", "--force", "idle")
    for place, verb in enumerate(("attach", "detach")):
        yield from compared(
            f"`{verb}` of a USB device", {name: [pair[place] for pair in pairs] for name, pairs in times.items()}, {}
        )


class _Monitor:
    """The machine's second monitor, by hand."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def __enter__(self) -> "_Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, *, until: str = "", **arguments: Any) -> None:
        """Send a command, and wait for its answer and for the event that it leads to."""
        self._socket.sendall(msgspec.json.encode({"execute": command, "arguments": arguments}) + b"\n")
        answered = False
        while not answered or until:
            message = msgspec.json.decode(self._lines.readline(), type=dict[str, Any])
            if "error" in message:
                raise SystemExit(f"{command}: {message['error']['desc']}")
            answered = answered or "return" in message
            if message.get("event") == until:
                until = ""

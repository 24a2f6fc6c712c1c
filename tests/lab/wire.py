"""The far end of the emulated network card's wire: what leaves the card is seen here, and answered.

Source: IEEE 802.1Q (the tag after the addresses: 0x8100, priority, VLAN); RFC 826 (ARP); QEMU's ``net/dgram.c`` (a
datagram a frame).
"""

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

TAG = 0x8100
ARP = 0x0806
REQUEST, REPLY = b"\0\1", b"\0\2"
STATION = "02:00:00:00:00:fe"  # who answers at the far end


class Frame(NamedTuple):
    """An Ethernet frame. ``vlan`` and ``priority`` are None where it has no tag."""

    source: str
    destination: str
    vlan: int | None
    priority: int | None
    protocol: int
    payload: bytes


def parse(data: bytes) -> Frame:
    """Read a frame as it is on the wire."""
    kind = int.from_bytes(data[12:14], "big")
    tag = int.from_bytes(data[14:16], "big") if kind == TAG else None
    return Frame(
        source=data[6:12].hex(":"),
        destination=data[:6].hex(":"),
        vlan=None if tag is None else tag & 0xFFF,
        priority=None if tag is None else tag >> 13,
        protocol=kind if tag is None else int.from_bytes(data[16:18], "big"),
        payload=data[14:] if tag is None else data[18:],
    )


def answer(request: Frame) -> bytes | None:
    """The wire's bytes that answer an ARP request, in the VLAN in which it came; None for any other frame."""
    asked = request.payload
    if request.protocol != ARP or asked[6:8] != REQUEST:
        return None
    station, tag = bytes.fromhex(STATION.replace(":", "")), b""
    if request.vlan is not None and request.priority is not None:
        tag = TAG.to_bytes(2, "big") + (request.priority << 13 | request.vlan).to_bytes(2, "big")
    header = bytes.fromhex(request.source.replace(":", "")) + station + tag + ARP.to_bytes(2, "big")
    return header + asked[:6] + REPLY + station + asked[24:28] + asked[8:18]


class Wire:
    """Listens at the far end of a running lab's wire."""

    def __init__(self, folder: Path) -> None:
        self._path, self._near = folder / "wire-far.sock", folder / "wire-near.sock"
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))

    def frame_from(self, source: str, patience_s: float = 60.0) -> Frame:
        """The next frame that a card with this address sends, answered if it asks something. Raises TimeoutError."""
        end = time.monotonic() + patience_s
        while True:
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            frame = parse(self._socket.recv(65536))
            if frame.source == source:
                if reply := answer(frame):
                    self._socket.sendto(reply, str(self._near))
                return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)

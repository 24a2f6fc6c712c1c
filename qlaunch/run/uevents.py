"""The kernel's and udev's words that some device came or went. What came is looked for, not read out of them.

The kernel's word comes first; udev's, once it has made the names below /dev/input/by-id and has set who may open them.

Source: ``netlink(7)``, NETLINK_KOBJECT_UEVENT; the kernel's ``lib/kobject_uevent.c``, systemd's
``src/libsystemd/sd-device/device-monitor.c`` (group 1 is the kernel's, group 2 udev's).
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio

_FAMILY = 15
_GROUPS = 1 | 2
_LONGEST = 1 << 16


class Uevents:
    """Events of some subsystems from the moment that it was opened."""

    def __init__(self, events: socket.socket, subsystems: tuple[bytes, ...]) -> None:
        self._events = events
        self._words = tuple(b"SUBSYSTEM=" + name + b"\0" for name in subsystems)

    async def wait(self) -> None:
        """Wait for an event, and swallow those that have come with it."""
        while True:
            await trio.lowlevel.wait_readable(self._events)
            if self._has_news():
                return

    def _has_news(self) -> bool:
        news = False
        while True:
            try:
                message = self._events.recv(_LONGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return news
            except OSError:  # ENOBUFS: some were lost
                news = True
                continue
            news = news or any(word in message for word in self._words)


@contextmanager
def open_uevents(*subsystems: bytes) -> Iterator[Uevents]:
    """Listen until the end. Where the kernel lets nobody listen, nothing ever comes."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _FAMILY) as events:
        with suppress(OSError):
            events.bind((0, _GROUPS))
        yield Uevents(events, subsystems)

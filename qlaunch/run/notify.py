"""Tell systemd how a machine comes up and goes down, if it was systemd that started it.

Source: ``sd_notify(3)``, "Standalone Implementations": one datagram of lines to the socket in $NOTIFY_SOCKET, whose
name begins with ``@`` where it is in the abstract namespace; ``sd_watchdog_enabled(3)``.
"""

import os
import socket
from contextlib import suppress

import msgspec

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever started this supervisor and wants to hear of it, if anybody.

    ``watchdog_s`` is how long the supervisor may be silent, in seconds; 0 is for ever.
    """

    address: str = ""
    watchdog_s: float = 0

    @classmethod
    def take(cls) -> "ServiceManager":
        """Read who it is, once: what the supervisor starts is not to speak in its name."""
        address, microseconds, pid = (os.environ.pop(name, "") for name in _VARIABLES)
        is_asked = microseconds.isdigit() and pid in ("", str(os.getpid()))
        return cls(
            address=address if address.startswith(("/", "@")) else "",
            watchdog_s=int(microseconds) / 1e6 if is_asked else 0,
        )

    def tell(self, **states: str) -> bool:
        """Send ``READY="1"``, ``STATUS="…"``, ``STOPPING="1"`` and the like; whether anybody was told."""
        if not self.address:
            return False
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        # A line ends a state: what is said about a machine must not become another one.
        lines = "\n".join(f"{name}={' '.join(text.splitlines())}" for name, text in states.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as teller:
            teller.connect(address)
            teller.send(lines.encode(errors="replace"))
            return True
        return False

    def ready(self, sentence: str) -> None:
        """Say that the guest runs, and who supervises it: after a take-over that is another process than before."""
        self.tell(READY="1", MAINPID=str(os.getpid()), STATUS=sentence)

    def status(self, sentence: str) -> None:
        """Say what goes on, for ``systemctl status``."""
        self.tell(STATUS=sentence)

    def stopping(self) -> None:
        """Say that the guest is being ended."""
        self.tell(STOPPING="1")

    async def keep_watchdog_quiet(self) -> None:
        """Say twice in each period that the supervisor lives, for as long as its event loop goes round."""
        import trio  # noqa: PLC0415 - this module is needed before trio's import, which takes 80 ms

        while self.watchdog_s and self.address:
            self.tell(WATCHDOG="1")  # one that is lost is not the last
            await trio.sleep(self.watchdog_s / 2)

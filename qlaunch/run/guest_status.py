"""How a command in the guest does.

Source: QEMU's ``qga/qapi-schema.json`` (guest-exec-status).
"""

import msgspec

from qlaunch.run.guest_agent import Turn


class Status(msgspec.Struct, rename="kebab"):
    """What guest-exec-status says."""

    exited: bool
    exitcode: int | None = None
    signal: int | None = None
    out_data: str = ""
    err_data: str = ""

    @property
    def exit_status(self) -> int:
        """The command's own, as a shell would give it."""
        return 128 + self.signal if self.signal else self.exitcode or 0


def read_status(turn: Turn, pid: int) -> Status:
    """Ask how a command does. Once it has told the end, the agent has forgotten it."""
    return msgspec.convert(turn.ask("guest-exec-status", {"pid": pid}), Status)

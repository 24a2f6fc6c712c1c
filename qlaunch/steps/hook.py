"""A pair of commands of the user's: one at the start, one at the end. What they change nobody but the user knows.

So there is nothing to read. The second command is run whenever the first one may have been begun, also where that one
failed or its supervisor was killed, and it is run again if it failed: it must bear that.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

START, STOP = "start", "stop"


class Commands(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a claim holds, as JSON. ``log`` is the file that gets what the commands print."""

    start: list[str] = []
    stop: list[str] = []
    user: str | None = None
    environment: dict[str, str] = {}
    timeout_s: float = 10
    log: str | None = None

    def claim(self) -> str:
        """Give the claim that says this."""
        return msgspec.json.encode(self).decode()


class Hook(Kind):
    """A key is ``hook NUMBER of MACHINE``, a value ``start`` or ``stop`` and the commands."""

    name = "hook"
    exclusive = True  # so that it runs without the lock: it may be a qlaunch that has hooks of its own
    observable = False

    def read(self, host: "Host", key: str) -> None:
        """Give nothing: see above."""

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Run the command of that moment. Raises HostError when it fails or takes too long."""
        moment, _, claim = (value or "").partition(" ")
        commands = msgspec.json.decode(claim, type=Commands)
        argv = commands.start if moment == START else commands.stop
        if argv:
            environment = {**commands.environment, "QLAUNCH_MACHINE": key.rpartition(" of ")[2]}
            host.run(
                argv,
                timeout_s=commands.timeout_s,
                user=commands.user,
                environment={**environment, "QLAUNCH_HOOK": moment},
                log=commands.log,
            )

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:  # noqa: ARG002 - as Kind
        """Give the command of the start."""
        return f"{START} {claims[0]}"

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:  # noqa: ARG002 - as Kind
        """Give the command of the end, always."""
        return f"{STOP} {claim}"

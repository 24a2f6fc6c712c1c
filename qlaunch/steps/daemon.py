"""A helper process that machines share, such as the DHCP server of a bridge: there with the first, gone with the last.

A key is its command line, a value ``running``. It is known by that command line alone, so neither a pid file nor a
parent is needed, and one that outlived a killed supervisor is found again. It is a program that comes back once it
serves, and works on in the background: what it has to say against it, it says before.
"""

import shlex
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

RUNNING = "running"
_START_S = 20.0


class Daemon(Kind):
    """One such process."""

    name = "daemon"

    def read(self, host: "Host", key: str) -> str | None:
        """Give whether it runs."""
        return RUNNING if host.processes(shlex.split(key)) else None

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Start it, or end it and wait for that. Raises HostError with what it said."""
        argv = shlex.split(key)
        if value == RUNNING:
            try:
                host.run(argv, timeout_s=_START_S)
            except HostError as error:  # the whole command line says less than the program's name
                raise HostError(error.message.replace(" ".join(argv), argv[0]), error.hint) from error
            return
        for pid in host.processes(argv):
            host.end_process(pid, argv)

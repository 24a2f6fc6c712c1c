"""A helper process that lives with the machine: written down before it is started, so that none is ever forgotten.

It is started, watched and ended by the supervisor (``qlaunch.run.sidecars``). Here is only the way back, for helpers
whose supervisor was killed: they are known by a mark in their environment.
"""

from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

RUNNING = "running"


class Process(Kind):
    """A key is the mark, ``QLAUNCH_SIDECAR=/run/qlaunch/NAME/HELPER``; a value ``running``, or nothing."""

    name = "process"
    exclusive = True
    observable = False

    def read(self, host: "Host", key: str) -> str | None:
        """Look whether any process carries the mark."""
        return RUNNING if host.marked(key) else None

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """End what carries the mark. To start it is the supervisor's. Raises HostError for what does not end."""
        if value is None:
            left = host.end_marked(key)
            if left:
                numbers = ", ".join(map(str, left))
                raise HostError(f"process {numbers} ({key}) does not end on SIGKILL", "the kernel holds it; see: ps -l")

"""Whether a unit of systemd runs: stopped while a machine needs what it holds, started again by the last of them.

Source: ``systemd.unit(5)`` (``display-manager.service`` is the alias of whichever is installed);
``org.freedesktop.login1(5)``, sessions. A desktop may outlive the display manager that started it, as KDE's on Wayland.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.host.display_manager import DISPLAY_MANAGER
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

ACTIVE, INACTIVE = "active", "inactive"
_RESTLESS = ("activating", "deactivating", "reloading", "refreshing")
_SETTLED_S = 30.0
_SESSIONS_S = 15.0


class Service(Kind):
    """A key is the unit's name, or ``USER/UNIT``; a value ``active`` or ``inactive``, which one that has failed is."""

    name = "service"

    def read(self, host: "Host", key: str) -> str | None:
        """Give whether it runs; None for a unit of a user who is not logged in. Raises HostError for an unknown one."""
        state = host.systemd.state(key)
        if state in _RESTLESS:
            host.wait(lambda: host.systemd.state(key) not in _RESTLESS, _SETTLED_S)
            state = host.systemd.state(key)
        if state == "missing":
            raise HostError(f"there is no unit {key}", "see: systemctl list-unit-files")
        if state == "absent":
            return None
        # One that does not come to rest runs, or has something that runs: to stop it is to wait for it.
        return ACTIVE if state == "active" or state in _RESTLESS else INACTIVE

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Start or stop it, and wait until that is done. Raises HostError."""
        if value == ACTIVE:
            host.systemd.start(key)
        elif value == INACTIVE:
            host.systemd.stop(key)
            if key == DISPLAY_MANAGER or DISPLAY_MANAGER in host.systemd.names(key):
                _await_sessions(host, key)

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Stop it if one machine wants it stopped; where nobody is logged in, there is nothing to stop."""
        return claims[0] if original else None


def _await_sessions(host: "Host", unit: str) -> None:
    if not host.wait(lambda: not host.systemd.graphical_sessions(), _SESSIONS_S):
        left = ", ".join(host.systemd.graphical_sessions())
        if left:
            message = f"{unit} has stopped, but {left} goes on and may hold the graphics card"
            raise HostError(message, "log out first, or end it: loginctl terminate-session NUMBER")

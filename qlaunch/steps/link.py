"""Whether a network link is up."""

from typing import TYPE_CHECKING

from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host


class Link(Kind):
    """A key is the link's name, a value ``up`` or ``down``."""

    name = "link"

    def read(self, host: "Host", key: str) -> str | None:
        """Give how an administrator set it, not whether there is a carrier."""
        return host.netlink.state(key)

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Set it. Raises OSError."""
        host.netlink.set_state(key, value or "down")

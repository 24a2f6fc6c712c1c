"""Whether a kernel module is loaded.

Source: ``modprobe(8)``; the kernel's ``Documentation/ABI/stable/sysfs-module``.
"""

from typing import TYPE_CHECKING

from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

_PATIENCE_S = 60.0


class Module(Kind):
    """A key is the module's name, a value ``loaded`` or ``unloaded``."""

    name = "module"

    def read(self, host: "Host", key: str) -> str | None:
        """Look whether it is there."""
        return "loaded" if host.exists(f"/sys/module/{key.replace('-', '_')}") else "unloaded"

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Load or unload it. Raises HostError, with modprobe's own words about who uses it."""
        host.run(["modprobe", *([] if value == "loaded" else ["-r"]), key], timeout_s=_PATIENCE_S)

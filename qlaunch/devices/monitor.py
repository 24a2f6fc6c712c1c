"""The two QMP sockets: one for the supervisor and one for people, since QMP serves one client at a time.

Source: QEMU's ``docs/interop/qmp-spec.rst``, ``qemu-options.hx`` (-mon).
"""

from collections.abc import Iterator

from qlaunch.devices.arg import Arg, keyval
from qlaunch.devices.site import Site

SUPERVISOR = "qmp"
PEOPLE = "qmp-user"


def monitors(site: Site) -> Iterator[Arg]:
    """Yield both sockets."""
    for name in (SUPERVISOR, PEOPLE):
        yield keyval("chardev", "socket", id=f"{name}-chr", path=site.socket(name), server=True, wait=False)
        yield keyval("mon", chardev=f"{name}-chr", id=name, mode="control")

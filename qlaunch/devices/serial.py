"""``[serial]``: the guest's first serial port.

Source: ``qapi/char.json`` (ChardevSocket, logfile).
"""

from collections.abc import Iterator

from qlaunch.devices.arg import Arg, device, keyval
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site


class Serial(Section, frozen=True, kw_only=True):
    """The serial console: a socket, and a log of all that the guest ever printed there."""

    enabled: bool = True
    log: bool = True

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the port."""
        del index
        if self.enabled:
            log = f"{site.state}/serial.log" if self.log else None
            yield keyval(
                "chardev",
                "socket",
                id="serial0-chr",
                path=site.socket("serial"),
                server=True,
                wait=False,
                logfile=log,
                logappend=False if log else None,
            )
            yield device("isa-serial", "serial0", chardev="serial0-chr", index=0)

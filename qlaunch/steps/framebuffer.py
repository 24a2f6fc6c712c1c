"""Framebuffers that the firmware left: a platform device that draws into a card's memory before any driver of the card.

As long as one is bound, the card's memory is not to be had: "BAR 0: can't reserve". The key is the driver and its
device, ``efi-framebuffer/efi-framebuffer.0``; the value is ``bound`` or ``unbound``.

Source: the kernel's ``drivers/firmware/sysfb.c`` and ``drivers/video/aperture.c``: the first real driver of the card
unregisters the device for good, so one that has gone is nothing to bring back.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

_PLATFORM = "/sys/bus/platform"
# Letting go waits for whoever draws at this moment.
_DEADLINE_S = 10.0


class Framebuffer(Kind):
    """See the module."""

    name = "framebuffer"

    def read(self, host: "Host", key: str) -> str | None:
        """Give ``bound`` or ``unbound``; None where there is no such device, or not any more."""
        _, _, device = key.partition("/")
        if not host.exists(f"{_PLATFORM}/devices/{device}"):
            return None
        return "bound" if host.exists(f"{_PLATFORM}/drivers/{key}") else "unbound"

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Bind or unbind it. Raises OSError."""
        if self.read(host, key) in (None, value):
            return
        driver, _, device = key.partition("/")
        file = "bind" if value == "bound" else "unbind"
        host.write(f"{_PLATFORM}/drivers/{driver}/{file}", device, deadline_s=_DEADLINE_S)

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Leave it where it is gone: the card has a driver of its own now."""
        return None if current is None else super().settle(current, original, claim, others)

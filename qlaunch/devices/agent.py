"""``[agent]``: the channel of the QEMU guest agent.

Source: QEMU's ``docs/interop/qemu-ga.rst``: the agent looks for a port named org.qemu.guest_agent.0.
"""

from collections.abc import Iterator

from qlaunch.devices.arg import Arg, device, keyval
from qlaunch.devices.section import Section
from qlaunch.devices.site import Controller, Site


class Agent(Section, frozen=True, kw_only=True):
    """The guest agent's channel."""

    enabled: bool = True

    def needs(self) -> frozenset[Controller]:
        """The channel is a port of virtio-serial."""
        return frozenset({"virtio-serial"}) if self.enabled else frozenset()

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the channel."""
        del index
        if self.enabled:
            yield keyval("chardev", "socket", id="agent0-chr", path=site.socket("agent"), server=True, wait=False)
            channel = {"chardev": "agent0-chr", "name": "org.qemu.guest_agent.0"}
            yield device("virtserialport", "agent0", bus="vserial0.0", nr=2, **channel)

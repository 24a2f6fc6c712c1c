"""``[vsock]``: sockets between the guest and programs of the host, without a network.

Source: ``hw/virtio/vhost-vsock-pci.c``; vsock(7): 0 to 2 are the hypervisor, this machine and the host.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from qlaunch.devices.arg import Arg, device
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.guest import GuestAddress


class Vsock(Section, frozen=True, kw_only=True):
    """The guest's context id; two running machines cannot have the same."""

    cid: Annotated[int, msgspec.Meta(ge=3, le=0xFFFFFFFE)]
    address: GuestAddress | None = None

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the device."""
        place = site.built_in("0x12", "0x9", self.address)
        yield device("vhost-vsock-pci", f"vsock{index}", **{"guest-cid": self.cid}, **place)

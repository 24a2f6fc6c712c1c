"""``[[shmem]]``: memory that the guest shares with programs of the host, as a PCI device; Scream is one such program.

Source: QEMU's ``docs/system/devices/ivshmem.rst``; ``hw/misc/ivshmem.c`` (the size must be a power of two).
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from qlaunch.devices.arg import Arg, device, qom_object
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.guest import GuestAddress
from qlaunch.values.size import Size

FileName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$", description="a file name, no slash")
]


class Shmem(Section, frozen=True, kw_only=True):
    """A file below /dev/shm, of which QEMU and the programs of the host see the same bytes."""

    name: FileName
    size: Size
    address: GuestAddress

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the memory and the device."""
        path = f"/dev/shm/{self.name}"  # noqa: S108 - the programs look there
        yield qom_object(
            "memory-backend-file", f"shmem{index}-mem", size=int(self.size), share=True, **{"mem-path": path}
        )
        yield device("ivshmem-plain", f"shmem{index}", memdev=f"shmem{index}-mem", **site.at(self.address))

"""``[[share]]``: folders of the host that the guest mounts.

Source: QEMU's ``docs/system/devices/vhost-user.rst``, ``hw/virtio/vhost-user-fs.c``; virtiofs needs shared memory,
which QEMU itself does not check.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, device, keyval
from qlaunch.devices.disk import PlaceNumber
from qlaunch.devices.ports import Port
from qlaunch.devices.section import Section
from qlaunch.devices.site import Controller, Site
from qlaunch.values.guest import GuestAddress

_MODELS = {"mapped": "mapped-xattr", "passthrough": "passthrough", "none": "none"}


class Share(Section, frozen=True, kw_only=True):
    """One folder, under a tag by which the guest mounts it."""

    path: str
    tag: Annotated[str, msgspec.Meta(min_length=1, max_length=35)]  # 36 bytes with its end in virtio_fs_config
    type: Literal["virtiofs", "9p"] = "virtiofs"
    read_only: bool = False
    access: Literal["mapped", "passthrough", "none"] = "mapped"  # who owns files that a guest makes over 9p
    port: PlaceNumber | None = None
    address: GuestAddress | None = None

    def needs(self) -> frozenset[Controller]:
        """Virtiofs reads and writes the guest's memory from another process."""
        return frozenset({"shared-memory"}) if self.type == "virtiofs" else frozenset()

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the connection to virtiofsd, or QEMU's own 9p server."""
        place = site.on(Port("share", index if self.port is None else self.port), address=self.address)
        if self.type == "virtiofs":
            yield keyval("chardev", "socket", id=f"share{index}-chr", path=site.socket(f"share{index}"))
            queue = {"queue-size": 1024}
            yield device(
                "vhost-user-fs-pci", f"share{index}", chardev=f"share{index}-chr", tag=self.tag, **queue, **place
            )
            return
        local = {"id": f"share{index}-fs", "path": self.path, "security_model": _MODELS[self.access]}
        yield keyval("fsdev", "local", **local, readonly=True if self.read_only else None)
        yield device("virtio-9p-pci", f"share{index}", fsdev=f"share{index}-fs", mount_tag=self.tag, **place)

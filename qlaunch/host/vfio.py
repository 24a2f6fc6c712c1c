"""The two ways by which a program gets at a VFIO device, and which of them this kernel has.

The older one is a container of groups: ``/dev/vfio/vfio`` and ``/dev/vfio/GROUP``. The newer one is iommufd:
``/dev/iommu`` and a node for each device, ``/dev/vfio/devices/vfioN``. A kernel may have either, or both.

Source: the kernel's ``Documentation/driver-api/vfio.rst`` (IOMMUFD and vfio_iommu_type1; VFIO Device cdev),
``drivers/vfio/Kconfig`` (VFIO_CONTAINER, VFIO_DEVICE_CDEV); QEMU's ``docs/devel/vfio-iommufd.rst``.
"""

from functools import cached_property

from qlaunch.host.kernel import find_module
from qlaunch.host.tree import Tree

CONTAINER = "/dev/vfio/vfio"
IOMMU = "/dev/iommu"
_CDEV = "CONFIG_VFIO_DEVICE_CDEV"


class VfioFacts:
    """What this kernel has. None is what cannot be known here."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    @cached_property
    def container(self) -> bool | None:
        """Whether devices can be had by groups."""
        return self._has(CONTAINER, "vfio_iommu_type1")

    @cached_property
    def iommufd(self) -> bool | None:
        """Whether devices can be had one by one; a kernel with /dev/iommu may still have been built without."""
        has = self._has(IOMMU, "iommufd")
        if not has or any(name for name in self._tree.listdir("/dev/vfio/devices")):
            return has
        for path in (f"/boot/config-{self.release}", f"/lib/modules/{self.release}/config"):
            lines = self._tree.distilled(path, lambda line: line if _CDEV in line else None)
            if lines:
                return f"{_CDEV}=y" in lines
        return has

    @cached_property
    def release(self) -> str:
        """The kernel's own name."""
        return self._tree.read("/proc/sys/kernel/osrelease") or ""

    def _has(self, node: str, module: str) -> bool | None:
        if self._tree.exists(node) or find_module(self._tree, module, self.release):
            return True
        folders = (f"{folder}/{self.release}" for folder in ("/lib/modules", "/usr/lib/modules"))
        return False if any(map(self._tree.exists, folders)) else None

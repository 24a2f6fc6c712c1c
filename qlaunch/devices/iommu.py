"""The object by which QEMU gets at devices one by one, where that is by iommufd and not by the groups of a container.

Source: QEMU's ``docs/devel/vfio-iommufd.rst``, ``qapi/qom.json`` (iommufd, since 9.0).
"""

from collections.abc import Iterator

from qlaunch.devices.arg import Arg, qom_object
from qlaunch.devices.site import IOMMUFD, Site


def iommus(site: Site) -> Iterator[Arg]:
    """Yield it, where a device names it."""
    if site.iommufd:
        yield qom_object("iommufd", IOMMUFD)

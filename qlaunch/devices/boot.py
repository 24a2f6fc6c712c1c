"""``[boot]``: a kernel started directly, or the built-in probe, instead of a disk.

Source: ``qemu-options.hx`` (-kernel, -initrd, -append, -boot), ``block/vvfat.c``.
"""

from collections.abc import Iterator
from typing import Literal

from qlaunch.devices.arg import Arg, blockdev, device, keyval, raw
from qlaunch.devices.ports import fixed
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.probe import FOLDER


class Boot(Section, frozen=True, kw_only=True):
    """What is started. The probe is a UEFI program of qlaunch's own that reports what a guest can see."""

    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None
    app: Literal["probe"] | None = None
    menu: bool = False

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the kernel or the probe's disk."""
        del index
        yield keyval("boot", strict=True, menu=self.menu)
        for flag, word in (("kernel", self.kernel), ("initrd", self.initrd), ("append", self.cmdline)):
            if word is not None:
                yield raw(flag, word)
        if self.app:
            yield blockdev("vvfat", "probe-fat", dir=FOLDER, **{"fat-type": 16, "read-only": True})
            yield device("virtio-blk-pci", "probe0", drive="probe-fat", bootindex=0, **site.on(fixed("probe")))

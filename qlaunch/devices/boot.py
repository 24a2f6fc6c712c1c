"""``[boot]``: a kernel started directly, or the built-in probe, instead of a disk.

Source: ``qemu-options.hx`` (-kernel, -initrd, -append, -boot), ``block/vvfat.c``.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, blockdev, device, keyval, raw
from qlaunch.devices.ports import fixed
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.probe import FOLDERS


class Boot(Section, frozen=True, kw_only=True):
    """What is started. The probe is a UEFI program of qlaunch's own that reports what a guest can see.

    ``jitter`` is the one that `qlaunch jitter` measures with.
    """

    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None
    app: Literal["probe", "jitter"] | None = None
    menu: bool = False
    menu_timeout_ms: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    reboot_timeout_ms: Annotated[int, msgspec.Meta(ge=-1, le=65535)] | None = None

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the kernel or the probe's disk."""
        del index
        timeouts: dict[str, Value] = {"splash-time": self.menu_timeout_ms, "reboot-timeout": self.reboot_timeout_ms}
        yield keyval("boot", strict=True, menu=self.menu, **timeouts)
        for flag, word in (("kernel", self.kernel), ("initrd", self.initrd), ("append", self.cmdline)):
            if word is not None:
                yield raw(flag, word)
        if self.app:
            yield blockdev("vvfat", "probe-fat", dir=FOLDERS[self.app], **{"fat-type": 16, "read-only": True})
            yield device("virtio-blk-pci", "probe0", drive="probe-fat", bootindex=0, **site.on(fixed("probe")))

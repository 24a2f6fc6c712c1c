"""``[[iothread]]``: threads that serve disks, apart from the emulator's own.

Source: ``qapi/qom.json`` (IothreadProperties).
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from qlaunch.devices.arg import Arg, qom_object
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.cpus import CpuSet

# An id of QEMU begins with a letter (util/id.c); a thread's name shows 12 characters of it beside "IO ".
Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,30}$",
        description="at most 31 letters, digits, '.', '_' and '-', the first a letter",
    ),
]


class Iothread(Section, frozen=True, kw_only=True):
    """One thread, and the host CPUs it may run on."""

    name: Name
    pin: CpuSet | None = None

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the thread's object."""
        del site, index
        yield qom_object("iothread", self.name)

"""``[[iothread]]``: threads that serve disks, apart from the emulator's own.

Source: ``qapi/qom.json`` (IothreadProperties).
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from qlaunch.devices.arg import Arg, Value, qom_object
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
    poll_max_ns: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)] | None = None
    poll_grow: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)] | None = None
    poll_shrink: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)] | None = None

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the thread's object."""
        del site, index
        poll: dict[str, Value] = {
            "poll-max-ns": self.poll_max_ns,
            "poll-grow": self.poll_grow,
            "poll-shrink": self.poll_shrink,
        }
        yield qom_object("iothread", self.name, **poll)

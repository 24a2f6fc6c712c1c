"""Files of the kernel whose text is a setting: below /sys, such as parameters of modules, and below /proc/sys.

Source: the kernel's ``Documentation/filesystems/sysfs.rst``; ``mm/khugepaged.c``; ``kernel/params.c`` (a bool reads
Y or N, whatever was written); files with a choice show all of it, with brackets around what is chosen:
``always [madvise] never``.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

_CHOSEN = re.compile(r"\[([^\]]+)\]")
_BOOLS = {"1": "Y", "y": "Y", "on": "Y", "0": "N", "n": "N", "off": "N"}


class Sysfs(Kind):
    """A file whose text is read and written as it stands."""

    name = "sysfs"
    # For a writer that is killed, khugepaged is not started though ``enabled`` has the text: start_stop_khugepaged().
    reads_early = True

    def read(self, host: "Host", key: str) -> str | None:
        """Give the text, or of a choice what is chosen."""
        text = host.read(key)
        chosen = _CHOSEN.search(text or "")
        return chosen[1] if chosen else text and " ".join(text.split())  # /proc/sys has tabs between numbers

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Give what is claimed, as the kernel will print it."""
        claim = " ".join(claims[0].split())
        return _BOOLS.get(claim.lower(), claim) if original in ("Y", "N") else claim


class Governor(Sysfs):
    """The governor of a cpufreq policy, or its energy preference."""

    name = "governor"

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Set it. Raises HostError for one that the driver does not have, and OSError."""
        folder, _, name = key.rpartition("/")
        listed = {"scaling_governor": "scaling_available_governors"}.get(
            name, "energy_performance_available_preferences"
        )
        known = (host.read(f"{folder}/{listed}") or "").split()
        if known and value not in known:
            raise HostError(f"{key} cannot be {value!r}", f"it can be: {', '.join(known)}")
        super().write(host, key, value)


class Vtconsole(Sysfs):
    """Whether a console of virtual terminals is bound to its driver: 1 or 0."""

    name = "vtconsole"
    reads_early = False

"""``[tpm]``: a trusted platform module, emulated by swtpm beside QEMU.

Source: QEMU's ``docs/specs/tpm.rst``.
"""

from collections.abc import Iterator
from typing import Literal

from qlaunch.devices.arg import Arg, device, keyval
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site


class Tpm(Section, frozen=True, kw_only=True):
    """A TPM. ``crb`` is what Windows 11 expects, ``tis`` suits older guests."""

    version: Literal["2.0", "1.2"] = "2.0"
    model: Literal["crb", "tis"] = "crb"

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the connection to swtpm and the device."""
        yield keyval("chardev", "socket", id=f"tpm{index}-chr", path=site.socket("swtpm"))
        yield keyval("tpmdev", "emulator", id=f"tpm{index}-dev", chardev=f"tpm{index}-chr")
        yield device(f"tpm-{self.model}", f"tpm{index}", tpmdev=f"tpm{index}-dev")

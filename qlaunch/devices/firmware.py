"""``[firmware]``: UEFI from a pair of flash files, or BIOS, and what the guest reads in its SMBIOS tables.

Source: QEMU's ``docs/interop/firmware.json`` (pairs), ``hw/block/pflash_cfi01.c`` (property secure),
``hw/smbios/smbios.c``.
"""

from collections.abc import Iterator
from typing import Literal

from qlaunch.devices.arg import Arg, blockdev, keyval, raw
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site


class Smbios(Section, frozen=True, kw_only=True):
    """Strings for the guest's SMBIOS tables, by table; keys are those of QEMU's ``-smbios``."""

    bios: dict[str, str] = {}
    system: dict[str, str] = {}
    baseboard: dict[str, str] = {}
    chassis: dict[str, str] = {}
    oem_strings: list[str] = []

    def by_type(self) -> dict[int, dict[str, str]]:
        """Give the tables by their SMBIOS type number, the empty ones left out."""
        tables = {0: self.bios, 1: self.system, 2: self.baseboard, 3: self.chassis}
        return {number: strings for number, strings in tables.items() if strings}


class Firmware(Section, frozen=True, kw_only=True):
    """The firmware. Without paths the pair is found through the firmware descriptors of the host."""

    type: Literal["uefi", "bios"] = "uefi"
    code: str | None = None
    vars_template: str | None = None
    vars: str | None = None
    rom: str | None = None  # of type "bios": another file than QEMU's own
    secure_boot: bool = False
    smbios: Literal["host"] | Smbios | None = None
    debug_log: str | None = None

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the flash pair and the SMBIOS strings."""
        del index
        if files := site.firmware:
            yield from _flash("fw-code", files.code, files.code_format, read_only=True)
            yield from _flash("fw-vars", files.vars, files.vars_format, read_only=False)
            if files.needs_smm:
                yield keyval("global", driver="cfi.pflash01", property="secure", value=True)
        if self.rom:
            yield raw("bios", self.rom)
        tables = site.host_smbios if self.smbios == "host" else self.smbios.by_type() if self.smbios else {}
        for number, strings in sorted(tables.items()):
            yield keyval("smbios", **{"type": str(number), **strings})
        if isinstance(self.smbios, Smbios):
            for text in self.smbios.oem_strings:
                yield keyval("smbios", type="11", value=text)
        if self.debug_log:
            yield keyval("chardev", "file", id="fwdbg0", path=self.debug_log)
            yield Arg("device", {"driver": "isa-debugcon", "iobase": 0x402, "chardev": "fwdbg0"}, json=True)


def _flash(node: str, path: str, image_format: str, *, read_only: bool) -> Iterator[Arg]:
    """Yield a flash node. A raw file needs no format layer; a qcow2 one (Fedora's builds) needs its own."""
    if image_format == "raw":
        yield blockdev("file", node, filename=path, **{"read-only": read_only})
        return
    yield blockdev("file", f"{node}-file", filename=path, **{"read-only": read_only})
    yield blockdev(image_format, node, file=f"{node}-file", **{"read-only": read_only})

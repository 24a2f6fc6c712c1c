"""PCI option ROMs: the images inside a file, whether they are whole, and for which card.

A ROM is a chain of images, each with a header of its own. What vendors' flash tools save has more before and after it.

Owns: reading bytes. Must not: open a file or know a host.

Source: PCI Firmware Specification 3.3, section 5.1 (0xAA55, the PCI data structure, code types, the checksum of what a
BIOS runs); UEFI Specification 2.10, section 14.4.2 (0x0EF1, compression, machine type).
"""

from collections.abc import Iterator

import msgspec

_SIGNATURE = b"\x55\xaa"
_UNIT = 512
_CODE_TYPES = {0: "BIOS", 1: "Open Firmware", 2: "PA-RISC", 3: "UEFI"}
_EFI_SIGNATURE = 0x0EF1
_MACHINES = {0x014C: "IA-32", 0x8664: "x86-64", 0xAA64: "AArch64"}
_LAST = 0x80


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a ROM. Offsets and lengths are bytes."""

    offset: int
    length: int
    vendor: str
    device: str
    code: str
    """``BIOS``, ``UEFI``, or the code type's number."""
    machine: str = ""
    """Of a UEFI image, the processor that it is for."""
    last: bool = False
    whole: bool = True
    """Whether all of it is in the file."""
    checksum: int = 0
    """The sum of its bytes, modulo 256: 0 for what a BIOS may run."""

    @property
    def id(self) -> str:
        """Vendor and device, ``1002:73bf``."""
        return f"{self.vendor}:{self.device}"


def read_rom(data: bytes) -> list[Image]:
    """Give the images of the first chain that a file holds, wherever it begins; none where there is none."""
    start = data.find(_SIGNATURE)
    while start >= 0:
        chain = list(_chain(data, start))
        if chain:
            return chain
        start = data.find(_SIGNATURE, start + 1)
    return []


def trimmed(data: bytes, images: list[Image]) -> bytes:
    """Give the chain alone, without what is before and after it."""
    return data[images[0].offset : images[-1].offset + images[-1].length]


def faults(images: list[Image], wanted: str | None = None) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong; ``wanted`` is the card's ``vendor:device``."""
    for number, image in enumerate(images, 1):
        name = f"image {number} ({image.code})"
        if not image.whole:
            yield f"{name} is cut off: it has {image.length} bytes, and the file ends before that"
        elif image.code == "BIOS" and image.checksum:
            yield f"the checksum of {name} is {image.checksum:#04x} and not 0: it was changed, or read badly"
        if wanted and image.id != wanted:
            yield f"{name} is for {image.id}, and the card is {wanted}"
    if images and not images[-1].last:
        yield "the last image is missing: the one before says that another follows"


def _chain(data: bytes, start: int) -> Iterator[Image]:
    while True:
        image = _image(data, start)
        if image is None:
            return
        yield image
        if image.last or not image.whole:
            return
        start += image.length


def _image(data: bytes, start: int) -> Image | None:
    header = data[start : start + 0x1A]
    if len(header) < 0x1A or header[:2] != _SIGNATURE:
        return None
    place = start + int.from_bytes(header[0x18:0x1A], "little")
    about = data[place : place + 0x18]
    if len(about) < 0x18 or about[:4] != b"PCIR":
        return None
    length = int.from_bytes(about[0x10:0x12], "little") * _UNIT
    if not length:
        return None
    body = data[start : start + length]
    is_uefi = about[0x14] == 3 and int.from_bytes(header[4:8], "little") == _EFI_SIGNATURE
    machine = int.from_bytes(header[0x0A:0x0C], "little")
    return Image(
        offset=start,
        length=length,
        vendor=f"{int.from_bytes(about[4:6], 'little'):04x}",
        device=f"{int.from_bytes(about[6:8], 'little'):04x}",
        code=_CODE_TYPES.get(about[0x14], f"code type {about[0x14]}"),
        machine=_MACHINES.get(machine, f"{machine:#06x}") if is_uefi else "",
        last=bool(about[0x15] & _LAST),
        whole=len(body) == length,
        checksum=sum(body) % 256,
    )

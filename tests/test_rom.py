"""Option ROMs: built here by the specification, found behind what vendors put before them, and judged."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from qlaunch.host.rom import faults, read_rom, trimmed
from tests.live import Desk


def image(code: int = 0, *, device: int = 0x73BF, units: int = 4, last: bool = True) -> bytes:
    """Build one image: header, PCI data structure, and a last byte that makes the sum 0."""
    body = bytearray(units * 512)
    body[0:2] = b"\x55\xaa"
    body[2] = units
    if code == 3:
        body[4:8] = (0x0EF1).to_bytes(4, "little")
        body[0x0A:0x0C] = (0x8664).to_bytes(2, "little")
    body[0x18:0x1A] = (0x40).to_bytes(2, "little")
    body[0x40:0x44] = b"PCIR"
    body[0x44:0x46] = (0x1002).to_bytes(2, "little")
    body[0x46:0x48] = device.to_bytes(2, "little")
    body[0x50:0x52] = units.to_bytes(2, "little")
    body[0x54] = code
    body[0x55] = 0x80 if last else 0
    body[-1] = -sum(body) % 256
    return bytes(body)


ROM = image(last=False) + image(3)


def test_both_images_are_found_with_what_they_are_for() -> None:
    bios, uefi = read_rom(ROM)
    assert (bios.code, bios.id, bios.offset, bios.length, bios.checksum) == ("BIOS", "1002:73bf", 0, 2048, 0)
    assert (uefi.code, uefi.machine, uefi.offset, uefi.last) == ("UEFI", "x86-64", 2048, True)
    assert not list(faults([bios, uefi], "1002:73bf"))


@given(st.binary(max_size=3000).filter(lambda data: b"\x55\xaa" not in data + b"\x55"), st.binary(max_size=600))
def test_what_is_before_and_after_it_is_taken_off(before: bytes, after: bytes) -> None:
    data = before + ROM + after
    assert trimmed(data, read_rom(data)) == ROM


def test_a_signature_without_a_structure_is_passed_over() -> None:
    assert trimmed(b"\x55\xaa\x10 nothing here" + ROM, read_rom(b"\x55\xaa\x10 nothing here" + ROM)) == ROM


@pytest.mark.parametrize(
    ("data", "wanted", "fault"),
    [
        (ROM[:-1], None, "image 2 (UEFI) is cut off: it has 2048 bytes, and the file ends before that"),
        (image(last=False), None, "the last image is missing: the one before says that another follows"),
        (ROM, "1002:744c", "image 1 (BIOS) is for 1002:73bf, and the card is 1002:744c"),
        (ROM[:100] + b"\x01" + ROM[101:], None, "the checksum of image 1 (BIOS) is 0x01 and not 0"),
    ],
)
def test_each_fault_is_a_sentence(data: bytes, wanted: str | None, fault: str) -> None:
    assert next(faults(read_rom(data), wanted)).startswith(fault)


@given(st.binary(max_size=4096))
def test_no_bytes_are_too_odd(data: bytes) -> None:
    images = read_rom(data)
    assert all(found.length > 0 for found in images)
    assert list(faults(images)) is not None


def test_trimming_writes_a_new_file_and_never_over_one(desk: Desk) -> None:
    Path(desk.folder, "saved.bin").write_bytes(b"NVGI" * 300 + ROM + bytes(1000))
    shown = desk.qlaunch("rom", "check", "saved.bin").stdout
    assert "1200 bytes of something else come before it" in shown
    desk.qlaunch("rom", "trim", "saved.bin", "card.rom")
    assert Path(desk.folder, "card.rom").read_bytes() == ROM
    again = desk.qlaunch("rom", "trim", "saved.bin", "card.rom", expect=2)
    assert "card.rom is there already" in again.stderr
    assert desk.qlaunch("rom", "check", "card.rom").stdout.endswith("whole, and as the specification wants it\n")


def test_what_is_no_rom_is_said(desk: Desk) -> None:
    Path(desk.folder, "text").write_text("not a ROM")
    assert "text holds no option ROM" in desk.qlaunch("rom", "check", "text", expect=3).stderr
    assert "cannot read missing" in desk.qlaunch("rom", "check", "missing", expect=3).stderr
    assert "is not a PCI address" in desk.qlaunch("rom", "dump", "x", "y.rom", expect=2).stderr
    assert "does not exist" in desk.qlaunch("rom", "dump", "ff:1f.7", "y.rom", expect=3).stderr

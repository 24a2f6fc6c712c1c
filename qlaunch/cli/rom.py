"""`qlaunch rom dump|check|trim`: a card's option ROM, for the `rom` key of `[[pci]]`, without a hex editor."""

import argparse
import os
from contextlib import suppress

import msgspec

from qlaunch.errors import HostError, UsageError
from qlaunch.host.facts import HostFacts
from qlaunch.host.rom import Image, faults, read_rom, trimmed
from qlaunch.values.pci import PciAddress

# Larger than any option ROM; BARs of 16 MiB are the most that cards ask for.
_MOST = 64 << 20


def run(options: argparse.Namespace) -> int:
    """Do what the second word says."""
    match options.what:
        case "dump":
            return _dump(options.source, _wanted(options))
        case "trim":
            return _trim(options.source, _wanted(options))
        case _:
            return _check(options)


def _wanted(options: argparse.Namespace) -> str:
    if options.target is None:
        raise UsageError(f"rom {options.what} needs a file to write", f"qlaunch rom {options.what} SOURCE FILE.rom")
    return str(options.target)


def _check(options: argparse.Namespace) -> int:
    """Show the images, and everything that is wrong with them; status 3 if anything is."""
    data = _read(options.source)
    images = _images(data, options.source)
    wrong = list(faults(images, options.id))
    extra = images[0].offset, len(data) - images[-1].offset - images[-1].length
    if options.json:
        print(msgspec.json.encode({"images": images, "faults": wrong, "before": extra[0], "after": extra[1]}).decode())
        return 3 if wrong else 0
    for number, image in enumerate(images, 1):
        machine = f" for {image.machine}" if image.machine else ""
        print(f"image {number}: {image.code}{machine}, {image.id}, {image.length >> 10} KiB at {image.offset:#x}")
    if extra[0] > 0:
        print(f"{extra[0]} bytes of something else come before it; take them off with: qlaunch rom trim")
    for fault in wrong:
        print(f"wrong: {fault}")
    if not wrong:
        print("whole, and as the specification wants it")
    return 3 if wrong else 0


def _trim(source: str, target: str) -> int:
    data = _read(source)
    images = _images(data, source)
    wrong = list(faults(images))
    if wrong:
        raise HostError(f"{source}: {wrong[0]}", "see all of it with: qlaunch rom check")
    _write(target, trimmed(data, images))
    return 0


def _dump(source: str, target: str) -> int:
    """Read a card's ROM. The card shows it only while it is told to, which is taken back whatever happens."""
    try:
        address = PciAddress.parse(source)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if address.function is None:
        address = address.at(0)
    path = f"/sys/bus/pci/devices/{address}/rom"
    if not os.path.exists(path):
        why = "has no ROM" if HostFacts().pci.get(str(address)) else "does not exist"
        raise HostError(f"the function {address} {why}", "see: qlaunch groups")
    try:
        with open(path, "r+b", buffering=0) as rom:
            rom.write(b"1\n")
            try:
                rom.seek(0)
                data = b"".join(iter(lambda: rom.read(1 << 20), b""))
            finally:
                rom.seek(0)
                rom.write(b"0\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "a card that the firmware used for its own picture shows a copy at best; or its driver holds the ROM"
        raise HostError(f"cannot read {path}: {reason}", "run it as root" if error.errno == 13 else hint) from error
    _images(data, path)
    _write(target, data)
    return 0


def _images(data: bytes, name: str) -> list[Image]:
    images = read_rom(data)
    if not images:
        raise HostError(f"{name} holds no option ROM: there is no 55 AA with a PCI data structure in {len(data)} bytes")
    return images


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise HostError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > _MOST:
        raise HostError(f"{path} is larger than {_MOST >> 20} MiB, which no option ROM is")
    return data


def _write(path: str, data: bytes) -> None:
    """Write a new file; one that is there already may be the only copy of a card's ROM."""
    try:
        with open(path, "xb") as file:
            try:
                file.write(data)
            except OSError:
                with suppress(OSError):
                    os.unlink(path)
                raise
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", "choose another name, or move it away") from error
    except OSError as error:
        raise HostError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    print(f"{path}: {len(data)} bytes")

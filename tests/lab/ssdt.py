"""An ACPI table that gives each emulated CPU frequencies, so that the kernel's acpi-cpufreq drives a real policy.

It only writes bytes; emulated.py hands the file to QEMU. There is no clock behind it: the driver writes the wanted
state to an I/O port that remembers it (a serial port's scratch register), reads it back from there, and is content.

Source: ACPI 6.5, sections 5.2.6 (header), 8.4.5 (_PCT, _PSS, _PPC, _PSD), 6.4.3.7 (register descriptor), 20.2 (AML
grammar).
"""

import struct

FREQUENCIES_MHZ = (3600, 2800, 2200)
POWER_MW = (65000, 45000, 25000)
SWITCH_US = 10
# QEMU names the processors so in its CPU hotplug tree. Source: QEMU, hw/acpi/cpu.c (CPUS, Cxxx).
PROCESSOR = "C{:03X}"
SYSTEM_IO = 1
SW_ALL = 0xFC  # _PSD: the kernel itself keeps the CPUs of a domain together


def table(cpus: int, control_port: int) -> bytes:
    """A whole SSDT for a number of CPUs; the frequency is asked for and read at ``control_port``."""
    body = b"".join(_scope(cpu, _processor(cpu, control_port)) for cpu in range(cpus))
    length = 36 + len(body)
    header = struct.pack("<4sIBB6s8sI4sI", b"SSDT", length, 2, 0, b"QLLAB ", b"CPUFREQ ", 1, b"QLLB", 1)
    checksum = -sum(header + body) & 0xFF
    return header[:9] + bytes([checksum]) + header[10:] + body


def _processor(cpu: int, port: int) -> bytes:
    register = _buffer(struct.pack("<BHBBBBQ", 0x82, 12, SYSTEM_IO, 8, 0, 0, port) + b"\x79\x00")
    states = [
        _package(*map(_integer, (mhz, milliwatt, SWITCH_US, SWITCH_US, state, state)))
        for state, (mhz, milliwatt) in enumerate(zip(FREQUENCIES_MHZ, POWER_MW, strict=True))
    ]
    domain = _package(*map(_integer, (5, 0, cpu, SW_ALL, 1)))
    return (
        _name("_PCT", _package(register, register))
        + _name("_PSS", _package(*states))
        + _name("_PPC", _integer(0))
        + _name("_PSD", _package(domain))
    )


def _scope(cpu: int, terms: bytes) -> bytes:
    path = b"\\\x2f\x03" + b"_SB_" + b"CPUS" + PROCESSOR.format(cpu).encode()
    return b"\x10" + _sized(path + terms)


def _name(segment: str, value: bytes) -> bytes:
    return b"\x08" + segment.encode() + value


def _package(*elements: bytes) -> bytes:
    return b"\x12" + _sized(bytes([len(elements)]) + b"".join(elements))


def _buffer(content: bytes) -> bytes:
    return b"\x11" + _sized(_integer(len(content)) + content)


def _integer(value: int) -> bytes:
    if value < 2:
        return bytes([value])  # ZeroOp, OneOp
    if value < 1 << 8:
        return b"\x0a" + struct.pack("<B", value)
    if value < 1 << 16:
        return b"\x0b" + struct.pack("<H", value)
    return b"\x0c" + struct.pack("<I", value)


def _sized(content: bytes) -> bytes:
    """The content after its PkgLength, which counts its own bytes too."""
    if len(content) + 1 < 0x40:
        return bytes([len(content) + 1]) + content
    extra = 1 if len(content) + 2 < 1 << 12 else 2
    length = len(content) + 1 + extra
    return bytes([extra << 6 | length & 0xF]) + (length >> 4).to_bytes(extra, "little") + content

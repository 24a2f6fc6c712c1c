"""The probe's report is read back whole; and what the probe makes of processors that no test machine has."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from qlaunch.probe.report import Cache, Disk, Function, Report, parse_report

RECORDED = Path(__file__).parent / "probe"
SOURCE = Path(__file__).parent.parent / "contrib" / "probe-guest"
# The bits by the names of QEMU's flags: leaf, register, bit. Source: QEMU's target/i386/kvm/hyperv-proto.h.
ENLIGHTENMENTS = {
    "runtime": (3, "a", 0),
    "time": (3, "a", 1),
    "synic": (3, "a", 2),
    "stimer": (3, "a", 3),
    "vapic": (3, "a", 4),
    "vpindex": (3, "a", 6),
    "reset": (3, "a", 7),
    "frequencies": (3, "a", 11),
    "reenlightenment": (3, "a", 13),
    "xmm-input": (3, "d", 4),
    "crash": (3, "d", 10),
    "tlbflush-ext": (3, "d", 14),
    "stimer-direct": (3, "d", 19),
    "tlbflush": (4, "a", 2),
    "relaxed": (4, "a", 5),
    "avic": (4, "a", 9),
    "ipi": (4, "a", 10),
    "evmcs": (4, "a", 14),
    "no-nonarch-coresharing": (4, "a", 18),
    "tlbflush-direct": (10, "a", 17),
    "emsr-bitmap": (10, "a", 19),
}


def recorded(name: str) -> Report:
    return parse_report((RECORDED / name).read_text())


def test_a_recorded_q35_is_read_whole() -> None:
    report = recorded("q35-7.2.txt")
    assert report.values["cpu-family-model-stepping"] == "23-1-2"
    assert [report.number(key) for key in ("processors", "sockets", "threads-per-core", "cores")] == [4, 2, 2, 2]
    assert report.values["system-uuid"] == "11223344-5566-7788-99aa-bbccddeeff00"
    assert {"HPET", "MCFG"} <= report.acpi
    assert {"smap", "hypervisor"} <= report.features
    assert report.caches[-1] == Cache(level=3, kind="unified", size_kib=8192)
    port = Function(address="00:02.0", device_class="060400", id="1b36:000c", behind="01", header="01")
    disk = Function(address="01:00.0", device_class="010000", id="1af4:1042", subsystem="1af4:1100", header="00")
    assert port in report.functions
    assert report.behind("02.0") == [disk]
    assert report.disks == [
        Disk(place="02.0/00.0", size_bytes=528482304, block_bytes=512, read_only=True),
        Disk(place="04.0/nvme1", size_bytes=5242880, block_bytes=512),
        Disk(place="1f.2/sata1", size_bytes=7340032, block_bytes=512),
        Disk(place="1f.2/sata2", read_only=True, removable=True),
    ]


def test_a_recorded_pc_is_read_whole() -> None:
    report = recorded("pc-10.0.txt")
    assert report.values["system-version"] == "pc-i440fx-10.0"
    assert report.values["pvpanic"] == "no"
    assert report.hypervisors == ["TCGTCGTCGTCG"]
    assert not report.hyperv
    assert [disk.place for disk in report.disks] == ["02.0"]


def test_a_line_that_comes_often_is_no_single_value() -> None:
    assert not {"pci", "cache", "disk", "hypervisor"} & recorded("q35-7.2.txt").values.keys()


@pytest.mark.parametrize(
    "line",
    ["pci: 00:02.0 class 06", "cache: L1 data much", "disk: 02.0 bytes many block 512", "disk: 02.0 empty and more"],
)
def test_a_damaged_line_is_refused_and_shown(line: str) -> None:
    with pytest.raises(ValueError, match=line.partition(": ")[2]):
        parse_report(f"qlaunch probe: version 2\r\n{line}\r\nqlaunch probe: end of report\r\n")


@given(st.text())
def test_no_text_brings_anything_but_a_report_or_a_valueerror(noise: str) -> None:
    try:
        parse_report(f"qlaunch probe: version 2\r\n{noise}\r\nqlaunch probe: end of report\r\n")
    except ValueError as error:
        assert "of the probe's report" in str(error)  # noqa: PT017 - both ends are fine


@pytest.fixture(scope="module")
def told_cpuid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe's own decoding as a program of this host."""
    if not shutil.which("clang"):
        pytest.skip("clang is not installed: the probe's decoding cannot be built here")
    program = tmp_path_factory.mktemp("cpuid") / "told"
    sources = [RECORDED / "told_cpuid.c", *(SOURCE / f"{name}.c" for name in ("cpu", "hypervisor", "words"))]
    options = ["-std=c11", "-Wall", "-Werror", "-fshort-wchar", "-DTOLD_CPUID", f"-I{SOURCE}"]
    subprocess.run(["clang", *options, *sources, "-o", program], check=True)
    return program


Leaves = Mapping[tuple[int, int], Sequence[int]]  # leaf and sub-leaf; the four registers


def decode(program: Path, processors: int, leaves: Leaves) -> Report:
    words = [":".join(f"{number:x}" for number in (*where, *told)) for where, told in leaves.items()]
    done = subprocess.run([program, str(processors), *words], check=True, capture_output=True, text=True)
    return parse_report(done.stdout)


def signature(last: int, name: str) -> tuple[int, int, int, int]:
    raw = name.encode().ljust(12, b"\0")
    b, c, d = (int.from_bytes(raw[at : at + 4], "little") for at in (0, 4, 8))
    return last, b, c, d


def hyperv(names: set[str], spinlocks: int = 0xFFFFFFFF, most: int = 64) -> Leaves:
    told = {3: dict.fromkeys("abcd", 0), 4: dict.fromkeys("abcd", 0), 10: dict.fromkeys("abcd", 0)}
    told[4]["b"] = spinlocks
    for name in names:
        leaf, register, bit = ENLIGHTENMENTS[name]
        told[leaf][register] |= 1 << bit
    return {
        (1, 0): (0, 0, 1 << 31, 0),
        (0x40000000, 0): signature(0x4000000A, "1234567890ab"),
        (0x40000001, 0): (0x31237648, 0, 0, 0),
        (0x40000002, 0): (14393, 10 << 16, 0, 0),
        (0x40000005, 0): (most, 0, 0, 0),
        (0x40000100, 0): signature(0x40000101, "KVMKVMKVM"),
    } | {(0x40000000 + leaf, 0): tuple(registers.values()) for leaf, registers in told.items()}


@pytest.mark.parametrize("name", ENLIGHTENMENTS)
def test_each_enlightenment_is_known_by_its_bit_alone(told_cpuid: Path, name: str) -> None:
    assert decode(told_cpuid, 1, hyperv({name})).hyperv == {name}


def test_kvm_beside_hyper_v_shows_both_with_version_spinlocks_and_limit(told_cpuid: Path) -> None:
    report = decode(told_cpuid, 1, hyperv({"relaxed", "vapic"}, spinlocks=8191))
    assert report.hypervisors == ["1234567890ab", "KVMKVMKVM"]
    assert report.hyperv == {"relaxed", "vapic", "spinlocks=8191"}
    assert report.values["hyperv-vendor"] == "1234567890ab"
    assert report.values["hyperv-version"] == "10.0.14393"
    assert report.values["hyperv-max-processors"] == "64"


def test_a_hidden_hypervisor_has_neither_signature_nor_bits(told_cpuid: Path) -> None:
    report = decode(told_cpuid, 1, {(1, 0): (0, 0, 0, 0), (0x40000000, 0): signature(0x40000001, "KVMKVMKVM")})
    assert report.hypervisors == []
    assert not report.hyperv


def test_an_amd_processor_with_topoext_tells_who_shares_its_caches(told_cpuid: Path) -> None:
    report = decode(
        told_cpuid,
        8,
        {
            (0, 0): (0xD, 0x68747541, 0x444D4163, 0x69746E65),
            (1, 0): (0x00A20F10, 8 << 16, 0, 1 << 28),
            (0xB, 0): (1, 2, 0x100, 0),
            (0xB, 1): (3, 8, 0x201, 0),
            (0x80000000, 0): (0x8000001E, 0, 0, 0),
            (0x80000001, 0): (0, 0, 1 << 22, 0),
            (0x8000001D, 0): (0x4121, 0x1C0003F, 63, 0),
            (0x8000001D, 1): (0x1C163, 0x3C0003F, 32767, 0),
        },
    )
    assert report.values["cpu-vendor"] == "AuthenticAMD"
    assert report.values["cpu-family-model-stepping"] == "25-33-0"
    assert [report.number(key) for key in ("sockets", "cores-per-socket", "threads-per-core")] == [1, 4, 2]
    assert report.caches == [
        Cache(level=1, kind="data", size_kib=32, shared_by=2),
        Cache(level=3, kind="unified", size_kib=32768, shared_by=8),
    ]
    assert "topoext" in report.features

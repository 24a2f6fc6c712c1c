"""What the machine file asks for from outside, the probe sees from inside."""

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from qlaunch.devices.ports import Port
from qlaunch.probe import FOLDER
from qlaunch.probe.report import Report, parse_report
from tests.live import DEMO, Desk

SOURCE = Path(__file__).parent.parent / "contrib" / "probe-guest"


def seen_by_guest(desk: Desk, text: str, *words: str) -> Report:
    """Run a machine to the probe's report, and read it."""
    desk.machine("m", text)
    done = desk.qlaunch("run", "m", "--until", "end of report", "--timeout", "100", *words)
    return parse_report(done.stdout)


def test_a_text_without_a_report_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole report"):
        parse_report("qlaunch probe: end of report, but no begin")


def test_the_last_of_several_reports_is_read() -> None:
    text = "".join(f"qlaunch probe: version 1\r\nx: {n}\r\nqlaunch probe: end of report\r\n" for n in (1, 2))
    assert parse_report(text + "qlaunch probe: version 1\r\nx: 3\r\n").values["x"] == "2"


@pytest.mark.qemu
def test_topology_memory_and_identity_are_as_asked(desk: Desk) -> None:
    text = DEMO.replace("vcpus = 2", "topology = { sockets = 2, cores = 2, threads = 1 }").replace("128M", "192M")
    report = seen_by_guest(desk, text + '[firmware.smbios.system]\nmanufacturer = "Example, Inc."\nserial = "a=b,c"\n')
    assert report.number("processors") == 4
    assert (report.number("sockets"), report.number("cores-per-socket"), report.number("threads-per-core")) == (2, 2, 1)
    assert report.number("memory-mib") == 192
    assert report.values["system-manufacturer"] == "Example, Inc."
    assert report.values["system-serial"] == "a=b,c"
    assert report.hypervisors == ["TCGTCGTCGTCG"]
    assert "HPET" not in report.acpi
    assert report.values["secure-boot"] == "off"
    desk.assert_clean()


@pytest.mark.qemu
def test_every_device_sits_at_its_own_place_and_adding_one_moves_none(desk: Desk) -> None:
    for name in ("a", "b"):
        (desk.folder / "machines" / f"{name}.raw").write_bytes(bytes(1 << 20))
    # The disk that the probe boots from comes first by itself; these are only looked at.
    one = DEMO + '[clock]\nhpet = true\n[[disk]]\npath = "a.raw"\n[[network]]\n'
    report = seen_by_guest(desk, one)
    more = seen_by_guest(desk, one + '[[disk]]\npath = "b.raw"\nbus = "nvme"\n[[network]]\nmodel = "e1000e"\n')
    disk, net = Port("disk", 0), Port("net", 0)
    assert "HPET" in report.acpi
    assert [found.id for found in report.behind(address(disk))] == ["1af4:1042"]
    assert [found.id for found in report.behind(address(net))] == ["1af4:1041"]
    places = {root: found.id for root in ports(report) for found in report.behind(root)}
    assert places.items() <= {root: found.id for root in ports(more) for found in more.behind(root)}.items()
    assert [found.device_class for found in more.behind(address(Port("disk", 1)))] == ["010802"]
    assert [found.id for found in more.behind(address(Port("net", 1)))] == ["8086:10d3"]


@pytest.mark.qemu
def test_a_pc_board_has_one_bus(desk: Desk) -> None:
    text = DEMO.replace('accel = "tcg"', 'accel = "tcg"\ntype = "pc"')
    report = seen_by_guest(desk, text + "[[network]]\n")
    assert {found.address[:2] for found in report.functions} == {"00"}
    assert "8086:1237" in {found.id for found in report.functions}
    assert report.values["system-product"].startswith("Standard PC (i440FX")


@pytest.mark.qemu
def test_run_hands_back_a_pattern_a_power_off_a_panic_and_a_deadline(desk: Desk) -> None:
    desk.machine("m", DEMO)
    log = desk.folder / "serial.txt"
    matched = desk.qlaunch("run", "m", "--until", "processors: [0-9]", "--log", str(log), "--json")
    assert msgspec.json.decode(matched.stdout)["how"] == "matched"
    assert msgspec.json.decode(matched.stdout)["line"] == "processors: 2"
    assert "qlaunch probe: version" in log.read_text()
    late = desk.qlaunch("run", "m", "--until", "never printed", "--timeout", "0.2", expect=124)
    assert "did not print 'never printed' within 0.2 s" in late.stderr
    wrong = desk.qlaunch("run", "m", "--until", "(", expect=2)
    assert "is not a regular expression" in wrong.stderr
    desk.assert_clean()


@pytest.mark.qemu
def test_the_program_that_we_ship_is_the_one_that_its_source_makes(desk: Desk, tmp_path: Path) -> None:
    if not (shutil.which("clang") and shutil.which("lld-link")):
        pytest.skip("clang and lld are not installed: the probe cannot be rebuilt here")
    rebuilt = tmp_path / "BOOTX64.EFI"
    subprocess.run([SOURCE / "build", rebuilt], check=True)
    fat = tmp_path / "qlaunch" / "probe" / "fat"
    shutil.copytree(Path(__file__).parent.parent / "qlaunch", tmp_path / "qlaunch", dirs_exist_ok=True)
    shutil.copy(rebuilt, fat / "EFI" / "BOOT" / "BOOTX64.EFI")
    shipped = seen_by_guest(desk, DEMO)
    desk.environment["PYTHONPATH"] = str(tmp_path)
    built = seen_by_guest(desk, DEMO)
    assert built.functions == shipped.functions
    assert {key: value for key, value in built.values.items() if key != "clock"} == {
        key: value for key, value in shipped.values.items() if key != "clock"
    }


def test_the_program_is_small_and_is_one() -> None:
    program = Path(FOLDER) / "EFI" / "BOOT" / "BOOTX64.EFI"
    assert program.read_bytes()[:2] == b"MZ"
    assert program.stat().st_size < 20_000


def address(port: Port) -> str:
    """A root port's address as the report writes it."""
    slot, function = (int(part, 16) for part in port.address.split("."))
    return f"{slot:02x}.{function}"


def ports(report: Report) -> list[str]:
    """The addresses of all bridges on the first bus."""
    return [function.address[3:] for function in report.functions if function.behind]

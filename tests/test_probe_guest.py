"""The probe, shipped and rebuilt, started by a QEMU that nothing of qlaunch is between."""

import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from qlaunch.host.firmware import find_firmware
from qlaunch.probe import FOLDER
from qlaunch.probe.report import Disk, Report, parse_report
from tests.live import PATIENCE_S, QEMU, Serial

SOURCE = Path(__file__).parent.parent / "contrib" / "probe-guest"
pytestmark = pytest.mark.qemu

Boot = Callable[..., "Guest"]


class Guest:
    """A running probe, with its serial line and a QMP monitor."""

    def __init__(
        self, ends: ExitStack, folder: Path, options: tuple[str, ...], *, program: str, board: str, serial: bool
    ) -> None:
        folder.mkdir()
        firmware = find_firmware("pc-q35-7.2" if board == "q35" else "pc-i440fx-7.2", secure_boot=False)
        variables = shutil.copy(firmware.vars_template, folder / "vars.fd")
        fat = {"driver": "vvfat", "node-name": "probe", "dir": program, "fat-type": 16, "read-only": True}
        # Both sockets listen before QEMU exists, so that nothing has to be waited for.
        listeners = [ends.enter_context(listening(folder / name)) for name in ("qmp", "serial")]
        argv = [QEMU, "-M", board, "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "256"]
        argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={firmware.code}"]
        argv += ["-drive", f"if=pflash,format=raw,file={variables}"]
        argv += ["-blockdev", msgspec.json.encode(fat).decode(), "-device", "virtio-blk-pci,drive=probe,bootindex=0"]
        argv += ["-chardev", f"socket,id=qmp,path={folder}/qmp", "-mon", "chardev=qmp,mode=control"]
        if serial:
            argv += ["-chardev", f"socket,id=serial,path={folder}/serial", "-serial", "chardev:serial"]
        self.process = subprocess.Popen([*argv, *options], stdin=subprocess.DEVNULL)
        ends.callback(self.process.wait)
        ends.callback(self.process.kill)
        self.events: list[str] = []
        self.monitor = ends.enter_context(accepted(listeners[0]))
        self._qmp = ends.enter_context(self.monitor.makefile("rwb"))
        self.ask("qmp_capabilities")
        self.serial = Line(ends.enter_context(accepted(listeners[1]))) if serial else None

    def report(self) -> Report:
        assert self.serial
        return parse_report(self.serial.wait_for("end of report\r\n"))

    def say(self, key: str, answer: str) -> None:
        """Type a key, and read its answer."""
        assert self.serial
        self.serial.heard = ""
        self.serial.type(key)
        self.serial.wait_for(answer)

    def ask(self, command: str) -> None:
        self._qmp.write(msgspec.json.encode({"execute": command}))
        self._qmp.flush()
        assert "return" in self._read("return", "error")

    def hear(self, event: str) -> None:
        """Read monitor events up to this one."""
        while event not in self.events:
            self._read("event")

    def _read(self, *wanted: str) -> dict[str, object]:
        """Read messages up to one of these kinds, and keep the events."""
        while line := self._qmp.readline():
            message: dict[str, object] = msgspec.json.decode(line)
            if "event" in message:
                self.events.append(str(message["event"]))
            if any(word in message for word in wanted):
                return message
        pytest.fail(f"QEMU hung up; events so far: {self.events}")


class Line(Serial):
    """A serial line that is open already."""

    def __init__(self, line: socket.socket) -> None:
        self._socket = line
        self.heard = ""


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.settimeout(PATIENCE_S)
    listener.bind(str(path))
    listener.listen(1)
    return listener


def accepted(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE_S)
    return connection


@pytest.fixture
def boot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boot]:
    if shutil.which(QEMU) is None:
        pytest.fail(f"{QEMU} is not installed: contrib/check installs it")
    with ExitStack() as ends:

        def started(*options: str, program: str = FOLDER, board: str = "q35", serial: bool = True) -> Guest:
            folder = tmp_path_factory.mktemp("g") / "guest"
            return Guest(ends, folder, options, program=program, board=board, serial=serial)

        yield started


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the program that the source makes."""
    if not (shutil.which("clang") and shutil.which("lld-link")):
        pytest.skip("clang and lld are not installed: the probe cannot be rebuilt here")
    fat = tmp_path_factory.mktemp("built")
    (fat / "EFI" / "BOOT").mkdir(parents=True)
    for name in ("BOOTX64.EFI", "AGAIN.EFI"):
        subprocess.run([SOURCE / "build", fat / "EFI" / "BOOT" / name], check=True)
    return str(fat)


def test_a_build_makes_the_same_bytes_again(rebuilt: str) -> None:
    first, again = (Path(rebuilt, "EFI", "BOOT", name).read_bytes() for name in ("BOOTX64.EFI", "AGAIN.EFI"))
    assert first == again


def test_shipped_and_rebuilt_report_the_same(boot: Boot, rebuilt: str) -> None:
    shipped, built = boot().report(), boot(program=rebuilt).report()
    assert [built.functions, built.caches, built.features] == [shipped.functions, shipped.caches, shipped.features]
    assert {**built.values, "clock": ""} == {**shipped.values, "clock": ""}


def test_the_report_tells_what_qemu_was_told(boot: Boot, tmp_path: Path) -> None:
    for name, mib in (("a.raw", 5), ("b.raw", 7)):
        with (tmp_path / name).open("wb") as file:
            os.truncate(file.fileno(), mib << 20)
    report = boot(
        *("-smp", "4,sockets=2,cores=1,threads=2", "-device", "pvpanic", "-rtc", "base=2031-02-03T04:05:06"),
        *("-smbios", "type=1,manufacturer=Example,serial=S1,sku=K,uuid=11223344-5566-7788-99aa-bbccddeeff00"),
        *("-device", "pcie-root-port,id=rp,addr=5.0"),
        *("-blockdev", f"driver=raw,node-name=a,file.driver=file,file.filename={tmp_path}/a.raw"),
        *("-device", "nvme,serial=q,drive=a,bus=rp"),
        *("-blockdev", f"driver=raw,node-name=b,file.driver=file,file.filename={tmp_path}/b.raw"),
        *("-device", "ide-hd,drive=b,bus=ide.1", "-device", "ide-cd,bus=ide.2"),
    ).report()
    assert [report.number(key) for key in ("processors", "sockets", "cores", "threads-per-core")] == [4, 2, 2, 2]
    assert report.number("memory-mib") == 256
    assert report.values["pvpanic"] == "yes"
    assert report.values["clock"].startswith("2031-02-03 04:05:")
    assert report.values["system-uuid"] == "11223344-5566-7788-99aa-bbccddeeff00"
    assert (report.values["system-serial"], report.values["system-sku"]) == ("S1", "K")
    assert [function.device_class for function in report.behind("05.0")] == ["010802"]
    assert {disk.place: disk for disk in report.disks if not disk.place.startswith("01.0")} == {
        "05.0/00.0/nvme1": Disk(place="05.0/00.0/nvme1", size_bytes=5 << 20, block_bytes=512),
        "1f.2/sata1": Disk(place="1f.2/sata1", size_bytes=7 << 20, block_bytes=512),
        "1f.2/sata2": Disk(place="1f.2/sata2", read_only=True, removable=True),
    }


def test_dies_and_shared_caches_of_an_intel_processor_are_seen(boot: Boot) -> None:
    report = boot("-cpu", "max,vendor=GenuineIntel", "-smp", "4,sockets=1,dies=2,cores=1,threads=2").report()
    assert report.values["cpu-vendor"] == "GenuineIntel"
    keys = ("processors", "sockets", "dies-per-socket", "cores-per-socket", "threads-per-core")
    assert [report.number(key) for key in keys] == [4, 1, 2, 2, 2]
    # How many share one is QEMU's to say, and 7.2 says another number than 10.0; that someone does is the leaf's.
    assert {cache.level for cache in report.caches if cache.shared_by} == {1, 2, 3}


@pytest.mark.parametrize("board", ["q35", "pc"])
def test_keys_and_the_power_button_do_what_they_say(boot: Boot, board: str) -> None:
    guest = boot("-device", "pvpanic", "-action", "panic=none", board=board)
    assert {disk.read_only for disk in guest.report().disks} >= {True}
    guest.say("e", "qlaunch probe: key e\r\n")
    guest.say("c", "qlaunch probe: panicking\r\n")
    guest.hear("GUEST_PANICKED")
    guest.say("i", "qlaunch probe: power button ignored\r\n")
    assert guest.serial
    guest.ask("system_powerdown")
    guest.serial.wait_for("qlaunch probe: power button\r\n")
    guest.say("i", "qlaunch probe: power button heeded\r\n")
    guest.say("r", "qlaunch probe: resetting\r\n")
    guest.hear("RESET")
    guest.report()
    guest.serial.heard = ""
    guest.ask("system_powerdown")
    guest.serial.wait_for("qlaunch probe: power button\r\nqlaunch probe: powering off\r\n")
    assert guest.process.wait(PATIENCE_S) == 0


def test_without_a_panic_device_the_key_says_so_and_enter_powers_off(boot: Boot) -> None:
    guest = boot()
    assert guest.report().values["pvpanic"] == "no"
    guest.say("c", "there is no pvpanic device")
    guest.say("\r", "powering off")
    assert guest.process.wait(PATIENCE_S) == 0


def test_a_machine_without_a_serial_port_is_no_reason_to_hang(boot: Boot) -> None:
    guest = boot("-action", "shutdown=pause", serial=False)
    # Firmware drops the button until the probe listens to it: it is pressed until heard.
    late = time.monotonic() + PATIENCE_S
    while "SHUTDOWN" not in guest.events:
        assert time.monotonic() < late, "the probe never heard the power button"
        guest.ask("system_powerdown")
        select.select([guest.monitor], [], [], 0.25)  # an event, or time to press again

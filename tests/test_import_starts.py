"""The argv of every imported case is started with a real QEMU, paused, as that of the golden cases is."""

from pathlib import Path

import msgspec
import pytest

from qlaunch.argv import build_args
from qlaunch.devices.arg import Arg
from qlaunch.host.qemu import QemuFacts, read_qemu_facts
from qlaunch.machine.load import load
from qlaunch.machine.model import Machine
from qlaunch.plan import place
from tests.live import QEMU
from tests.sites import found
from tests.test_golden_starts import private_firmware, start_and_quit, startable

pytestmark = pytest.mark.qemu

CASES = sorted((Path(__file__).parent / "import" / "cases").glob("*.toml"))
# What comes in packages of its own.
_PACKAGED = ("qxl-vga", "virtio-vga", "virtio-gpu-pci", "virtio-sound-pci", "usb-redir")
# What needs the host's own hardware, files or helpers.
_HOST_ONLY = ("vhost-vsock-pci", "usb-redir", "virtio-input-host-pci")


@pytest.fixture(scope="module")
def qemu() -> QemuFacts:
    return read_qemu_facts(QEMU, [*_PACKAGED, "virtio-blk-pci"], None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_argv_of_an_import_starts(case: Path, tmp_path_factory: pytest.TempPathFactory, qemu: QemuFacts) -> None:
    folder = tmp_path_factory.mktemp("i")
    loaded = load(str(case))
    machine = here_possible(loaded.machine, qemu)
    here = found(machine, loaded.name, version=qemu.version[:2], accel="tcg")
    pair = here.firmware and private_firmware(folder, here.machine_type, secure_boot=machine.firmware.secure_boot)
    here = msgspec.structs.replace(
        here,
        runtime=str(folder),
        state=str(folder),
        machine_type=qemu.resolve_machine(machine.machine.type),
        firmware=pair,
    )
    args = build_args(machine, place(loaded.name, machine, here))
    cells = max(len(machine.memory.cell), 1)
    argv = [QEMU, *(word for arg in startable(args, qemu, folder) for word in replaced(arg, qemu, folder, cells))]
    start_and_quit(argv, f"{folder}/qmp.sock")


def here_possible(machine: Machine, qemu: QemuFacts) -> Machine:
    """The machine with the newest board of this QEMU where it lacks the one that was meant, and small NUMA cells."""
    board, firmware = machine.machine, machine.firmware
    if board.type not in qemu.machines:
        board = msgspec.structs.replace(board, type="pc" if "i440fx" in board.type else "q35")
    if board.type.startswith("pc") and "q35" not in board.type and firmware.type == "uefi":
        # Not every distribution has UEFI for this board.
        firmware = msgspec.structs.replace(firmware, type="bios", code=None, vars_template=None, vars=None)
    firmware = msgspec.structs.replace(
        firmware, rom=None, smbios=None if firmware.smbios == "host" else firmware.smbios
    )
    cells = [msgspec.structs.replace(cell, node=None, nodes=None) for cell in machine.memory.cell]
    memory = msgspec.structs.replace(machine.memory, cell=cells, node=None, nodes=None)
    properties = {name: table for name, table in machine.qemu.properties.items() if not name.startswith("pci")}
    own = msgspec.structs.replace(machine.qemu, properties=properties)
    return msgspec.structs.replace(machine, machine=board, firmware=firmware, memory=memory, qemu=own)


def replaced(arg: Arg, qemu: QemuFacts, folder: Path, cells: int) -> tuple[str, ...]:
    """Give the words of an option, or none where it needs what this computer has not."""
    words = arg.words()
    text = words[-1]
    driver = str(arg.get("driver"))
    packaged = driver in _PACKAGED and not qemu.has_device(driver)
    spice = arg.flag == "chardev" and arg.head in ("spicevmc", "spiceport")
    extra = arg.flag in ("acpitable", "fw_cfg") or '"sysfsdev"' in text or '"usb-redir"' in text
    if driver in _HOST_ONLY or packaged or spice or extra or arg.get("name") == "org.spice-space.webdav.0":
        return ()
    if arg.flag == "m":
        return (words[0], f"size={64 * cells}M")
    if arg.flag == "object" and arg.get("filename") == "/dev/random":
        return (words[0], text.replace("/dev/random", "/dev/urandom"))
    return tuple(word.replace("/dev/shm/", f"{folder}/") for word in words)  # noqa: S108

"""Every golden argv is started with a real QEMU, paused, so that none can be fiction.

What this machine cannot have is replaced, and nothing else: the table below says what and by what.
"""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlaunch.argv import build_args
from qlaunch.devices.arg import Arg
from qlaunch.devices.site import FirmwareFiles
from qlaunch.errors import QlaunchError
from qlaunch.host.firmware import find_firmware
from qlaunch.host.qemu import QemuFacts, read_qemu_facts
from qlaunch.machine.load import load
from qlaunch.plan import place
from tests.live import PATIENCE_S, QEMU
from tests.sites import found
from tests.test_golden_argv import CASES

pytestmark = pytest.mark.qemu

# Devices that need hardware, or a helper process, which other tests give them.
_LEFT_OUT_DRIVERS = {"vfio-pci", "vhost-user-fs-pci", "tpm-crb", "tpm-tis", "usb-host"}
_LEFT_OUT_IDS = ("share0-chr", "tpm0-chr", "tpm0-dev", "vdagent")
# What comes in packages of its own, and may be absent from any QEMU.
_PACKAGED = {"qxl-vga", "virtio-vga", "virtio-sound-pci"}


@pytest.fixture(scope="module")
def qemu() -> QemuFacts:
    drivers = [*sorted(_PACKAGED), "virtio-blk-pci"]
    return read_qemu_facts(QEMU, drivers, None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_argv_starts(case: Path, tmp_path_factory: pytest.TempPathFactory, qemu: QemuFacts) -> None:
    folder = tmp_path_factory.mktemp("g")
    loaded = load(str(case))
    here = found(loaded.machine, loaded.name, version=qemu.version[:2], accel="tcg")
    here = msgspec.structs.replace(
        here,
        runtime=str(folder),
        state=str(folder),
        machine_type=qemu.resolve_machine(loaded.machine.machine.type),
        firmware=here.firmware
        and private_firmware(folder, here.machine_type, secure_boot=loaded.machine.firmware.secure_boot),
    )
    args = build_args(loaded.machine, place(loaded.name, loaded.machine, here))
    argv = [QEMU, *(word for arg in startable(args, qemu, folder) for word in arg.words())]
    start_and_quit(argv, f"{folder}/qmp.sock")


def private_firmware(folder: Path, machine_type: str, *, secure_boot: bool) -> FirmwareFiles:
    """Give the host's own firmware with a variable store of the test's."""
    try:
        pair = find_firmware(machine_type, secure_boot=secure_boot)
    except QlaunchError as error:
        pytest.skip(f"this machine has no such firmware: {error}")
    (folder / "VARS.fd").write_bytes(Path(pair.vars_template).read_bytes())
    return FirmwareFiles(
        code=pair.code,
        vars=f"{folder}/VARS.fd",
        vars_template=pair.vars_template,
        code_format=pair.code_format,
        vars_format=pair.vars_format,
        needs_smm=pair.needs_smm,
    )


def startable(args: list[Arg], qemu: QemuFacts, folder: Path) -> Iterator[Arg]:
    """Replace what this machine cannot have."""
    for arg in args:
        body = dict(arg.body) if isinstance(arg.body, dict) else arg.body
        if isinstance(body, dict):
            if body.get("driver") in _LEFT_OUT_DRIVERS or body.get("id") in _LEFT_OUT_IDS:
                continue
            if body.get("chardev") == "vdagent" or arg.flag == "spice":
                continue
            if body.get("driver") in _PACKAGED and not qemu.has_device(str(body["driver"])):
                continue
            if body.get("qom-type") not in (None, *qemu.objects):  # iommufd, which QEMU has since 9.0
                continue
            replace_in(body, arg, folder)
        elif arg.flag in ("kernel", "initrd") and isinstance(body, str):
            body = str(a_kernel(folder / Path(body).name))
        head = "none" if (arg.flag, arg.head) == ("display", "gtk") else arg.head
        if (arg.flag, arg.head) == ("display", "gtk"):
            body = {}
        yield Arg(arg.flag, body, head, arg.json)


def replace_in(body: dict[str, Any], arg: Arg, folder: Path) -> None:
    """Replace single values: files by the test's own, hugetlb pages by small ones, sound servers by silence."""
    match arg.flag:
        case "blockdev":
            replace_image(body, folder)
        case "object":
            replace_memory(body, folder)
        case "m":
            body["size"] = f"{64 << 10}k"
        case "audiodev":
            kept = {key: value for key, value in body.items() if key in ("id", "timer-period")}
            body.clear()
            body.update({"driver": "none", **kept})
        case "fsdev":
            body["path"] = str(folder)
        case "netdev" if body["type"] == "tap":  # its descriptors are tried in test_descriptors.py
            kept = body["id"]
            body.clear()
            body.update({"type": "user", "id": kept})
        case "overcommit":
            body.pop("mem-lock", None)  # a matter of the caller's RLIMIT_MEMLOCK
        case _:
            pass


def replace_image(body: dict[str, Any], folder: Path) -> None:
    """Give each disk an empty file; images are made without a tool for their formats."""
    if "filename" in body and not str(body["node-name"]).startswith("fw-"):
        body["filename"] = str(an_image(folder / str(body["node-name"])))
        body["driver"] = "file"
    if body["driver"] in ("qcow2", "vmdk"):
        body["driver"] = "raw"


def replace_memory(body: dict[str, Any], folder: Path) -> None:
    """Make memory small, of plain pages, and on the CPUs that are here."""
    if "mem-path" in body:
        body["mem-path"] = str(folder / "shared-memory")
    elif body["qom-type"].startswith("memory-backend"):
        small = {"size": 64 << 20, "hugetlb": None, "hugetlbsize": None, "prealloc-threads": None}
        body.update({key: value for key, value in small.items() if key in body})
    elif body["qom-type"] == "thread-context":
        body["cpu-affinity"] = sorted(os.sched_getaffinity(0))


def an_image(path: Path) -> Path:
    """Make an empty disk."""
    path.write_bytes(bytes(1 << 20))
    return path


def a_kernel(path: Path) -> Path:
    """Make the header of a Linux kernel (Documentation/arch/x86/boot.rst), which is all that QEMU reads of it."""
    header = bytearray(64 << 10)
    header[0x1F1] = 4
    header[0x202:0x206] = b"HdrS"
    header[0x206:0x208] = (0x020C).to_bytes(2, "little")
    header[0x211] = 1
    header[0x22C:0x230] = (0x7FFFFFFF).to_bytes(4, "little")
    header[0x238:0x23C] = (2048).to_bytes(4, "little")
    path.write_bytes(header)
    return path


def start_and_quit(argv: list[str], path: str) -> None:
    """Start QEMU, ask for its state over QMP, and quit it."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as monitor:
        listener.bind(path)
        listener.listen()
        words = [word.replace(f"path={path}", f"fd={listener.fileno()}") for word in argv]
        process = subprocess.Popen(words, pass_fds=(listener.fileno(),), stderr=subprocess.PIPE, text=True)
        listener.close()
        try:
            monitor.settimeout(PATIENCE_S)
            monitor.connect(path)
            lines = monitor.makefile("rb")
            for command in ("qmp_capabilities", "query-status", "quit"):
                monitor.sendall(msgspec.json.encode({"execute": command, "id": command}))
            answers = {answer["id"]: answer for answer in map(msgspec.json.decode, lines) if "id" in answer}
        except ConnectionError:
            answers = {}
        finally:
            _, said = process.communicate(timeout=PATIENCE_S)
        assert answers.get("query-status", {}).get("return", {}).get("status") == "prelaunch", (said, words)
        assert process.returncode == 0

"""All that the verbs ask of a host, asked once of a tree that records: what a capture holds.

Owns: which questions. Must not: write, or know how a capture is packed.
"""

from collections.abc import Iterable

import msgspec

from qlaunch import __version__
from qlaunch.capability import DRIVERS
from qlaunch.check import host_checks
from qlaunch.check.question import Question
from qlaunch.errors import HostError, QemuError
from qlaunch.found import look
from qlaunch.host import display_manager
from qlaunch.host.accel import try_kvm
from qlaunch.host.bootloader import command_line_place
from qlaunch.host.captured import PLACE, Captured
from qlaunch.host.dmi import read_smbios
from qlaunch.host.facts import HostFacts
from qlaunch.host.firmware import find_firmware
from qlaunch.host.folders import Folders
from qlaunch.host.kernel import find_module
from qlaunch.host.pci_ids import PLACE as PCI_IDS
from qlaunch.host.permissions import is_root
from qlaunch.host.qemu import QemuFacts, read_qemu_facts
from qlaunch.host.record import Record
from qlaunch.host.tree import Tree
from qlaunch.machine.decode import parse_value
from qlaunch.machine.load import Loaded
from qlaunch.machine.model import Machine
from qlaunch.plan import make_plan
from qlaunch.selection import choose_devices

_PARTS = (
    *("cpus", "memory", "pci", "iommu", "usb", "inputs", "framebuffers", "blocks", "network", "cgroups", "kernel"),
    *("software", "holders"),
)
# What single checks read when a machine makes them.
_ALSO = ("/proc/buddyinfo", "/proc/self/limits", "/sys/module/kvm/parameters/ignore_msrs")
_LINKS = (display_manager.LINK,)
_QEMU = "qemu-system-x86_64"

Contents = tuple[dict[str, str | None], dict[str, str], tuple[str, ...]]


def capture(facts: HostFacts, machines: Iterable[Loaded], folders: Folders, pins: dict[str, msgspec.Raw]) -> Contents:
    """Give files, links and folders that answer as this host does, in general and for some machines.

    The tree of the facts must record; ``pins`` are those of the machines that run. Raises HostError.
    """
    loaded = list(machines)
    ask_everything(facts)
    for one in (*(choose_devices(one, facts) for one in loaded), Loaded("any", "any.toml", _greedy(facts))):
        plan = make_plan(one, look(one.name, one.machine, folders, facts))
        plan.host_steps()
        host_checks(Question(facts, one.machine))
    told = _answers(facts, loaded, folders, pins)
    files, links, listed = _record(facts).contents()
    names = facts.pci_names.extract(facts.pci.devices)
    return {**files, PLACE: msgspec.json.encode(told).decode()} | ({PCI_IDS: names} if names else {}), links, listed


def ask_everything(facts: HostFacts) -> None:
    """Ask all that does not depend on a machine."""
    tree = facts.tree
    for part in _PARTS:
        getattr(facts, part)
    for device in facts.pci.devices:
        facts.pci_settings(device.address)
    host_checks(Question(facts))
    command_line_place(tree)
    find_module(tree, "vfio_pci", facts.kernel.release)
    read_smbios(tree)
    for path in _ALSO:
        tree.read(path)
    for path in _LINKS:
        tree.readlink(path)
    for board in ("pc-q35-10.0", "pc-i440fx-10.0"):
        for secure_boot in (False, True):
            _ask_firmware(tree, board, secure_boot=secure_boot)


def _greedy(facts: HostFacts) -> Machine:
    """Make a machine that wants all that a host can give, so that a capture answers for any other machine too."""
    online = facts.cpus.online
    slots = dict.fromkeys(device.address.slot for device in facts.pci.devices if not device.bridge)
    tables = {
        "machine": {"accel": "tcg"},
        "firmware": {"type": "bios"},
        "memory": {"size": "1G", "hugepages": "2M"},
        "cpu": {"pin": ",".join(map(str, sorted(online)))} if online else {},
        "pci": [{"host": slot} for slot in slots],
        "host": {
            "governor": "performance",
            "energy_preference": "performance",
            "shield": True,
            "irq": True,
            "vtconsoles": "unbind",
        },
    }
    wanted: Machine = msgspec.convert(tables, Machine, dec_hook=parse_value)
    return wanted


def _record(facts: HostFacts) -> Record:
    record = facts.tree.record
    assert record is not None  # noqa: S101 - what else to call it for
    return record


def _ask_firmware(tree: Tree, board: str, *, secure_boot: bool) -> None:
    try:
        find_firmware(board, secure_boot=secure_boot, tree=tree)
    except HostError:
        # That there is none is an answer too.
        return


def _answers(facts: HostFacts, machines: list[Loaded], folders: Folders, pins: dict[str, msgspec.Raw]) -> Captured:
    record = _record(facts)
    binaries = dict.fromkeys([_QEMU, *(one.machine.qemu.binary for one in machines)])
    qemu = {binary: found for binary in binaries if (found := _qemu(binary, folders))} if facts.tree.live else {}
    places = {path.rpartition("/")[0]: None for path in facts.software.programs.values()}
    return Captured(
        version=__version__,
        folders=folders,
        program_folders=tuple(places),
        qemu=qemu,
        kvm={one.path: try_kvm(one.path, folders.cache) for one in qemu.values()},
        root=is_root(facts.tree),
        machines=frozenset(one.name for one in machines),
        absent=frozenset(path for path in record.absent if not path.startswith(("/sys/", "/proc/"))),
        pins=pins,
    )


def _qemu(binary: str, folders: Folders) -> QemuFacts | None:
    try:
        return read_qemu_facts(binary, DRIVERS, folders.cache)
    except (HostError, QemuError):
        return None

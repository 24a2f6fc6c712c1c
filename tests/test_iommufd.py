"""By groups or by iommufd: which of the two is taken, what it takes, and what is said where it cannot be had."""

from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from qlaunch.argv import build_args
from qlaunch.attachment import pci_attachment
from qlaunch.capability import lacks
from qlaunch.duty import lockable
from qlaunch.found import by_iommufd
from qlaunch.host.facts import HostFacts
from qlaunch.host.qemu import QemuFacts
from qlaunch.host.vfio import VfioFacts
from qlaunch.machine.model import Machine
from qlaunch.plan import place
from qlaunch.preparation import ownership
from qlaunch.preparation.wish import Wish
from qlaunch.run.loop import run_in_trio
from qlaunch.run.pci_plug import PciPlugs
from qlaunch.steps.owner import Owner
from qlaunch.steps.pci_driver import PciDriver
from qlaunch.values.access import Access
from qlaunch.values.pci import PciAddress
from tests import sites
from tests.fakes.host import FakeHost
from tests.fakes.pci import DEVICES, add_function
from tests.fakes.running import FakeRunning
from tests.hosts import build
from tests.test_pci_plug import FakeGuest

if TYPE_CHECKING:
    from qlaunch.errors import Problem
    from qlaunch.run.guest import Guest
    from qlaunch.run.launch import Running

RELEASE = "6.12.0-test"
MODULES = f"/lib/modules/{RELEASE}/modules.dep"
CONFIG = f"/boot/config-{RELEASE}"
GPU = "0000:0b:00.0"
WITH_CDEV = {"/dev/iommu": "", CONFIG: "CONFIG_VFIO=m\nCONFIG_VFIO_DEVICE_CDEV=y"}
WITH_CONTAINER = {"/dev/vfio/vfio": ""}


def facts(*files: dict[str, str]) -> HostFacts:
    """The desktop with a graphics card, on a kernel that has what is said."""
    made = build.load("desktop-two-ccx")
    for path in [path for path in made.texts if path.startswith(("/dev/vfio", "/lib/modules", "/sys/module/vfio"))]:
        del made.texts[path]
    made.texts |= {"/proc/sys/kernel/osrelease": RELEASE, MODULES: "kernel/drivers/vfio/vfio.ko:"}
    for more in files:
        made.texts |= more
    return HostFacts(made.tree())


def gaming(backend: str = "auto", **sections: Any) -> Machine:
    return sites.machine(
        pci=[{"host": "0b:00"}], host={"iommu_backend": backend, **sections.pop("host", {})}, **sections
    )


@pytest.mark.parametrize(
    ("files", "container", "iommufd"),
    [
        ({}, False, False),
        (WITH_CONTAINER, True, False),
        ({MODULES: "kernel/drivers/vfio/vfio_iommu_type1.ko.zst: x"}, True, False),
        (WITH_CDEV, False, True),
        ({MODULES: "kernel/drivers/iommu/iommufd/iommufd.ko.xz: x"}, False, True),
        ({**WITH_CDEV, CONFIG: "# CONFIG_VFIO_DEVICE_CDEV is not set"}, False, False),
        ({**WITH_CDEV, CONFIG: "", "/dev/vfio/devices/vfio0": ""}, False, True),
        ({**WITH_CDEV, **WITH_CONTAINER}, True, True),
    ],
    ids=["neither", "node", "module", "iommufd", "iommufd module", "built without", "seen", "both"],
)
def test_what_the_kernel_has_is_read(files: dict[str, str], container: bool, iommufd: bool) -> None:  # noqa: FBT001
    found = facts(files).vfio
    assert (found.container, found.iommufd) == (container, iommufd)


def test_a_kernel_whose_modules_are_not_to_be_seen_is_unknown() -> None:
    found = VfioFacts(HostFacts(build.expand({}).tree()).tree)
    assert (found.container, found.iommufd) == (None, None)


@pytest.mark.parametrize(
    ("backend", "files", "taken", "said"),
    [
        ("auto", {**WITH_CONTAINER, **WITH_CDEV}, False, ""),
        ("auto", WITH_CONTAINER, False, ""),
        ("auto", {}, False, ""),
        (
            "auto",
            WITH_CDEV,
            True,
            "info: the kernel 6.12.0-test has no VFIO container: devices are handed over by iommufd",
        ),
        ("iommufd", {**WITH_CONTAINER, **WITH_CDEV}, True, ""),
        ("iommufd", WITH_CONTAINER, True, "error: the kernel 6.12.0-test has no iommufd for VFIO devices"),
        ("container", WITH_CDEV, False, "error: the kernel 6.12.0-test has no VFIO container"),
    ],
)
def test_groups_are_taken_unless_the_file_or_the_kernel_says_otherwise(
    backend: str,
    files: dict[str, str],
    taken: bool,  # noqa: FBT001
    said: str,
) -> None:
    problems: list[Problem] = []
    assert by_iommufd(gaming(backend), facts(files), problems) is taken
    assert [f"{one.severity}: {one.message}" for one in problems] == (
        [said.replace("KERNEL", f"the kernel {RELEASE}")] if said else []
    )
    assert all(one.key == "host.iommu_backend" for one in problems)


def test_a_machine_without_devices_of_the_host_asks_nothing_of_the_kernel() -> None:
    problems: list[Problem] = []
    plain = sites.machine(host={"iommu_backend": "iommufd"})
    by_iommufd(plain, facts(), problems)
    assert problems == []
    assert not [
        arg for arg in build_args(plain, place("m", plain, sites.found(plain))) if arg.get("qom-type") == "iommufd"
    ]


def test_a_qemu_without_it_is_one_sentence() -> None:
    made = gaming("iommufd")
    args = [arg for arg in build_args(made, place("m", made, sites.found(made))) if "iommufd" in str(arg.body)]
    assert len(args) == 5  # the object, and four functions
    old = QemuFacts(
        path="/usr/bin/qemu-system-x86_64",
        version=(7, 2, 22),
        package="",
        accelerators=["kvm"],
        machines={},
        devices={"vfio-pci": dict.fromkeys(("host", "multifunction", "addr"), "str")},
        objects=["memory-backend-ram"],
        options={},
        cpu_models=[],
    )
    (problem,) = lacks(args, old)
    assert problem.message == "QEMU 7.2.22 has no iommufd, by which host.iommu_backend hands devices over; 9.0 has it"
    assert not list(lacks(args, msgspec.structs.replace(old, objects=["iommufd"])))


def wish(*, iommufd: bool) -> Wish:
    made = gaming(host={"user": "alice"})
    passwd = {"/etc/passwd": "alice:x:1000:1000::/home/alice:/bin/sh"}
    return Wish(name="m", uuid="", machine=made, facts=facts(passwd), runtime="/run/m", state="/s", iommufd=iommufd)


def test_each_device_becomes_the_user_s_and_what_all_devices_share_lets_that_user_in() -> None:
    """Machines of two users may run at once, and both open ``/dev/iommu``."""
    (step,) = ownership.steps(wish(iommufd=True))
    owned = {key: claim for key, claim in step.claims.items() if not key.startswith("/s")}
    assert owned == {
        "device of 0000:0b:00.0": "1000 may open",
        "device of 0000:0b:00.1": "1000 may open",
        "/dev/iommu": "1000 is let in",
    }
    (step,) = ownership.steps(wish(iommufd=False))
    assert [key for key in step.claims if " of " in key] == ["group of 0000:0b:00.0", "group of 0000:0b:00.1"]


def test_the_node_of_a_device_is_found_when_it_is_there() -> None:
    host, kind = FakeHost(), Owner()
    key = f"device of {GPU}"
    assert kind.read(host, key) is None
    host.folders.add(f"{DEVICES}/{GPU}/vfio-dev/vfio7")
    host.owners["/dev/vfio/devices/vfio7"] = host.owners["/dev/iommu"] = Access(0, 0, 0o600)
    kind.write(host, key, kind.merge(kind.read(host, key), ["1000 may open"]))
    assert kind.read(host, key) == "1000:0 600"
    both = kind.merge(kind.read(host, "/dev/iommu"), ["1000 is let in", "1001 is let in"])
    assert both == "0:0 660 u:1000:rw-,u:1001:rw-,g::---"


def test_a_kernel_without_groups_gives_each_device_a_node_and_that_is_waited_for() -> None:
    host, kind = FakeHost(), PciDriver()
    add_function(host, GPU, "amdgpu", group=1)
    bind = host.reactions["/sys/bus/pci/drivers_probe"]

    def without_groups(text: str) -> None:
        bind(text)
        del host.files["/dev/vfio/1"]
        host.folders.update((f"{DEVICES}/{GPU}/vfio-dev/vfio0", "/dev/vfio/devices/vfio0"))

    host.reactions["/sys/bus/pci/drivers_probe"] = without_groups
    kind.write(host, GPU, "vfio-pci override=vfio-pci")
    assert kind.read(host, GPU) == "vfio-pci override=vfio-pci"


def test_what_a_user_may_lock_counts_over_all_machines_of_that_user() -> None:
    gib = 1 << 30
    assert lockable(4 * gib, 64 * gib, iommufd=False) == 5 * gib
    assert lockable(4 * gib, 64 * gib, iommufd=True) == 65 * gib
    assert lockable(4 * gib, None, iommufd=True) == 5 * gib


class GuestWithObjects(FakeGuest):
    """One that knows its objects, too."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: list[str] = []

    async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> object:
        if command == "qom-list" and (arguments or {})["path"] == "/objects":
            return [{"name": name, "type": "child<iommufd>"} for name in self.objects]
        if command == "object-add":
            self.objects.append((arguments or {})["id"])
        return await super().execute(command, arguments)

    def change(self, command: str, asked: dict[str, Any]) -> object:
        if command == "object-add":
            self.heard.append(f"object-add {asked['id']}")
            return {}
        assert command != "device_add" or asked["iommufd"] in self.objects
        return super().change(command, asked)


def test_a_running_machine_gets_the_object_with_its_first_device_and_keeps_what_devices_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, guest = FakeRunning(), GuestWithObjects()
    duty = msgspec.structs.replace(running.record.duty, iommufd=True, user="alice")
    running.record = msgspec.structs.replace(running.record, duty=duty)
    plugs = PciPlugs(cast("Running", running), lambda: cast("Guest", guest))
    host = facts({"/etc/passwd": "alice:x:1000:1000::/home/alice:/bin/sh"})
    monkeypatch.setattr("qlaunch.run.pci_plug.HostFacts", lambda: host)
    monkeypatch.setattr("qlaunch.attachment.pci.refusals", lambda _wish: ())
    monkeypatch.setattr(PciPlugs, "_allow_memory_lock", lambda _self, _limit: None)

    async def act() -> None:
        for _ in range(2):
            await plugs.attach("0000:0b:00")
            await plugs.detach("0000:0b:00")

    run_in_trio(act)
    assert guest.heard.count("object-add iommufd0") == 1
    assert running.changes.heard.count("make /dev/iommu") == 1
    assert "undo /dev/iommu" not in running.changes.heard
    assert running.changes.heard.count("undo device of 0000:0b:00.0")
    made = pci_attachment(duty, PciAddress("0000:0b:00"), 0, host)
    assert [device["iommufd"] for device in made.devices] == ["iommufd0"] * 2


def test_a_machine_that_started_without_devices_gets_its_first_by_what_the_kernel_has() -> None:
    duty = msgspec.structs.replace(FakeRunning().record.duty, iommufd=False)
    for files, taken in ((WITH_CDEV, True), (WITH_CONTAINER, False), ({**WITH_CONTAINER, **WITH_CDEV}, False)):
        made = pci_attachment(duty, PciAddress("0000:0b:00"), 0, facts(files))
        assert ["iommufd" in device for device in made.devices] == [taken] * 2

"""The wanted PCI devices: identity, driver, holders, resets, what the host itself needs.

Source: the kernel's ``Documentation/ABI/testing/sysfs-bus-pci`` (reset, d3cold_allowed).
"""

from collections.abc import Iterator

from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed, unknown
from qlaunch.host.pci import PciDevice
from qlaunch.host.permissions import is_root

TITLE = "Devices"
# Display servers and compositors, as the kernel names them; they end with the display manager.
_DRAWS = frozenset(
    {"Xorg", "X", "Xwayland", "gnome-shell", "kwin_wayland", "kwin_x11", "sddm-greeter", "sway", "weston"}
)


def checks(question: Question) -> Iterator[Check]:
    """Yield the checks of each wanted slot."""
    if question.machine is None:
        return
    for pci in question.machine.pci:
        if not pci.is_named:
            continue  # the plan tells it
        slot = question.facts.pci.slot(pci.host)
        if not slot:
            if question.facts.pci.devices:
                yield failed("device-missing", f"there is no device at {pci.host}", "see: qlaunch groups")
            else:
                yield unknown("device-missing", f"this host does not tell its PCI devices: {pci.host} is not looked up")
            continue
        first = next((one for one in slot if one.address.function == (pci.host.function or 0)), slot[0])
        if pci.id and first.id != pci.id:
            message = f"{pci.host} is {question.name(first)}, {first.id}, and the file wants {pci.id}"
            elsewhere = [one for one in question.facts.pci.devices if one.id == pci.id]
            hint = f'write host = "{elsewhere[0].address.slot}"' if elsewhere else "see: qlaunch groups"
            yield failed("device-identity", message, hint)
        else:
            yield passed("device-identity", question.name(first))
    for device in question.wanted:
        if not device.bridge:
            yield from _resets(question, device)
    yield from _holders(question)
    yield from _own(question)


def _resets(question: Question, device: PciDevice) -> Iterator[Check]:
    settings = question.facts.pci_settings(str(device.address))
    if settings.reset_methods:
        yield passed("device-reset", f"{question.name(device)} resets by {', '.join(settings.reset_methods)}")
    elif device.resettable:
        yield passed("device-reset", f"{question.name(device)} can be reset")
    elif device.address.function == 0:
        message = f"{question.name(device)} has no way to be reset: a second start may need a reboot"
        yield failed("device-reset", message, "for AMD cards see the kernel module vendor-reset", "warning")
    if settings.power_state == "D3cold":
        message = f"{question.name(device)} sleeps without power (D3cold), and may not wake for a guest"
        yield failed(
            "device-power", message, f"run: echo on > /sys/bus/pci/devices/{device.address}/power/control", "warning"
        )


def _holders(question: Question) -> Iterator[Check]:
    if not question.wanted:
        return
    found: dict[tuple[int, str], set[str]] = {}
    for device in question.wanted:
        for holder in question.facts.holders.of(str(device.address)):
            if not holder.path.startswith("/dev/vfio/"):
                found.setdefault((holder.pid, holder.name), set()).add(holder.path)
    for (pid, name), paths in found.items():
        message = f"{name} (process {pid}) holds {', '.join(sorted(paths))}"
        if name in _DRAWS and question.machine and question.machine.host.services.stop:
            hint = f"{name} ends with the services of host.services, if it is theirs"
            yield failed("device-holder", message, hint, "info")
            continue
        yield failed("device-holder", message, f"end {name} first, or stop its service in host.services")
    if found:
        return
    unread = question.facts.holders.unread
    if unread and not is_root(question.facts.tree):
        message = f"{unread} processes of other users were not looked into: one may hold the device"
        yield unknown("device-holder", message, "run check as root")
    else:
        yield passed("device-holder", "no process holds a wanted device")


def _own(question: Question) -> Iterator[Check]:
    """Name what the host itself runs from: its system disk, and its way to the network."""
    for device in question.wanted:
        blocks = question.facts.blocks.on(device.address)
        uses = sorted({f"{use.kind} {use.detail}".strip() for disk in blocks for use in disk.uses if use.in_use})
        if uses:
            message = f"{question.name(device)} carries disks that this host uses: {', '.join(uses)}"
            yield failed("device-own", message, "take it out of [[pci]]")
        links = [link.name for link in question.facts.network.on(device.address) if link.default_route]
        if links:
            message = f"{question.name(device)} is this host's way to the network ({', '.join(links)})"
            yield failed("device-own", message, "take it out of [[pci]]")

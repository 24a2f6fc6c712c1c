"""Files and nodes that QEMU opens as the user that it runs as, while it does: their owners, and what stands against it.

What the user can open anyway, through an access list too, is left alone. Nodes that others may need as well keep
their owner, and the user gets an entry in their list. ``/dev/vfio/GROUP`` is made for this machine alone, and becomes
the user's, as do the files that QEMU writes. ``/dev/kvm`` is left to its group: KVM announces each guest that starts or
ends to udev, which throws all users but the one at the computer out of its list, perhaps just before QEMU opens it.

Source: the kernel's ``virt/kvm/kvm_main.c``, kvm_uevent_notify_change; ``owner.py`` for udev.
"""

import os
from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.host.account import is_self, uid_of
from qlaunch.host.permissions import closed_folder, may_open, what_lacks
from qlaunch.host.vfio import IOMMU
from qlaunch.preparation.functions import functions
from qlaunch.preparation.picture import socket_folder
from qlaunch.preparation.wish import Wish
from qlaunch.steps.owner import DEVICE_OF, ENTER, OF, claim_for, may_open as claim_of
from qlaunch.steps.step import Step

_KVM = "/dev/kvm"
_BOTH = os.R_OK | os.W_OK


def steps(wish: Wish) -> Iterator[Step]:
    """Yield the devices' nodes and the machine's files that are not this user's."""
    user = wish.machine.host.user
    uid = uid_of(wish.facts.tree, user) if user else None
    if user is None or uid is None or is_self(wish.facts.tree, user) or uid == 0:
        return
    # What is only read does not become its own: it could be written then.
    written = [path for _, path, mode in _files(wish) if mode == _BOTH]
    closed = [path for path in written if may_open(wish.facts.tree, path, user, _BOTH) is False]
    # These are made by the start itself; to be opened they need a way into their folder.
    own = [wish.vars] if wish.vars else []
    if wish.machine.serial.enabled and wish.machine.serial.log:
        own.append(f"{wish.state}/serial.log")
    lists = {path: claim_for(what_lacks(wish.facts.tree, path, user), uid) for path in _shared_nodes(wish)}
    claims = {path: claim for path, claim in lists.items() if claim}
    claims |= {key: claim_of(uid) for key in (*_vfio_nodes(wish), *own, *closed)}
    if own or wish.machine.tpm or socket_folder(wish):
        claims = {wish.state: ENTER, **claims}
    if claims:
        yield Step(kind="owner", summary=f"{user} may open what QEMU needs", claims=claims, lane="devices")


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield a user who does not exist, and what that user cannot reach."""
    tree, user = wish.facts.tree, wish.machine.host.user
    if user is None:
        return
    if uid_of(tree, user) is None:
        message = f"there is no user {user} on this host"
        yield Problem(code="no-user", key="host.user", message=message, hint="see: getent passwd")
        return
    if wish.machine.machine.accel != "tcg" and may_open(tree, _KVM, user) is False:
        hint = f"usermod -aG kvm {user}"
        yield Problem(code="user-kvm", key="host.user", message=f"{user} may not open {_KVM}", hint=hint)
    opened = [(key, path) for key, path, _ in _files(wish)]
    opened.append(("host.user", wish.state))
    for key, path in opened:
        folder = closed_folder(tree, path, user)
        if folder:
            message = f"{user} cannot reach {path}: {folder} does not let that user in"
            yield Problem(code="user-path", key=key, message=message, hint=f"move it, or: chmod o+x {folder}")
    for key, path, mode in _files(wish):
        if mode == os.R_OK and may_open(tree, path, user, mode) is False:
            message = f"{user} may not read {path}"
            yield Problem(code="user-path", key=key, message=message, hint=f"chmod o+r {path}")


def _shared_nodes(wish: Wish) -> list[str]:
    """Give the nodes that are not this machine's alone; keyboards and mice are in a step of their own."""
    glass = wish.machine.display.looking_glass_path
    return [*([IOMMU] if wish.iommufd and functions(wish) else []), *([glass] if glass else [])]


def _vfio_nodes(wish: Wish) -> list[str]:
    """Give the nodes of the PCI devices that are passed through."""
    if wish.iommufd:
        return [f"{DEVICE_OF}{address}" for address in functions(wish)]
    groups: dict[str | None, str] = {}
    for key in (f"{OF}{address}" for address in functions(wish)):  # one node a group, where the group is known
        link = wish.facts.tree.readlink(f"/sys/bus/pci/devices/{key.removeprefix(OF)}/iommu_group")
        groups.setdefault(link or key, key)
    return list(groups.values())


def _files(wish: Wish) -> Iterator[tuple[str, str, int]]:
    """Yield the key, the path and the access of each file that QEMU opens by its name."""
    machine = wish.machine
    for number, disk in enumerate(machine.disk):
        if disk.path:
            yield f"disk.{number}.path", disk.path, os.R_OK if disk.read_only or disk.media == "cdrom" else _BOTH
    for number, pci in enumerate(machine.pci):
        if pci.rom:
            yield f"pci.{number}.rom", pci.rom, os.R_OK
    for name in ("kernel", "initrd"):
        path = getattr(machine.boot, name)
        if path:
            yield f"boot.{name}", path, os.R_OK

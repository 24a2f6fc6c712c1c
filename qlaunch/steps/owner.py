"""Who may open a file that QEMU opens as a user other than root: its owner, its permission bits, its access list.

A key is a path, or ``group of ADDRESS`` for the node of a PCI function's VFIO group, or ``device of ADDRESS`` for its
own node: their numbers are known only once the function is there. A value is ``UID:GID MODE``, the mode in octal, and
the entries of the list where there is one. A claim is one of

- ``UID is let in``: by an entry of the list. The node stays its owner's, and several users can be let in;
- ``UID may open``: it becomes that user's, as a disk, or a node where the kernel keeps no lists;
- ``others may enter``, of a folder.

Source: ``path_resolution(7)``; ``acl(5)``; the kernel's ``Documentation/driver-api/vfio.rst`` (``/dev/vfio/GROUP``
belongs to root until somebody changes that); systemd's ``src/udev/udev-builtin-uaccess.c`` and
``src/shared/devnode-acl.c`` (whoever sits at the computer has an entry in the lists of its devices, which comes and
goes with the session; every other user is thrown out of them then, and at each event of the device).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from qlaunch.steps.kind import ForeignChangeError, Kind
from qlaunch.values.access import READ_WRITE, Access

if TYPE_CHECKING:
    from qlaunch.host.permissions import Lack
    from qlaunch.steps.host import Host

OF = "group of "
DEVICE_OF = "device of "
ENTER = "others may enter"
_OPEN = " may open"
_LET_IN = " is let in"


def may_open(uid: int) -> str:
    """Give the claim of a user, by number, whose own a file becomes."""
    return f"{uid}{_OPEN}"


def is_let_in(uid: int) -> str:
    """Give the claim of a user, by number, who gets an entry in the list of a file."""
    return f"{uid}{_LET_IN}"


def claim_for(lack: "Lack", uid: int) -> str | None:
    """Give the claim by which a user gets what is lacking."""
    return {"nothing": None, "entry": is_let_in(uid), "owner": may_open(uid)}[lack]


class Owner(Kind):
    """The group of a file stays: whoever reaches it through the group keeps doing so."""

    name = "owner"

    def read(self, host: "Host", key: str) -> str | None:
        """Give who may open it; None where it is not there, as a node whose device went back to its driver."""
        path = _path(host, key)
        access = host.access(path) if path else None
        return str(access) if access else None

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Set all of it. Raises OSError."""
        path = _path(host, key)
        if path and value:
            host.set_access(path, Access.parse(value))

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Add to what was there before what is claimed."""
        if original is None:
            return None
        access = Access.parse(original)
        for claim in sorted(set(claims)):
            access = self._given(access, claim)
        return str(access)

    def _given(self, access: Access, claim: str) -> Access:
        if claim == ENTER:
            return msgspec.structs.replace(access, mode=access.mode | 0o011)
        if claim.endswith(_LET_IN):
            return access.with_user(_user(claim))
        return msgspec.structs.replace(access, uid=_user(claim), mode=access.mode | READ_WRITE << 6)

    def agrees(self, claim: str, other: str) -> bool:
        """Any number of users can be let in."""
        return super().agrees(claim, other) or (
            not self.exclusive and claim.endswith(_LET_IN) and other.endswith(_LET_IN)
        )

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:
        """Whether the owner is the one of after and the bits are those of before, or the other way round."""
        wanted = self.merge(original, [claim])
        if not (current and original and wanted):
            return False
        found, *ends = (Access.parse(value) for value in (current, original, wanted))
        return all(
            getattr(found, part) in [getattr(end, part) for end in ends] for part in ("uid", "gid", "mode", "entries")
        )

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Give it back, if it is still there. What somebody else did to the list since stays, without our entry."""
        if current is None:
            return None
        if _is_thrown_out(current, original, self.merge(original, [*others, claim])):
            return self.merge(original, others) if others else original
        try:
            return super().settle(current, original, claim, others)
        except ForeignChangeError:
            if original is None or claim == ENTER:
                raise
            raise ForeignChangeError(self._without(current, original, claim, others)) from None

    def _without(self, current: str, original: str, claim: str, others: Sequence[str]) -> str | None:
        """Give what somebody else made of it without ours; None where ours is not to be found any more."""
        found, before = Access.parse(current), Access.parse(original)
        if claim.endswith(_LET_IN):
            uid, made = _user(claim), Access.parse(self.merge(original, [claim]) or "")
            ours = made.of_user(uid)
            is_there = ours is not None and found.of_user(uid) == ours
            return str(found.without_user(uid, before.of_user(uid))) if is_there and claim not in others else None
        # A journal from before lists were kept in it, or a list that came later: owner and bits are ours all the same.
        plain = found.with_list_of(before) if before.entries else found.without_list()
        target = super().settle(str(plain), original, claim, others)
        return str(Access.parse(target or original).with_list_of(found))


def _is_thrown_out(current: str, original: str | None, made: str | None) -> bool:
    """Whether udev took all users out of a list that had been made for ours alone: an empty one is left of it."""
    if not (original and made) or Access.parse(original).entries:
        return False
    found = Access.parse(current)
    return bool(found.entries) and not found.users and found.without_users() == Access.parse(made).without_users()


def _user(claim: str) -> int:
    return int(claim.partition(" ")[0])


def _path(host: "Host", key: str) -> str | None:
    if key.startswith(DEVICE_OF):
        names = host.listdir(f"/sys/bus/pci/devices/{key.removeprefix(DEVICE_OF)}/vfio-dev")
        return f"/dev/vfio/devices/{names[0]}" if names else None
    if not key.startswith(OF):
        return key
    group = host.readlink(f"/sys/bus/pci/devices/{key.removeprefix(OF)}/iommu_group")
    return f"/dev/vfio/{group.rpartition('/')[2]}" if group else None

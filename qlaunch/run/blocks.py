"""Which drive and which block node a person means. Pure.

Source: ``qapi/block-core.json`` (query-block: qdev is the device's QOM path, with its own id in it).
"""

from typing import Any

import msgspec

from qlaunch.errors import UsageError


class Image(msgspec.Struct, rename="kebab"):
    """What is in a drive."""

    filename: str
    virtual_size: int
    format: str = ""
    backing_image: dict[str, Any] | None = None
    snapshots: list[dict[str, Any]] = []


class Inserted(msgspec.Struct, rename="kebab"):
    """The node that a drive has."""

    image: Image
    node_name: str
    ro: bool


class Drive(msgspec.Struct, rename="kebab"):
    """A drive of the guest."""

    qdev: str = ""
    removable: bool = False
    inserted: Inserted | None = None

    @property
    def name(self) -> str:
        """The device's id, such as disk0."""
        parts = self.qdev.split("/")
        return parts[3] if len(parts) > 3 and parts[2] == "peripheral" else self.qdev


def drives(told: object) -> list[Drive]:
    """Read what query-block says: the drives that the guest has."""
    return [drive for drive in msgspec.convert(told, list[Drive]) if drive.qdev]


def find_drive(told: object, name: str | None) -> str:
    """Give the id of a removable drive: the one that is named, or the only one. Raises UsageError."""
    found = [drive for drive in drives(told) if drive.removable]
    for drive in found:
        if drive.name == name or (name is None and len(found) == 1):
            return drive.qdev
    names = ", ".join(drive.name for drive in found)
    if not found:
        raise UsageError("the machine has no removable drive", 'give it a [[disk]] with media = "cdrom"')
    raise UsageError(f"the machine has no removable drive {name!r}" if name else "which drive?", f"there is: {names}")


def find_node(told: object, name: str) -> tuple[str, int]:
    """Give the node of a disk, and its size in bytes. Raises UsageError."""
    found = [drive for drive in drives(told) if drive.inserted]
    for drive in found:
        if drive.name == name and drive.inserted:
            return drive.inserted.node_name, drive.inserted.image.virtual_size
    names = ", ".join(drive.name for drive in found)
    raise UsageError(f"the machine has no disk {name!r}", f"there is: {names}" if names else "it has none at all")

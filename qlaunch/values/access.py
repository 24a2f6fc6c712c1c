"""Who may open a file: its owner, its permission bits, and the list of others beside them.

The text is ``UID:GID MODE``, the mode in octal, and of a file with a list also its entries: ``0:104 660
u:1000:rw-,g::rw-``. Nothing is said twice: where there is a list, the bits of the group are the list's mask, as in
``ls -l``, and what the group itself may is in ``g::``.

Source: ``acl(5)`` ("Access check algorithm", "Correspondence between ACL entries and file permission bits"); the
kernel's ``include/uapi/linux/posix_acl.h`` (the tags) and ``posix_acl_xattr.h`` (version 2: four bytes of it, then tag,
permissions and number of each entry, in the order of the tags).
"""

import re
import struct
from collections.abc import Collection

import msgspec

ATTRIBUTE = "system.posix_acl_access"
READ_WRITE = 6

_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_LETTERS = {_USER: "u", _GROUP_OBJ: "g", _GROUP: "g"}
_NOBODY = 0xFFFFFFFF
_VERSION = 2
_HEAD, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_TEXT = re.compile(r"(\d+):(\d+) ([0-7]+)(?: (\S+))?", re.ASCII)
_ENTRY_TEXT = re.compile(r"([ug]):(\d*):([r-][w-][x-])", re.ASCII)


class Entry(msgspec.Struct, frozen=True, order=True):
    """What one user or group may, as three bits; the mask is not applied yet. Sorts as the kernel wants it."""

    tag: int
    number: int
    may: int

    def __str__(self) -> str:
        number = "" if self.number == _NOBODY else str(self.number)
        letters = "".join(letter if self.may & bit else "-" for letter, bit in zip("rwx", (4, 2, 1), strict=True))
        return f"{_LETTERS[self.tag]}:{number}:{letters}"


class Access(msgspec.Struct, frozen=True):
    """Owner and group by number, the permission bits, and the list: empty where there is none."""

    uid: int
    gid: int
    mode: int
    entries: tuple[Entry, ...] = ()

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.uid}:{self.gid} {self.mode:o}", ",".join(map(str, self.entries)))))

    @classmethod
    def parse(cls, text: str) -> "Access":
        """Read what is printed. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} does not say who may open a file, as '0:104 660' does")
        entries = tuple(_entry(word) for word in found[4].split(",")) if found[4] else ()
        return cls(int(found[1]), int(found[2]), int(found[3], 8), entries)

    @classmethod
    def of(cls, uid: int, gid: int, mode: int, attribute: bytes | None) -> "Access":
        """Read what the kernel gives: the numbers of ``stat`` and, where there is one, the attribute.

        Raises ValueError for a list of another version.
        """
        if attribute is None:
            return cls(uid, gid, mode)
        if len(attribute) < _HEAD.size or _HEAD.unpack_from(attribute) != (_VERSION,):
            raise ValueError("its access list is not one of version 2")
        try:
            found = [Entry(tag, number, may) for tag, may, number in _ENTRY.iter_unpack(attribute[_HEAD.size :])]
            single = {entry.tag: entry.may for entry in found}
            group = single.get(_MASK, single[_GROUP_OBJ])
            bits = single[_USER_OBJ] << 6 | group << 3 | single[_OTHER]
        except (struct.error, KeyError):
            raise ValueError("its access list is not whole") from None
        entries = tuple(entry for entry in found if entry.tag in _LETTERS)
        return cls(uid, gid, mode & ~0o777 | bits, entries if _MASK in single else ())

    def attribute(self) -> bytes:
        """Give the whole list as the kernel takes it; one that says no more than the bits takes a list away."""
        user, group, other = self.mode >> 6 & 7, self.mode >> 3 & 7, self.mode & 7
        ends = [Entry(_USER_OBJ, _NOBODY, user), Entry(_OTHER, _NOBODY, other)]
        middle = [*self.entries, Entry(_MASK, _NOBODY, group)] if self.entries else [Entry(_GROUP_OBJ, _NOBODY, group)]
        every = [ends[0], *middle, ends[1]]
        return _HEAD.pack(_VERSION) + b"".join(_ENTRY.pack(one.tag, one.may, one.number) for one in every)

    def allows(self, uid: int, groups: Collection[int], wanted: int) -> bool:
        """Whether a user in these groups, who is not root, gets all of the wanted bits."""
        mask = self.mode >> 3 & 7
        if uid == self.uid:
            return self.mode >> 6 & wanted == wanted
        if named := self.of_user(uid):
            return named.may & mask & wanted == wanted
        of_groups = [one for one in self.entries if one.tag != _USER] or [Entry(_GROUP_OBJ, _NOBODY, mask)]
        mine = [one.may & mask for one in of_groups if (self.gid if one.tag == _GROUP_OBJ else one.number) in groups]
        return any(may & wanted == wanted for may in mine or [self.mode & 7])

    @property
    def users(self) -> frozenset[int]:
        """The users who have an entry."""
        return frozenset(one.number for one in self.entries if one.tag == _USER)

    def of_user(self, uid: int) -> Entry | None:
        """Give the list's entry of a user."""
        return next((one for one in self.entries if (one.tag, one.number) == (_USER, uid)), None)

    def with_user(self, uid: int) -> "Access":
        """Let a user read and write; nobody else may more than before.

        The mask holds for all of the list. So what it kept from others is taken from their entries before it grows.
        """
        if uid == self.uid:
            return msgspec.structs.replace(self, mode=self.mode | READ_WRITE << 6)
        mask, own = self.mode >> 3 & 7, self.of_user(uid)
        before = self.entries or (Entry(_GROUP_OBJ, _NOBODY, mask),)
        lowered = [Entry(one.tag, one.number, one.may & mask) for one in before if one != own]
        mine = Entry(_USER, uid, READ_WRITE | (own.may & mask if own else 0))
        return self._with((*lowered, mine))

    def without_user(self, uid: int, before: Entry | None) -> "Access":
        """Take a user's entry away, or put that of before in its place; the rest is left as it is."""
        rest = tuple(one for one in self.entries if one != self.of_user(uid))
        mask = self.mode >> 3 & 7
        if before:
            return msgspec.structs.replace(self, entries=tuple(sorted((*rest, before))))
        if len(rest) > 1:
            return msgspec.structs.replace(self, entries=rest)
        group = rest[0].may & mask if rest else mask
        return msgspec.structs.replace(self, entries=(), mode=self.mode & ~0o070 | group << 3)

    def without_list(self) -> "Access":
        """Take the whole list away; the bits of the group say again what the group itself may."""
        group = next((one.may for one in self.entries if one.tag == _GROUP_OBJ), self.mode >> 3 & 7)
        return msgspec.structs.replace(self, entries=(), mode=self.mode & ~0o070 | group << 3)

    def with_list_of(self, other: "Access") -> "Access":
        """Take another's list, and its mask with it."""
        if not other.entries:
            return self.without_list()
        return msgspec.structs.replace(self, entries=other.entries, mode=self.mode & ~0o070 | other.mode & 0o070)

    def without_users(self) -> "Access":
        """Take every user out, as udev does; the mask is that of no list."""
        rest = tuple(one for one in self.entries if one.tag != _USER)
        return msgspec.structs.replace(self, entries=rest, mode=self.mode & ~0o070)

    def _with(self, entries: Collection[Entry]) -> "Access":
        mask = 0
        for one in entries:
            mask |= one.may
        return msgspec.structs.replace(self, entries=tuple(sorted(entries)), mode=self.mode & ~0o070 | mask << 3)


def _entry(text: str) -> Entry:
    found = _ENTRY_TEXT.fullmatch(text)
    if not found or (found[1] == "u" and not found[2]):
        raise ValueError(f"{text!r} is no entry of an access list such as 'u:1000:rw-'")
    may = sum(bit for letter, bit in zip(found[3], (4, 2, 1), strict=True) if letter != "-")
    if not found[2]:
        return Entry(_GROUP_OBJ, _NOBODY, may)
    return Entry(_USER if found[1] == "u" else _GROUP, int(found[2]), may)

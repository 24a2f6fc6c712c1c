"""The one reader of /sys, /proc, /dev and the few files beside them, under a root that may be a captured tree.

Paths are always those of the computer that is described: ``/sys/…``, whatever the root. Below another root than ``/``
links are followed inside that root, as in a chroot, so that a captured tree never shows a fact of this computer.

Owns: opening, following, decoding, and the record of what was read (for `capture`). Must not: write, know what a file
means, or raise for what a file holds: what is missing, forbidden or odd is None.

Source: the kernel's ``Documentation/filesystems/sysfs.rst`` (an attribute is at most a page).
"""

import os
from collections.abc import Iterable, Mapping

from qlaunch.errors import HostError
from qlaunch.host.tree_source import Disk, Memory, Source, open_archive
from qlaunch.values.cpus import CpuSet

# As many links as Linux follows in one path (MAXSYMLINKS in include/linux/namei.h).
_MOST_LINKS = 40


class Record:
    """What was read of a tree, by path after following links, and the links: enough to give the same answers again."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.folders: dict[str, list[str]] = {}
        self.present: set[str] = set()

    def contents(self) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
        """Give files, links and folders of a tree that answers as this one did; what was seen and not read is empty."""
        folders = set(self.folders)
        for path in (*self.files, *self.links, *self.folders, *self.present):
            while (path := path.rpartition("/")[0]) and path not in folders:
                folders.add(path)
        listed = (f"{folder}/{name}" for folder, names in self.folders.items() for name in names)
        seen = {path for path in (*listed, *self.present) if path not in self.links and path not in folders}
        return dict.fromkeys(sorted(seen), "") | self.files, self.links, tuple(sorted(self.folders))


class Tree:
    """The files of one computer: this one (``/``), a captured folder, or a captured ``.tar.gz``."""

    def __init__(self, root: str = "/", *, record: bool = False, source: Source | None = None) -> None:
        """Open a tree. Raises HostError when the root is neither a folder nor an archive that can be read."""
        self.root = root
        self.record = Record() if record else None
        self.live = os.path.isdir(root) and os.path.realpath(root) == "/"
        """Whether this is the running computer, where the environment and processes mean something too."""
        self._steps: dict[str, str] = {}
        self._source = source or _source(root, live=self.live)

    @classmethod
    def holding(
        cls,
        files: Mapping[str, str],
        links: Mapping[str, str],
        folders: Iterable[str] = (),
        *,
        record: bool = False,
    ) -> "Tree":
        """Make a tree in memory of texts and links by path; ``folders`` are those that may be empty."""
        contents = {path: text.encode() for path, text in files.items()}
        return cls("memory:", record=record, source=Memory(contents, dict(links), tuple(folders)))

    def read(self, path: str, limit: int | None = None) -> str | None:
        """Give a file's text without the white space around it, or None. ``limit`` is in bytes."""
        real = self._real(path)
        content = self._source.load(real, limit)
        if content is None:
            return None
        text = content.decode(errors="replace").strip()
        if self.record is not None:
            self.record.files[real] = text
        return text

    def lines(self, path: str) -> list[str]:
        """Give a file's lines; none when it cannot be read."""
        return (self.read(path) or "").splitlines()

    def label(self, path: str) -> str | None:
        """Give text that a device chose itself, such as its name, without anything that moves a terminal's cursor."""
        text = self.read(path)
        return "".join(letter for letter in text if letter.isprintable()).strip() or None if text else None

    def number(self, path: str) -> int | None:
        """Give a file's decimal number."""
        return whole_number(self.read(path))

    def hexadecimal(self, path: str) -> int | None:
        """Give a file's hexadecimal number, with or without ``0x``."""
        return whole_number(self.read(path), 16)

    def cpus(self, path: str) -> CpuSet | None:
        """Give a file's CPU list; None when there is no such file, or it holds something else."""
        text = self.read(path)
        try:
            # nohz_full prints "(null)" where it is not set (drivers/base/cpu.c, before 6.10).
            return None if text is None else CpuSet.parse("" if text.strip() == "(null)" else text)
        except ValueError:
            return None

    def properties(self, path: str, names: Iterable[str]) -> dict[str, str]:
        """Give the named ``NAME=value`` lines of a file; only those are recorded, since others may be private."""
        real = self._real(path)
        content = self._source.load(real, None)
        if content is None:
            return {}
        wanted = tuple(f"{name}=" for name in names)
        found = [line for line in content.decode(errors="replace").splitlines() if line.startswith(wanted)]
        if self.record is not None:
            self.record.files[real] = "\n".join(found)
        return {name: value for name, _, value in (line.partition("=") for line in found)}

    def data(self, path: str) -> bytes | None:
        """Give a file's bytes, unrecorded: for the large tables that every distribution has, such as pci.ids."""
        return self._source.load(self._real(path), None)

    def listdir(self, path: str) -> list[str]:
        """Give the names in a folder, sorted; none when it cannot be read."""
        return self.names(path) or []

    def names(self, path: str) -> list[str] | None:
        """Give the names in a folder, sorted; None when it cannot be read, which may be for want of permission."""
        real = self._real(path)
        names = self._source.names(real)
        if names is None:
            return None
        names.sort()
        if self.record is not None:
            self.record.folders[real] = names
        return names

    def readlink(self, path: str) -> str | None:
        """Give a link's text as it stands, or None. Links of /sys are enough to tell where a device hangs."""
        parent, _, name = path.rpartition("/")
        real = f"{self._real(parent)}/{name}"
        target = self._source.link(real)
        if target is not None and self.record is not None:
            self.record.links[real] = target
        return target

    def linked_name(self, path: str) -> str | None:
        """Give the last name of a link's text, e.g. the driver's that ``driver`` points to."""
        target = self.readlink(path)
        return target.rstrip("/").rpartition("/")[2] if target else None

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        real = self._real(path)
        found = self._source.exists(real)
        if found and self.record is not None:
            self.record.present.add(real)
        return found

    def _real(self, path: str, depth: int = 0) -> str:
        """Follow links inside the root. The kernel does it for ``/`` itself, but a record needs to know them."""
        if self.live and self.record is None:
            return path
        real = ""
        for name in path.split("/"):
            if name == "..":
                real = real.rpartition("/")[0]
            elif name not in ("", "."):
                step = f"{real}/{name}"
                known = self._steps.get(step)
                if known is None:
                    known = self._steps[step] = self._follow(real, step, depth)
                real = known
        return real

    def _follow(self, folder: str, step: str, depth: int) -> str:
        target = self._source.link(step)
        if target is None:
            return step
        if self.record is not None:
            self.record.links[step] = target
        if depth > _MOST_LINKS:
            # A loop: a path that names nothing.
            return "/\ufffd"
        return self._real(target if target.startswith("/") else f"{folder}/{target}", depth + 1)


def _source(root: str, *, live: bool) -> Source:
    if os.path.isdir(root):
        return Disk("" if live else os.path.realpath(root))
    if os.path.isfile(root):
        return open_archive(root)
    raise HostError(f"{root} is neither a folder nor a file", "give a folder, or what qlaunch capture wrote")


def whole_number(text: str | None, base: int = 10) -> int | None:
    """Read a number that may be missing or something else."""
    try:
        return int(text, base) if text else None
    except ValueError:
        return None

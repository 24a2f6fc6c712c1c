"""The one reader of /sys, /proc, /dev and the few files beside them, under a root that may be a captured tree.

Paths are always those of the computer that is described: ``/sys/…``, whatever the root. Below another root than ``/``
links are followed inside that root, as in a chroot, so that a captured tree never shows a fact of this computer.

Owns: opening, following, decoding, and telling the record what was read. Must not: write, know what a file means, or
raise for what a file holds: what is missing, forbidden or odd is None.

Source: the kernel's ``Documentation/filesystems/sysfs.rst`` (an attribute is at most a page).
"""

import os
from collections.abc import Callable, Iterable, Mapping

from qlaunch.errors import HostError
from qlaunch.host.record import Record
from qlaunch.host.tree_source import Disk, Memory, Source
from qlaunch.values.cpus import CpuSet

# As many links as Linux follows in one path (MAXSYMLINKS in include/linux/namei.h).
_MOST_LINKS = 40


class Tree:
    """The files of one computer: this one (``/``), a captured folder, or a captured ``.tar.gz``."""

    def __init__(
        self, root: str = "/", *, record: bool = False, private: bool = False, source: Source | None = None
    ) -> None:
        """Open a tree; ``private`` lets a record take serial numbers too.

        Raises HostError when the root is neither a folder nor an archive that can be read.
        """
        self.root = root
        self.record = Record(private=private) if record else None
        self.live = os.path.isdir(root) and os.path.realpath(root) == "/"
        """Whether this is the running computer, where the environment and processes mean something too."""
        self._steps: dict[str, str] = {}
        self._source = source or _source(root, live=self.live)

    @classmethod
    def holding(
        cls,
        files: Mapping[str, str | None],
        links: Mapping[str, str],
        folders: Iterable[str] = (),
        *,
        record: bool = False,
    ) -> "Tree":
        """Make a tree in memory of texts and links by path; ``folders`` are those that may be empty.

        A file whose text is None is there and cannot be read.
        """
        contents = {path: None if text is None else text.encode() for path, text in files.items()}
        return cls("memory:", record=record, source=Memory(contents, dict(links), tuple(folders)))

    def read(self, path: str, limit: int | None = None) -> str | None:
        """Give a file's text without the white space around it, or None. ``limit`` is in bytes."""
        real = self._real(path)
        record = self.record
        if record is not None and real in record.files and real not in record.partial:
            # Counters move on between two questions; what is recorded has one answer.
            return record.files[real]
        text = self._text(real, limit)
        if record is not None and text is not None:
            record.files[real] = text
            record.partial.discard(real)
        return text

    def secret(self, path: str) -> str | None:
        """Give a file's text; a record takes it only if it was told to take private things too."""
        if self.record is None or self.record.private:
            return self.read(path)
        return self._text(self._real(path), None)

    def distilled(self, path: str, keep: Callable[[str], str | None]) -> list[str]:
        """Give what ``keep`` makes of each line, without those of which it makes None; nothing else is recorded."""
        real = self._real(path)
        text = self._text(real, None)
        if text is None:
            return []
        kept = [line for line in map(keep, text.splitlines()) if line is not None]
        if self.record is not None:
            self.record.add_lines(real, kept)
        return kept

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
        wanted = tuple(f"{name}=" for name in names)
        found = self.distilled(path, lambda line: line if line.startswith(wanted) else None)
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

    def readlink(self, path: str, below: str = "") -> str | None:
        """Give a link's text as it stands, or None. Links of /sys are enough to tell where a device hangs.

        One whose text does not begin with ``below`` is nobody's business: it is None, and not recorded.
        """
        parent, _, name = path.rpartition("/")
        real = f"{self._real(parent)}/{name}"
        target = self._source.link(real)
        if target is None or not target.startswith(below):
            return None
        if self.record is not None:
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
        if self.record is not None:
            (self.record.present if found else self.record.absent).add(real)
        return found

    def _text(self, real: str, limit: int | None) -> str | None:
        content = self._source.load(real, limit)
        if content is None:
            if self.record is not None and self._source.exists(real):
                self.record.unreadable.add(real)
            return None
        return content.decode(errors="replace").strip()

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
        from qlaunch.host.archive import open_archive  # noqa: PLC0415 - for --host-root with an archive alone

        return open_archive(root)
    raise HostError(f"{root} is neither a folder nor a file", "give a folder, or what qlaunch capture wrote")


def whole_number(text: str | None, base: int = 10) -> int | None:
    """Read a number that may be missing or something else."""
    try:
        return int(text, base) if text else None
    except ValueError:
        return None

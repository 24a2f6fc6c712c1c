"""Where the files of a tree come from: a folder of this computer, or memory (a captured archive, a test).

Owns: the four questions below. Must not: follow links (`tree.py` does, so that they stay inside the root), decode.
"""

import os
from typing import Protocol

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CHUNK = 1 << 16
# One page: an attribute of /sys is never longer, so a shorter answer is all of it.
_PAGE = 4096


class Source(Protocol):
    """Answers about one path, without following a link in its last part when below another root."""

    def load(self, path: str, limit: int | None) -> bytes | None:
        """Give a file's content, at most about ``limit`` bytes of it."""

    def names(self, path: str) -> list[str] | None:
        """Give the names in a folder."""

    def link(self, path: str) -> str | None:
        """Give a link's text."""

    def exists(self, path: str) -> bool:
        """Whether the path is there."""


class Disk:
    """A folder of this computer; the empty prefix is ``/``."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def load(self, path: str, limit: int | None) -> bytes | None:
        """Read a file."""
        try:
            file = os.open(self._prefix + path, _READ)
        except (OSError, ValueError):
            return None
        try:
            content = os.read(file, min(limit or _CHUNK, _CHUNK))
            if len(content) < _PAGE and path.startswith("/sys/"):
                return content
            while (limit is None or len(content) < limit) and (more := os.read(file, _CHUNK)):
                content += more
        except OSError:
            # Drivers answer EIO, EINVAL or ENODEV for what they cannot tell now.
            return None
        else:
            return content
        finally:
            os.close(file)

    def names(self, path: str) -> list[str] | None:
        """List a folder."""
        try:
            return os.listdir(self._prefix + path or "/")
        except (OSError, ValueError):
            return None

    def link(self, path: str) -> str | None:
        """Read a link."""
        try:
            return os.readlink(self._prefix + path)
        except (OSError, ValueError):
            return None

    def exists(self, path: str) -> bool:
        """Look for a path."""
        try:
            return os.path.exists(self._prefix + path or "/")
        except ValueError:
            return False


class Memory:
    """Files and links by path; folders are what their paths imply. A file of None is there and cannot be read."""

    def __init__(self, files: dict[str, bytes | None], links: dict[str, str], folders: tuple[str, ...] = ()) -> None:
        self._files = files
        self._links = links
        self._folders: dict[str, set[str]] = {"": set()}
        for path in (*files, *links):
            self._enter(path)
        for path in folders:
            self._enter(path)
            self._folders.setdefault(path, set())

    def _enter(self, path: str) -> None:
        while path:
            folder, _, name = path.rpartition("/")
            known = self._folders.setdefault(folder, set())
            if name in known:
                return
            known.add(name)
            path = folder

    def load(self, path: str, limit: int | None) -> bytes | None:
        """Give a file."""
        content = self._files.get(path)
        return content[:limit] if content is not None else None

    def names(self, path: str) -> list[str] | None:
        """List a folder."""
        names = self._folders.get(path)
        return list(names) if names is not None else None

    def link(self, path: str) -> str | None:
        """Give a link."""
        return self._links.get(path)

    def exists(self, path: str) -> bool:
        """Look for a path."""
        return path in self._files or path in self._folders

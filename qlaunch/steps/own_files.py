"""Files and folders that are there for one machine: the picture's shared memory, the folder of a display's socket.

Owns: the system calls. A file comes into being whole, with its size and owner, so whoever looks finds it so or not
at all. Must not: follow a link that somebody left in a folder of everybody's, such as ``/dev/shm``.

Source: ``open(2)`` (O_TMPFILE), ``linkat(2)``, ``shm_overview(7)``.
"""

import os
import shutil
import stat
from contextlib import suppress
from typing import Protocol


class OwnFiles(Protocol):
    """Each raises OSError."""

    def look(self, path: str) -> str | None:
        """Say what is there: ``67108864 bytes of 1000:36 660``, ``folder of 1000:100 700``, or None."""

    def make_file(self, path: str, size: int, uid: int, gid: int, mode: int) -> None:
        """Make a file of zeros, where there is none."""

    def make_folder(self, path: str, uid: int, gid: int, mode: int) -> None:
        """Make a folder, or give one that is there its owner."""

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with what is in it, if it is there."""


class LocalOwnFiles:
    """Those of this computer."""

    def look(self, path: str) -> str | None:
        """See OwnFiles."""
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            return None
        owner = f"{info.st_uid}:{info.st_gid} {stat.S_IMODE(info.st_mode):o}"
        if stat.S_ISREG(info.st_mode):
            return f"{info.st_size} bytes of {owner}"
        return f"{'folder' if stat.S_ISDIR(info.st_mode) else 'other'} of {owner}"

    def make_file(self, path: str, size: int, uid: int, gid: int, mode: int) -> None:
        """See OwnFiles."""
        above, name = os.path.split(path)
        folder = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            descriptor = os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=folder)
        except BaseException:
            os.close(folder)
            raise
        try:
            os.ftruncate(descriptor, size)
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            # Without a folder's descriptor Python calls link(2), which links the link in /proc itself.
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)
            os.close(descriptor)

    def make_folder(self, path: str, uid: int, gid: int, mode: int) -> None:
        """See OwnFiles."""
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, mode)
            os.fchown(descriptor, uid, gid)
        finally:
            os.close(descriptor)

    def remove(self, path: str) -> None:
        """See OwnFiles."""
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except FileNotFoundError:
            return

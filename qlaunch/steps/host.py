"""The host that steps change, as a small set of doors; tests have another one behind the same doors.

Owns: every write to /sys and /proc, which is told from where it was refused, and waiting for the kernel. Must not: know
what a path means.

Source: ``netlink(7)``, NETLINK_KOBJECT_UEVENT; the kernel's ``lib/kobject_uevent.c`` (group 1 is the kernel's own).
"""

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from qlaunch.steps.kernel_write import in_child, set_usb_driver, write_in_child, write_once
from qlaunch.values.cpus import CpuSet

if TYPE_CHECKING:
    from qlaunch.steps.links import Links
    from qlaunch.steps.nftables import Nftables
    from qlaunch.steps.own_files import OwnFiles
    from qlaunch.steps.own_links import OwnLinks
    from qlaunch.steps.systemd import Systemd
    from qlaunch.values.access import Access

# The kernel tells most of what is waited for by an event. Where it does not, this is how late it is seen.
_LOOK_AGAIN_S = 0.5


class Host(Protocol):
    """What a kind of step may do. Paths are always those of the computer: ``/sys/…``. Each raises OSError."""

    @property
    def netlink(self) -> "Links":
        """The network's links."""

    @property
    def own_links(self) -> "OwnLinks":
        """The links that qlaunch makes."""

    @property
    def own_files(self) -> "OwnFiles":
        """The files that qlaunch makes."""

    @property
    def nftables(self) -> "Nftables":
        """The packet filter."""

    @property
    def systemd(self) -> "Systemd":
        """The system's manager of services."""

    def read(self, path: str) -> str | None:
        """Give a file's text without the white space around it; None where there is no such file."""

    def write(self, path: str, text: str, *, deadline_s: float | None = None) -> None:
        """Put a text into a file by one system call.

        With a deadline, by a process that can be given up: some writes wait in the kernel for as long as a device is
        in use. Raises TimeoutError then, and the write may still happen.
        """

    def listdir(self, path: str) -> list[str]:
        """Give the names in a folder, sorted; none where there is no such folder."""

    def readlink(self, path: str) -> str | None:
        """Give a link's text; None where there is none."""

    def exists(self, path: str) -> bool:
        """Whether something is there."""

    def access(self, path: str) -> "Access | None":
        """Give who may open a file; None where there is no such file."""

    def set_access(self, path: str, access: "Access") -> None:
        """Change who may open a file. Raises HostError for what may be another file than meant."""

    def make_folder(self, path: str) -> None:
        """Make a folder, such as a cgroup."""

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder, such as a cgroup."""

    def run(
        self,
        argv: list[str],
        *,
        timeout_s: float,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        log: str | None = None,
    ) -> str:
        """Run a program to its end, without a shell, and give what it printed. Raises HostError when it fails.

        As another user in that user's environment, with ``environment`` on top of it; ``log`` is a file that gets what
        was printed as well.
        """

    def marked(self, mark: str) -> list[int]:
        """Give the processes that have ``NAME=value`` in their environment."""

    def end_marked(self, mark: str) -> list[int]:
        """End the processes that have ``NAME=value`` in their environment; give those that do not end."""

    def set_affinity(self, pid: int, cpus: CpuSet) -> None:
        """Let a thread run on these CPUs only."""

    def tell(self, text: str) -> None:
        """Say how far a change is that takes its time."""

    def processes(self, argv: list[str]) -> list[int]:
        """Give the numbers of the processes with a command line."""

    def end_process(self, pid: int, argv: list[str]) -> None:
        """Ask a process with a command line to end, make it end, and wait until it is gone. Raises HostError."""

    def set_usb_driver(self, node: str, interface: int, *, attached: bool, deadline_s: float) -> None:
        """Let the kernel's driver have an interface of a USB device, or take it from it. Raises TimeoutError, too.

        Whoever may open the device may do so: it needs no root.
        """

    def holders(self, address: str) -> list[str]:
        """Name the processes that hold a PCI function's nodes open: ``Xorg (process 812)``."""

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition holds, looking again at every event of the kernel; whether it came to hold."""

    def at_work(self) -> AbstractContextManager[None]:
        """Keep what this thread opens until the end of its work, such as a connection, to use it again."""


class LocalHost:
    """The computer that this runs on. ``say`` hears how far long changes are."""

    def __init__(self, say: Callable[[str], None] = lambda _text: None) -> None:
        self._say = say

    @cached_property
    def netlink(self) -> "Links":
        """See Host."""
        from qlaunch.steps.links import Netlink  # noqa: PLC0415 - few machines change links

        return Netlink()

    @cached_property
    def own_links(self) -> "OwnLinks":
        """See Host."""
        from qlaunch.steps.own_links import OwnNetlinks  # noqa: PLC0415 - few machines change links

        return OwnNetlinks()

    @cached_property
    def own_files(self) -> "OwnFiles":
        """See Host."""
        from qlaunch.steps.own_files import LocalOwnFiles  # noqa: PLC0415 - shutil

        return LocalOwnFiles()

    @cached_property
    def nftables(self) -> "Nftables":
        """See Host."""
        from qlaunch.steps.nftables import LocalNftables  # noqa: PLC0415 - few machines translate

        return LocalNftables()

    @cached_property
    def systemd(self) -> "Systemd":
        """See Host."""
        from qlaunch.steps.systemd import SystemBus  # noqa: PLC0415 - jeepney

        return SystemBus()

    def read(self, path: str) -> str | None:
        """See Host."""
        try:
            with open(path, "rb") as file:
                return file.read().decode(errors="surrogateescape").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            # What goes between open and read: a process, a file of /sys or a cgroup's, another one of /proc such as an
            # interrupt's. Of one that stays the same numbers are errors.
            if error.errno not in (errno.ESRCH, errno.ENODEV, errno.EIO) or os.path.exists(path):
                raise
            return None

    def write(self, path: str, text: str, *, deadline_s: float | None = None) -> None:
        """See Host."""
        if deadline_s is None:
            write_once(path, text)
        else:
            write_in_child(path, text, deadline_s)

    def listdir(self, path: str) -> list[str]:
        """See Host."""
        try:
            return sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def readlink(self, path: str) -> str | None:
        """See Host."""
        try:
            return os.readlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, path: str) -> bool:
        """See Host."""
        return os.path.exists(path)

    def access(self, path: str) -> "Access | None":
        """See Host."""
        from qlaunch.host.permissions import read_access  # noqa: PLC0415 - for a QEMU of another user

        try:
            return read_access(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def set_access(self, path: str, access: "Access") -> None:
        """See Host."""
        from qlaunch.steps.set_access import set_access  # noqa: PLC0415 - same

        set_access(path, access)

    def make_folder(self, path: str) -> None:
        """See Host."""
        os.mkdir(path, 0o755)

    def remove_folder(self, path: str) -> None:
        """See Host."""
        os.rmdir(path)

    def run(
        self,
        argv: list[str],
        *,
        timeout_s: float,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        log: str | None = None,
    ) -> str:
        """See Host."""
        from qlaunch.steps.command import run_command  # noqa: PLC0415 - most steps are writes

        # What a program of the system says is shown to people, and looked through for words.
        extra = environment if user or environment else {"LC_ALL": "C"}
        return run_command(argv, timeout_s=timeout_s, user=user, environment=extra, log=log)

    def marked(self, mark: str) -> list[int]:
        """See Host."""
        from qlaunch.steps.marked import find_marked  # noqa: PLC0415 - for helpers alone

        return find_marked(mark)

    def end_marked(self, mark: str) -> list[int]:
        """See Host."""
        from qlaunch.steps.marked import end_marked  # noqa: PLC0415 - same

        return end_marked(mark)

    def set_affinity(self, pid: int, cpus: CpuSet) -> None:
        """See Host."""
        os.sched_setaffinity(pid, cpus)

    def tell(self, text: str) -> None:
        """See Host."""
        self._say(text)

    def processes(self, argv: list[str]) -> list[int]:
        """See Host."""
        from qlaunch.steps.processes import with_command_line  # noqa: PLC0415 - few machines have helpers

        return with_command_line(argv)

    def end_process(self, pid: int, argv: list[str]) -> None:
        """See Host."""
        from qlaunch.steps.processes import end_process  # noqa: PLC0415 - same

        end_process(pid, argv)

    def set_usb_driver(self, node: str, interface: int, *, attached: bool, deadline_s: float) -> None:
        """See Host."""
        in_child(lambda: set_usb_driver(node, interface, attached=attached), node, deadline_s)

    def holders(self, address: str) -> list[str]:
        """See Host."""
        from qlaunch.host.holders import read_holders  # noqa: PLC0415 - for PCI alone
        from qlaunch.host.tree import Tree  # noqa: PLC0415 - same

        return sorted({f"{holder.name} (process {holder.pid})" for holder in read_holders(Tree()).of(address)})

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """See Host."""
        if condition():
            return True
        end = time.monotonic() + timeout_s
        with closing(_uevents()) as events:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                if select.select([events], [], [], min(left, _LOOK_AGAIN_S))[0]:
                    with suppress(OSError):  # ENOBUFS: events were lost, so it is time to look
                        events.recv(8192)
        return True

    def at_work(self) -> AbstractContextManager[None]:
        """See Host."""
        from qlaunch.steps.bus import kept_open  # noqa: PLC0415 - the journal's engine alone

        return kept_open()


def _uevents() -> socket.socket:
    """Open the kernel's own events; all that is lost without them is time."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 15)
    with suppress(OSError):
        events.bind((0, 1))
    return events

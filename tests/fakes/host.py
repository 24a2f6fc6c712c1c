"""A host in memory behind the doors of ``qlaunch.steps.host``: it can fail, hang, or be killed at write n.

Its behaviour is held against the kernel's in ``tests/lab``.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import msgspec

from qlaunch.steps.vf import printed
from qlaunch.values.access import Access
from qlaunch.values.cpus import CpuSet
from tests.fakes.files import FakeOwnFiles
from tests.fakes.links import FakeNftables, FakeOwnLinks


class Killed(BaseException):
    """The process dies here; no handler of the program under test may see it."""


def _nothing(_number: int, _path: str, _text: str) -> None:
    """No fault."""


class FakeLinks:
    """Links in memory: settings of virtual functions by link and number."""

    def __init__(self, host: "FakeHost") -> None:
        self.states: dict[str, str] = {}
        self.functions: dict[tuple[str, int], dict[str, str]] = {}
        self.refused: dict[str, int] = {}  # errno by setting
        self._host = host

    def state(self, name: str) -> str | None:
        return self.states.get(name)

    def set_state(self, name: str, state: str) -> None:
        if name not in self.states:
            raise OSError(19, "No such device", name)
        self._host.change(name, state, lambda: self.states.update({name: state}))

    def function(self, pf: str, number: int) -> dict[str, str] | None:
        found = self.functions.get((pf, number))
        return dict(found) if found else None

    def set_function(self, pf: str, number: int, settings: Mapping[str, str]) -> None:
        for name, text in settings.items():
            if name in self.refused:
                raise OSError(self.refused[name], "refused", f"{pf} vf {number} {name}={text}")
            change = {name: text}
            self._host.change(f"{pf} vf {number}", printed(change), lambda: self.functions[pf, number].update(change))  # noqa: B023


class FakeSystemd:
    """Units in memory: their states, and the CPUs of slices."""

    def __init__(self, host: "FakeHost") -> None:
        self.states: dict[str, str] = {}
        self.limits: dict[str, CpuSet] = {}
        self.aliases: dict[str, list[str]] = {}
        self.sessions: list[str] = []
        self._host = host

    def state(self, unit: str) -> str:
        return self.states.get(unit, "missing")

    def names(self, unit: str) -> list[str]:
        return [unit, *self.aliases.get(unit, ())]

    def graphical_sessions(self) -> list[str]:
        return list(self.sessions)

    def start(self, unit: str) -> None:
        self._host.change(unit, "start", lambda: self.states.update({unit: "active"}))

    def stop(self, unit: str) -> None:
        self._host.change(unit, "stop", lambda: self.states.update({unit: "inactive"}))

    def end_scope(self, unit: str) -> None:
        if unit not in self.states:
            return

        def stop() -> None:
            del self.states[unit]
            self._host.files.pop(f"/sys/fs/cgroup/{unit}/cgroup.events", None)
            for path in [path for path, text in self._host.files.items() if text == f"0::/{unit}"]:
                del self._host.files[path]

        self._host.change(unit, "stop", stop)

    def cpus(self, unit: str) -> CpuSet:
        return self.limits.get(unit, CpuSet())

    def set_cpus(self, unit: str, cpus: CpuSet) -> None:
        self._host.change(unit, str(cpus), lambda: self.limits.update({unit: cpus}))

    def make_scope(self, name: str, pid: int, cpus: CpuSet) -> None:
        def make() -> None:
            self.states[name] = "active"
            # As with one that has ended and is not reaped yet, which is how an undo finds QEMU.
            self._host.files[f"/sys/fs/cgroup/{name}/cgroup.events"] = "populated 0\nfrozen 0"
            self._host.files[f"/proc/{pid}/cgroup"] = f"0::/{name}"

        self._host.change(name, f"{pid} on {cpus}", make)


class FakeHost:
    """``files`` by path; ``reactions`` by path are called with the text instead of storing it.

    ``fail`` is asked with the number of each change, counted from 1, its path and text, before it is made; it may raise
    OSError, or Killed. ``Killed`` raised by ``kill_after`` comes after the change was made.
    """

    def __init__(self, files: dict[str, str] | None = None) -> None:
        self.files: dict[str, str] = dict(files or {})
        self.symlinks: dict[str, str] = {}
        self.folders: set[str] = set()
        self.owners: dict[str, Access] = {}
        self.without_lists = False  # a kernel without CONFIG_TMPFS_POSIX_ACL
        self.reactions: dict[str, Callable[[str], None]] = {}
        self.programs: dict[str, Callable[[list[str]], str]] = {}
        self.netlink = FakeLinks(self)
        self.own_links = FakeOwnLinks(self.change)
        self.nftables = FakeNftables(self.change)
        self.own_files = FakeOwnFiles(self.change)
        self.running: dict[int, list[str]] = {}  # processes by number
        self.systemd = FakeSystemd(self)
        self.usb_reactions: dict[str, Callable[[int, bool], None]] = {}
        self.held: dict[str, list[str]] = {}
        self.helpers: dict[str, list[int]] = {}  # processes by mark
        self.changes: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.fail: Callable[[int, str, str], None] = _nothing
        self.kill_after: Callable[[int, str, str], None] = _nothing

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def write(self, path: str, text: str, *, deadline_s: float | None = None) -> None:  # noqa: ARG002 - as Host
        self.change(path, text, lambda: self._store(path, text))

    def _store(self, path: str, text: str) -> None:
        if path in self.reactions:
            self.reactions[path](text)
        elif path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        else:
            self.files[path] = text.strip()

    def change(self, path: str, text: str, act: Callable[[], None]) -> None:
        self.changes.append((path, text))
        number = len(self.changes)
        self.fail(number, path, text)
        act()
        self.kill_after(number, path, text)

    def listdir(self, path: str) -> list[str]:
        start = f"{path.rstrip('/')}/"
        every = (*self.files, *self.symlinks, *self.folders)
        return sorted({name[len(start) :].split("/")[0] for name in every if name.startswith(start)})

    def readlink(self, path: str) -> str | None:
        return self.symlinks.get(path)

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.symlinks or path in self.folders or bool(self.listdir(path))

    def access(self, path: str) -> Access | None:
        return self.owners.get(path)

    def set_access(self, path: str, access: Access) -> None:
        """As the kernel does: by chown, setxattr and chmod, of which the last one sets the mask of a list."""
        if path not in self.owners:
            raise FileNotFoundError(2, "No such file or directory", path)
        before = self.owners[path]
        if (before.uid, before.gid) != (access.uid, access.gid):
            self._set_part(path, uid=access.uid, gid=access.gid)
        if before.entries or access.entries:
            if self.without_lists:
                raise OSError(95, "Operation not supported", path)
            self._set_part(path, mode=before.mode & ~0o777 | access.mode & 0o777, entries=access.entries)
        self._set_part(path, mode=access.mode)

    def _set_part(self, path: str, **parts: object) -> None:
        made = msgspec.structs.replace(self.owners[path], **parts)
        self.change(path, str(made), lambda: self.owners.__setitem__(path, made))

    def set_affinity(self, pid: int, cpus: CpuSet) -> None:
        path = f"/proc/{pid}/status"
        if path not in self.files:
            raise ProcessLookupError(3, "No such process")
        head, _, _ = self.files[path].partition("Cpus_allowed_list:")
        if "Bound" in head:  # PF_NO_SETAFFINITY
            raise OSError(22, "Invalid argument")
        text = f"{head}Cpus_allowed_list:\t{cpus}"
        self.change(path, str(cpus), lambda: self.files.__setitem__(path, text))

    def make_folder(self, path: str) -> None:
        self.change(path, "mkdir", lambda: self.folders.add(path))

    def remove_folder(self, path: str) -> None:
        self.change(path, "rmdir", lambda: self.folders.discard(path))

    def run(
        self,
        argv: list[str],
        *,
        timeout_s: float,  # noqa: ARG002 - as Host
        user: str | None = None,  # noqa: ARG002 - same
        environment: Mapping[str, str] | None = None,  # noqa: ARG002 - same
        log: str | None = None,  # noqa: ARG002 - same
    ) -> str:
        said: list[str] = []
        self.change(argv[0], " ".join(argv[1:]), lambda: said.append(self.programs[argv[0]](argv)))
        return said[0]

    def processes(self, argv: list[str]) -> list[int]:
        return [pid for pid, words in self.running.items() if words == argv]

    def end_process(self, pid: int, argv: list[str]) -> None:
        assert self.running[pid] == argv
        self.change(str(pid), "end", lambda: self.running.__delitem__(pid))

    def set_usb_driver(self, node: str, interface: int, *, attached: bool, deadline_s: float) -> None:  # noqa: ARG002 - as Host
        self.change(node, f"{interface} {attached}", lambda: self.usb_reactions[node](interface, attached))

    def marked(self, mark: str) -> list[int]:
        return list(self.helpers.get(mark, []))

    def end_marked(self, mark: str) -> list[int]:
        self.change(mark, "end", lambda: self.helpers.update({mark: []}))
        del self.helpers[mark]
        return []

    def tell(self, text: str) -> None:
        self.told.append(text)

    def holders(self, address: str) -> list[str]:
        return list(self.held.get(address, []))

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:  # noqa: ARG002 - as Host
        return condition()

    def at_work(self) -> AbstractContextManager[None]:
        return nullcontext()

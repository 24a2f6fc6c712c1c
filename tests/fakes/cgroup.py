"""A cpuset hierarchy in memory, v1 or v2, with the kernel's quirks.

Source: the kernel's ``kernel/cgroup/cpuset.c`` (v1: ENOSPC for a task in a group without CPUs or nodes) and
``cgroup.c`` (EBUSY for the removal of a group with tasks; files of a controller only where the parent hands it on).
"""

from tests.fakes.host import FakeHost

PF_KTHREAD = 0x00200000


class CgroupHost(FakeHost):
    def __init__(self, root: str, *, is_v2: bool, pids: tuple[int, ...] = (1, 2, 30, 31)) -> None:
        super().__init__()
        self.root, self.is_v2 = root, is_v2
        self.groups: dict[str, list[str]] = {root: [str(pid) for pid in pids]}
        self.files[f"{root}/cgroup.procs"] = ""
        if is_v2:
            self.files[f"{root}/cgroup.subtree_control"] = "memory pids"
            self.files[f"{root}/cpuset.cpus.effective"] = "0-7"
        else:
            self.files.update({f"{root}/cpuset.cpus": "0-7", f"{root}/cpuset.mems": "0-1"})
        for pid in pids:
            flags = PF_KTHREAD if pid == 2 else 0
            self.files[f"/proc/{pid}/stat"] = f"{pid} (a) b) S 0 0 0 0 -1 {flags} 0 0"
            self.folders.add(f"/proc/{pid}")
        self._show()

    def make_folder(self, path: str) -> None:
        self.change(path, "mkdir", lambda: self._make(path))

    def remove_folder(self, path: str) -> None:
        def remove() -> None:
            if self.groups[path]:
                raise OSError(16, "Device or resource busy", path)
            del self.groups[path]
            self.folders.discard(path)
            self._show()

        self.change(path, "rmdir", remove)

    def _make(self, path: str) -> None:
        self.groups[path] = []
        self.folders.add(path)
        self._show()

    def _show(self) -> None:
        """Let the files say what the groups are."""
        given = "cpuset" in self.files.get(f"{self.root}/cgroup.subtree_control", "cpuset")
        for path in [path for path in self.files if path.startswith(f"{self.root}/") and path.count("/") > 4]:
            if path.rpartition("/")[0] not in self.groups or ("cpuset" in path and not given):
                del self.files[path]
        for path, pids in self.groups.items():
            self.files[f"{path}/cgroup.procs"] = "\n".join(pids)
            if path != self.root and given:
                self.files.setdefault(f"{path}/cpuset.cpus", "")
                self.files.setdefault(f"{path}/cpuset.mems", "")

    def _store(self, path: str, text: str) -> None:
        folder, _, name = path.rpartition("/")
        if name == "cgroup.procs":
            if f"/proc/{text}" not in self.folders:
                raise OSError(3, "No such process", path)
            if folder != self.root and not self.is_v2 and not self.files[f"{folder}/cpuset.mems"]:
                raise OSError(28, "No space left on device", path)
            for pids in self.groups.values():
                if text in pids:
                    pids.remove(text)
            self.groups[folder] = sorted([*self.groups[folder], text], key=int)
            self._show()
        elif name == "cgroup.subtree_control":
            words = set(self.files[path].split()) | {"cpuset"}
            self.files[path] = " ".join(sorted(words - ({"cpuset"} if text[0] == "-" else set())))
            self._show()
        else:
            super()._store(path, text)

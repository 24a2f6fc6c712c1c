"""QEMU's group of cgroup v2 in memory, in which a group of threads can become an isolated partition.

Source: the kernel's ``kernel/cgroup/cgroup.c`` (EOPNOTSUPP for a thread in a group that is not threaded; EBUSY for the
removal of a group with threads) and ``cpuset.c`` (``isolated invalid`` with the reason).
"""

from tests.fakes.host import FakeHost

SCOPE = "/sys/fs/cgroup/qlaunch-ada.scope"
GROUP = f"{SCOPE}/vcpus"
KEY = f"{GROUP} of 30 with 2 on 4-5"


class PartitionHost(FakeHost):
    def __init__(self) -> None:
        super().__init__()
        self.files = {
            f"{SCOPE}/cgroup.subtree_control": "",
            f"{SCOPE}/cpuset.cpus.exclusive": "",
            f"{SCOPE}/cgroup.threads": "30\n31\n32\n33",
        }
        names = {30: "qemu", 31: "CPU 0/KVM", 32: "CPU 1/KVM", 33: "IO io0"}
        self.files |= {f"/proc/30/task/{thread}/comm": name for thread, name in names.items()}

    def make_folder(self, path: str) -> None:
        assert path == GROUP
        self.change(path, "mkdir", self._fill)

    def _fill(self) -> None:
        self.folders.add(GROUP)
        self.files |= {f"{GROUP}/cgroup.type": "domain", f"{GROUP}/cgroup.threads": ""}

    def remove_folder(self, path: str) -> None:
        def remove() -> None:
            if self.files[f"{path}/cgroup.threads"]:
                raise OSError(16, "Device or resource busy", path)
            self.folders.discard(path)
            self.files = {name: text for name, text in self.files.items() if not name.startswith(f"{path}/")}

        self.change(path, "rmdir", remove)

    def _store(self, path: str, text: str) -> None:
        folder, _, name = path.rpartition("/")
        if name == "cgroup.threads":
            if folder == GROUP and self.files[f"{GROUP}/cgroup.type"] != "threaded":
                raise OSError(95, "Operation not supported", path)
            for group in (SCOPE, GROUP):
                kept = [thread for thread in self.files.get(f"{group}/cgroup.threads", "").split() if thread != text]
                if f"{group}/cgroup.threads" in self.files:
                    self.files[f"{group}/cgroup.threads"] = "\n".join(sorted(kept + [text] * (group == folder)))
        elif name == "cgroup.subtree_control":
            self.files[path] = "cpuset" if text == "+cpuset" else ""
            given = ("cpuset.cpus", "cpuset.cpus.exclusive", "cpuset.cpus.partition")
            for file in given if GROUP in self.folders else ():
                if text == "+cpuset":
                    self.files[f"{GROUP}/{file}"] = "member" if file.endswith("partition") else ""
                else:
                    self.files.pop(f"{GROUP}/{file}", None)
        elif name == "cpuset.cpus.partition" and text == "isolated" and not self.files[f"{folder}/cpuset.cpus"]:
            self.files[path] = "isolated invalid (cpuset.cpus is empty)"
        else:
            super()._store(path, text)

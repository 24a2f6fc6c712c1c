"""Links and a packet filter in memory, with the kernel's ways; held against the kernel in ``test_own_links.py``."""

import errno
import os
from collections.abc import Callable, Mapping

from qlaunch.steps.vf import printed

Change = Callable[[str, str, Callable[[], None]], None]
DEFAULTS = {"mac": "02:00:00:00:00:01", "mtu": "1500"}


def error(number: int, name: str) -> OSError:
    return OSError(number, os.strerror(number), name)


class FakeOwnLinks:
    """Links by name. A new one is down; a bridge that goes lets its ports go, and a macvtap goes with what is below."""

    def __init__(self, change: Change) -> None:
        self.links: dict[str, tuple[str, dict[str, str]]] = {}
        self._change = change

    def described(self, name: str) -> tuple[str, dict[str, str]] | None:
        found = self.links.get(name)
        return (found[0], dict(found[1])) if found else None

    def make(self, name: str, kind: str, settings: Mapping[str, str]) -> None:
        if name in self.links:
            raise error(errno.EEXIST, name)
        if kind == "macvtap" and settings["over"] not in self.links:
            raise error(errno.ENODEV, settings["over"])
        born = dict(DEFAULTS)
        match kind:
            case "tap":
                born |= {"queues": settings["queues"], "bridge": "none"}
            case "bridge":
                born |= {"mac": settings["mac"], "address": "none"}
            case _:
                born |= {"mac": settings["mac"], "over": settings["over"], "mode": settings["mode"]}
        self._change(name, kind, lambda: self.links.update({name: (kind, born | {"state": "down"})}))

    def set(self, name: str, setting: str, text: str) -> None:
        if name not in self.links:
            raise error(errno.ENODEV, name)
        if setting == "bridge" and text != "none" and text not in self.links:
            raise error(errno.ENODEV, text)
        self._change(name, printed({setting: text}), lambda: self.links[name][1].update({setting: text}))

    def remove(self, name: str) -> None:
        if name not in self.links:
            raise error(errno.ENODEV, name)
        self._change(name, "remove", lambda: self._gone(name))

    def _gone(self, name: str) -> None:
        del self.links[name]
        for other, (_, settings) in list(self.links.items()):
            if settings.get("bridge") == name:
                settings["bridge"] = "none"
            if settings.get("over") == name:
                del self.links[other]


class FakeNftables:
    """Tables by name, each with the comment of its rule."""

    def __init__(self, change: Change) -> None:
        self.tables: dict[str, str] = {}
        self._change = change

    def comment(self, table: str) -> str | None:
        return self.tables.get(table)

    def make_masquerade(self, table: str, network: str, bridge: str, comment: str) -> None:
        if table in self.tables:
            raise error(errno.EEXIST, f"nftables table {table}")
        self._change(table, "table", lambda: self.tables.update({table: ""}))
        self._change(table, f"{network} {bridge}", lambda: self.tables.update({table: comment}))

    def remove(self, table: str) -> None:
        if table not in self.tables:
            raise error(errno.ENOENT, f"nftables table {table}")
        self._change(table, "remove", lambda: self.tables.__delitem__(table))

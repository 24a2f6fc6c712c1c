"""QEMU's options in someone's XML: split, and what is left of them passed on with the names of our buses.

Source: QEMU's ``util/keyval.c`` and ``util/qemu-option.c`` (doubled commas, a bare word is ``on``).
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from qlaunch.libvirt.import_draft import Draft, Key, Table, integer, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_SIZE = re.compile(r"([0-9]+)([kKMGT])", re.ASCII)
_UNITS = {"k": 10, "K": 10, "M": 20, "G": 30, "T": 40}
# Properties that are text, or one of a few words, whatever they look like.
_TEXTS = {
    *("driver", "id", "bus", "addr", "port", "mac", "serial", "product", "vendor", "ver", "name", "model", "osk"),
    *("drive", "chardev", "netdev", "audiodev", "memdev", "iothread", "host", "sysfsdev", "romfile", "loadparm"),
    *("disable-legacy", "resize-bar", "hugetlb", "werror", "rerror", "manufacturer", "version", "write-cache"),
}
_NUMBER = re.compile(r"-?(0x[0-9a-fA-F]+|[1-9][0-9]*|0)", re.ASCII)


class Option(msgspec.Struct, frozen=True):
    """One option: its flag without hyphens, its word, and the elements that say them."""

    flag: str
    word: str | None
    nodes: tuple[Node, ...]

    @property
    def node(self) -> Node:
        """The element to tell of."""
        return self.nodes[-1]

    def values(self) -> dict[str, str]:
        """Give the keys; the first word, where it has none, is under the empty key."""
        text = self.word or ""
        if text.startswith("{"):
            try:
                table = msgspec.json.decode(text)
            except (msgspec.DecodeError, RecursionError):
                return {}
            flat = {str(key): _spelled(value) for key, value in table.items()} if isinstance(table, dict) else {}
            return {"": flat.get("driver", flat.get("qom-type", "")), **flat}
        found: dict[str, str] = {}
        for number, part in enumerate(split_commas(text)):
            key, equal, value = part.partition("=")
            if not equal and not number:
                found[""] = part
            else:
                found[key] = value if equal else "on"
        if "" not in found:
            found[""] = found.get("driver", found.get("qom-type", ""))
        return found


def _spelled(value: object) -> str:
    return "on" if value is True else "off" if value is False else str(value)


def split_commas(text: str) -> list[str]:
    """Split at single commas; a doubled one stands for itself."""
    return [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",") if part]


def options_of(arguments: list[Node]) -> Iterator[Option]:
    """Yield the options of a list of ``qemu:arg``."""
    flag: str | None = None
    before: tuple[Node, ...] = ()
    for node in arguments:
        text = node.get("value") or ""
        if text.startswith("-") and len(text) > 1:
            if flag is not None:
                yield Option(flag, None, before)
            flag, before = text.removeprefix("-").removeprefix("-"), (node,)
            if " " in flag:  # guides that put both into one
                name, _, rest = flag.partition(" ")
                yield Option(name, rest.strip(), before)
                flag = None
        elif flag is not None:
            yield Option(flag, text, (*before, node))
            flag = None
        else:
            yield Option("", text, (node,))
    if flag is not None:
        yield Option(flag, None, before)


class Words:
    """What options say together: a device and the memory, the sound server or the socket behind it."""

    def __init__(self, draft: Draft, places: Places) -> None:
        self.draft = draft
        self.places = places
        self.memories: dict[str, tuple[Option, dict[str, str]]] = {}
        self.sounds: dict[str, tuple[Option, dict[str, str]]] = {}

    def finish(self) -> None:
        """Pass on what no device asked for."""
        for option, _ in self.memories.values():
            self.keep(option)
        for option, _ in self.sounds.values():
            self.draft.differs(option.node, "no sound card of the machine uses this server; left out", ("audio",))

    def claim(self, option: Option, row: Table, key: str, values: dict[str, str]) -> None:
        """Note the place that an option names for its device."""
        root = "pcie.0" if self.places.on_q35 else "pci.0"
        address = self.places.on_bus(values.get("bus", root), values["addr"]) if "addr" in values else None
        self.places.claim_at(option.node, row, key, address)

    def keep(self, option: Option) -> None:
        """Put an option into ``qemu.extra``, with buses by the names that they have here."""
        if not option.flag:
            self.draft.asks(
                option.node, f'"{shown(option.word or "")}" belongs to no option; left out', ("qemu", "extra")
            )
            return
        word = option.word
        if option.flag == "device" and word is not None:
            word = self._device(word)
        self.draft.pass_on(f"-{option.flag}", *([] if word is None else [word]))
        self.draft.differs(option.node, "is handed to QEMU as it is", ("qemu", "extra"))

    def _device(self, word: str) -> str:
        """Write a device as JSON: QEMU makes others before the buses are there, and before places are taken."""
        values = Option("device", word, ()).values()
        driver = values.pop("", "")
        if not driver or driver.endswith("-iommu"):
            return word  # what is behind an IOMMU must find it there
        table: dict[str, Any] = {"driver": driver}
        if word.startswith("{"):
            table = msgspec.json.decode(word)
        else:
            table |= {key: value if key in _TEXTS else typed(value) for key, value in values.items()}
        bus = self._bus(values.get("bus", ""))
        return msgspec.json.encode(table | ({"bus": bus} if bus else {})).decode()

    def _bus(self, name: str) -> str:
        if match := re.fullmatch(r"pcie?\.([0-9]{1,3})(\.0)?", name):
            number = int(match[1])
            path = self.places.path_of(number) if number else None
            return f"at-{path.replace('/', '-')}" if path else ("pcie.0" if self.places.on_q35 else "pci.0")
        if match := re.fullmatch(r"(usb|scsi|virtio-serial|vserial)([0-9]*)\.0", name):
            kind = "vserial" if "serial" in match[1] else match[1]
            return f"{kind}{match[2] or 0}.0"
        return name

    @staticmethod
    def override(draft: Draft, node: Node, alias: str, name: str, value: str | int | bool) -> None:  # noqa: FBT001
        """Set a property of a device that libvirt names by its alias."""
        found = draft.aliases.get(alias.removeprefix("ua-")) or draft.aliases.get(alias)
        if found is None:
            draft.asks(node, f"there is no device {shown(alias)} here for {shown(name)}", ("qemu", "properties"))
            return
        section, row = found
        key: Key = (section, index_of(draft.tables.get(section, []), row))
        if key[1] == -1:
            draft.asks(node, f"the device {shown(alias)} is not taken over", ("qemu", "properties"))
        elif section == "pci" and name == "x-vga":
            row["x_vga"] = value in (True, "on", "true", "yes", "1")
        elif section == "disk" and name == "rotation_rate":
            row["rotational"] = value not in (1, "1")
        elif section == "disk" and name == "discard_granularity" and str(value).isdigit():
            row["discard_granularity"] = f"{value}B"
        else:
            function = "-0" if section == "pci" else ""
            device = {"disk": "disk", "pci": "pci", "network": "net"}[section] + f"{key[1]}{function}"
            table = draft.tables.setdefault("qemu", {}).setdefault("properties", {}).setdefault(device, {})
            table[name] = typed(value) if isinstance(value, str) else value


def index_of(rows: list[Table], row: Table) -> int:
    """Find a row by what it is, not by what it says."""
    return next((number for number, one in enumerate(rows) if one is row), -1)


def typed(text: str) -> str | int | bool:
    """Give a value of the command line as JSON has it."""
    if text in ("on", "true", "yes"):
        return True
    if text in ("off", "false", "no"):
        return False
    if match := _SIZE.fullmatch(text):
        return int(match[1]) << _UNITS[match[2]]
    if _NUMBER.fullmatch(text) and (number := integer(text)) is not None:
        return number
    return text

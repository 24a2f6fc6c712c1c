"""Takes out of a capture what tells one computer from all others: serial numbers, MAC addresses, UUIDs.

Each is replaced by a stand-in of its own, the same one everywhere, so that what belongs together still does.

Source: RFC 9562 (UUIDs as text); ``systemd.net-naming-scheme(7)`` (``enx`` and a MAC address); ``udev(7)``: serial
numbers are a part of the links in ``by-id``, with ``_`` for what is no letter.
"""

import re
from collections.abc import Iterator

from qlaunch.host.tree import Tree

_HEX = "[0-9a-fA-F]"
_UUID = re.compile(rf"(?<!{_HEX}){_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}(?!{_HEX})")
_MAC = re.compile(rf"(?<!{_HEX}){_HEX}{{2}}(?:([:-]){_HEX}{{2}})(?:\1{_HEX}{{2}}){{4}}(?!{_HEX})")
_NAMED = re.compile(rf"(?<![0-9a-z])(en|wl|ww)x({_HEX}{{12}})(?!{_HEX})")
_ODD = re.compile(r"[^0-9A-Za-z#+.:=@_-]")
_SHORTEST, _DIFFERENT = 5, 3
_DMI = ("product_serial", "board_serial", "chassis_serial", "product_uuid")
_TAGS = ("board_asset_tag", "chassis_asset_tag")


class Redaction:
    """Replaces; ``count`` is how many different things there were."""

    def __init__(self, words: Iterator[str]) -> None:
        spelled = {spelling for word in words if _tells(word) for spelling in (word, _ODD.sub("_", word))}
        self._words = [
            (word, re.compile(rf"(?<![0-9A-Za-z]){re.escape(word)}(?![0-9A-Za-z])"))
            for word in sorted(spelled, key=lambda word: (-len(word), word))
        ]
        self._numbers: dict[str, int] = {}

    @property
    def count(self) -> int:
        """How many different things were replaced so far."""
        return len(self._numbers)

    def __call__(self, text: str) -> str:
        """Give a text with stand-ins."""
        for word, pattern in self._words:
            if word in text:
                text = pattern.sub(f"SERIAL{self._number(_ODD.sub('_', word))}", text)
        text = _UUID.sub(lambda match: f"00000000-0000-0000-0000-{self._number(match[0].lower()):012}", text)
        text = _MAC.sub(lambda match: match[1].join(self._mac(match[0].replace(match[1], ""))), text)
        return _NAMED.sub(lambda match: f"{match[1]}x{''.join(self._mac(match[2]))}", text)

    def _mac(self, digits: str) -> list[str]:
        number = self._number(digits.lower())
        return ["02", "00", "00", "00", f"{number >> 8 & 255:02x}", f"{number & 255:02x}"]

    def _number(self, key: str) -> int:
        return self._numbers.setdefault(key, len(self._numbers) + 1)


def serial_numbers(tree: Tree) -> Iterator[str]:
    """Yield the serial numbers of this computer and its parts, unrecorded. Root alone may read all of them."""
    paths = [f"/sys/class/dmi/id/{name}" for name in (*_DMI, *_TAGS)]
    # The serial number of a root hub is the PCI address of its controller.
    paths += [f"{folder}/serial" for folder in _in(tree, "/sys/bus/usb/devices") if "/devices/usb" not in folder]
    paths += [f"{folder}/serial" for folder in _in(tree, "/sys/class/nvme")]
    for folder in _in(tree, "/sys/class/block"):
        paths += [f"{folder}/{name}" for name in ("serial", "wwid", "device/serial", "device/wwid")]
    for path in (*paths, "/etc/machine-id"):
        if word := (tree.data(path) or b"").decode(errors="replace").strip():
            yield word
            # wwid is "eui.0025385b71b0c5e1", "naa.5002538e40a1b2c3" or "t10.ATA     Samsung SSD 860   S3Z9NB0K".
            yield from word.partition(".")[2].split() if path.endswith("wwid") else ()


def _in(tree: Tree, folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in tree.listdir(folder)]


def _tells(word: str) -> bool:
    """Whether a word is a serial number, and not "Default string", "None" or 0000000000."""
    return len(word) >= _SHORTEST and len(set(word)) >= _DIFFERENT and any(letter.isdigit() for letter in word)

"""``[qemu]``: which QEMU, and options that qlaunch has no word for.

Source: ``system/vl.c``, ``qemu_create_cli_devices``: all key-value ``-device`` options are made before all JSON ones.
"""

from collections.abc import Iterator

from qlaunch.devices.arg import Arg
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site


class Extra(Section, frozen=True, kw_only=True):
    """The binary, and further words of the argv, passed as written."""

    binary: str = "qemu-system-x86_64"
    extra: list[str] = []
    properties: dict[str, dict[str, str | int | bool]] = {}  # of devices, by their ids in the printed argv

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the extra options, each flag with the word that follows it."""
        del site, index
        words = iter(self.extra)
        flag = next(words, None)
        while flag is not None:
            word = next(words, None)
            follows = word is not None and not word.startswith("-")
            yield Arg(flag.removeprefix("-").removeprefix("-"), word if follows else None)
            flag = next(words, None) if follows else word

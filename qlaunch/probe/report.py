"""The probe's report, read back from what it printed on the serial console. Pure.

One ``key: value`` a line; ``cache``, ``hypervisor``, ``pci`` and ``disk`` come more than once. The source of the
words is ``contrib/probe-guest``.
"""

import re

import msgspec

BEGIN = "qlaunch probe: version"
END = "qlaunch probe: end of report"
_REPEATED = {"cache", "hypervisor", "pci", "disk"}
_PCI = re.compile(
    r"([0-9a-f:.]{7}) class ([0-9a-f]{6}) id ([0-9a-f]{4}:[0-9a-f]{4})"
    r"(?: bridge-to ([0-9a-f]{2}))?(?: subsystem ([0-9a-f]{4}:[0-9a-f]{4}))?(?: header ([0-9a-f]{2}))?"
)
_CACHE = re.compile(r"L([0-9]) (data|instructions|unified) ([0-9]+) KiB(?:, shared by ([0-9]+))?")
_DISK = re.compile(r"(\S+) (?:bytes ([0-9]+) block ([0-9]+)|empty)((?: read-only)?)((?: removable)?)")


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One PCI function as the guest sees it; ``behind`` is the bus behind a bridge, or empty."""

    address: str
    device_class: str
    id: str
    behind: str = ""
    subsystem: str = ""
    header: str = ""


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """A cache of the first processor; ``shared_by`` counts threads, 0 where the processor does not tell."""

    level: int
    kind: str
    size_kib: int
    shared_by: int = 0


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk as the firmware knows it; 0 bytes without a medium.

    ``place`` is ``slot.function`` of each PCI function on the way from the first bus, then the place on the
    controller: ``02.7/00.0``, ``1f.2/sata1``.
    """

    place: str
    size_bytes: int = 0
    block_bytes: int = 0
    read_only: bool = False
    removable: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One report. ``values`` holds the lines that come once, by key."""

    values: dict[str, str]
    hypervisors: list[str]
    features: frozenset[str]
    hyperv: frozenset[str]
    acpi: frozenset[str]
    functions: list[Function]
    caches: list[Cache] = []
    disks: list[Disk] = []

    def number(self, key: str) -> int:
        """Give a line's value as a number."""
        return int(self.values[key])

    def behind(self, root_port: str) -> list[Function]:
        """Give the functions on the bus behind a root port, named by the port's own address, e.g. ``02.7``."""
        buses = {function.behind for function in self.functions if function.address == f"00:{root_port}"}
        return [function for function in self.functions if function.address[:2] in buses - {""}]


def parse_report(text: str) -> Report:
    """Read the last whole report of a serial log. Raises ValueError when there is none, or a line is damaged."""
    end = text.rfind(END)
    begin = text.rfind(BEGIN, 0, max(end, 0))
    if min(begin, end) < 0:
        raise ValueError("there is no whole report of the probe in this text")
    pairs = [line.split(":", 1) for line in text[begin:end].splitlines()[1:] if ":" in line]
    lines = [(key, value.strip()) for key, value in pairs]
    values = {key: value for key, value in lines if key not in _REPEATED}
    return Report(
        values=values,
        hypervisors=[value.partition(" ")[2] for key, value in lines if key == "hypervisor" and " " in value],
        features=frozenset(values.get("features", "").split()),
        hyperv=frozenset(values.get("hyperv", "").split()),
        acpi=frozenset(values.get("acpi", "").split()),
        functions=[_function(value) for key, value in lines if key == "pci"],
        caches=[_cache(value) for key, value in lines if key == "cache"],
        disks=[_disk(value) for key, value in lines if key == "disk"],
    )


def _matched(pattern: re.Pattern[str], value: str, what: str) -> re.Match[str]:
    match = pattern.fullmatch(value)
    if not match:
        raise ValueError(f"{value!r} is no {what} of the probe's report")
    return match


def _function(value: str) -> Function:
    address, device_class, number, behind, subsystem, header = _matched(_PCI, value, "PCI function").groups("")
    return Function(
        address=address, device_class=device_class, id=number, behind=behind, subsystem=subsystem, header=header
    )


def _cache(value: str) -> Cache:
    level, kind, size, shared = _matched(_CACHE, value, "cache").groups("0")
    return Cache(level=int(level), kind=kind, size_kib=int(size), shared_by=int(shared))


def _disk(value: str) -> Disk:
    place, size, block, read_only, removable = _matched(_DISK, value, "disk").groups("")
    return Disk(
        place=place,
        size_bytes=int(size or 0),
        block_bytes=int(block or 0),
        read_only=bool(read_only),
        removable=bool(removable),
    )

"""The probe's report, read back from what it printed on the serial console. Pure.

One ``key: value`` a line; ``pci``, ``cache`` and ``hypervisor`` come more than once. The source of the words is
``contrib/probe-guest``.
"""

import re

import msgspec

BEGIN = "qlaunch probe: version"
END = "qlaunch probe: end of report"
_PCI = re.compile(r"([0-9a-f:.]{7}) class ([0-9a-f]{6}) id ([0-9a-f]{4}:[0-9a-f]{4})(?: bridge-to ([0-9a-f]{2}))?")


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One PCI function as the guest sees it; ``behind`` is the bus behind a bridge, or empty."""

    address: str
    device_class: str
    id: str
    behind: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One report. ``values`` holds the lines that come once, by key."""

    values: dict[str, str]
    hypervisors: list[str]
    features: frozenset[str]
    hyperv: frozenset[str]
    acpi: frozenset[str]
    functions: list[Function]

    def number(self, key: str) -> int:
        """Give a line's value as a number."""
        return int(self.values[key])

    def behind(self, root_port: str) -> list[Function]:
        """Give the functions on the bus behind a root port, named by the port's own address, e.g. ``02.7``."""
        buses = {function.behind for function in self.functions if function.address == f"00:{root_port}"}
        return [function for function in self.functions if function.address[:2] in buses - {""}]


def parse_report(text: str) -> Report:
    """Read the last whole report of a serial log. Raises ValueError when there is none."""
    end = text.rfind(END)
    begin = text.rfind(BEGIN, 0, max(end, 0))
    if min(begin, end) < 0:
        raise ValueError("there is no whole report of the probe in this text")
    pairs = [line.split(":", 1) for line in text[begin:end].splitlines()[1:] if ":" in line]
    lines = [(key, value.strip()) for key, value in pairs]
    values = dict(lines)
    return Report(
        values=values,
        hypervisors=[value.partition(" ")[2] for key, value in lines if key == "hypervisor" and " " in value],
        features=frozenset(values.get("features", "").split()),
        hyperv=frozenset(values.get("hyperv", "").split()),
        acpi=frozenset(values.get("acpi", "").split()),
        functions=[_function(value) for key, value in lines if key == "pci"],
    )


def _function(value: str) -> Function:
    match = _PCI.match(value)
    if not match:
        raise ValueError(f"{value!r} is no PCI function of the probe's report")
    return Function(address=match[1], device_class=match[2], id=match[3], behind=match[4] or "")

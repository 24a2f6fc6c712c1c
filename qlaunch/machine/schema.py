"""The JSON Schema of the machine file, for editors that complete and check while one types.

Owns: how the types of ``values/`` look in it. It says what one key may hold; the rules across keys are not in it.

Source: JSON Schema draft 2020-12.
"""

from typing import Any

import msgspec

from qlaunch.machine.model import Machine
from qlaunch.values.cpus import CpuSet, PinList
from qlaunch.values.guest import GuestAddress
from qlaunch.values.mac import Mac
from qlaunch.values.pci import DeviceId, PciAddress
from qlaunch.values.size import Size
from qlaunch.values.subnet import Subnet

_RANGE = r"[0-9]+(-[0-9]+)?"
_VALUES: dict[type, tuple[str, str, list[str]]] = {
    Size: (
        r"^\s*[0-9]+\s*([kKMGT](i?B)?|B)\s*$",
        "A number of bytes with its unit; k, M, G and T are powers of 1024.",
        ["512M", "16G"],
    ),
    CpuSet: (
        rf"^(\s*{_RANGE}\s*(,\s*{_RANGE}\s*)*|\s*)$",
        "A set of host CPUs, in the kernel's list format.",
        ["0-3,8"],
    ),
    PinList: (
        rf"^(\s*auto\s*|\s*{_RANGE}\s*(,\s*{_RANGE}\s*)*)$",
        "One host CPU for each vCPU, in the order of the vCPUs; auto leaves the choice to qlaunch.",
        ["auto", "1,9,2,10"],
    ),
    Mac: (r"^\s*[0-9A-Fa-f][02468ACEace]([:-][0-9A-Fa-f]{2}){5}\s*$", "A unicast MAC address.", ["52:54:00:12:34:56"]),
    Subnet: (
        r"^\s*[0-9]{1,3}(\.[0-9]{1,3}){3}/(8|9|[12][0-9]|30)\s*$",
        "The host's own IPv4 address in a network, with the length of its prefix.",
        ["192.168.77.1/24"],
    ),
    PciAddress: (
        r"^\s*([0-9A-Fa-f]{4}:)?[0-9A-Fa-f]{2}:[01][0-9A-Fa-f](\.[0-7])?\s*$",
        "A PCI function of the host, or a whole slot.",
        ["0b:00.0", "0000:0b:00"],
    ),
    GuestAddress: (
        r"^\s*[01]?[0-9A-Fa-f](\.[0-7])?(/[01]?[0-9A-Fa-f](\.[0-7])?)*\s*$",
        "Slot and function in the guest, behind those of the bridges that lead there.",
        ["1b.0", "02.1/00.0"],
    ),
    DeviceId: (
        r"^\s*[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}\s*$",
        "Vendor and device, four hexadecimal digits each.",
        ["1002:73bf"],
    ),
}


def schema() -> dict[str, Any]:
    """Give the schema, as a table that is ready for JSON."""
    (body,), parts = msgspec.json.schema_components([Machine], schema_hook=_value_schema, ref_template="#/$defs/{name}")
    machine = parts.pop(body["$ref"].rpartition("/")[2])
    extends = {
        "type": "string",
        "description": "Another machine file, relative to this one, whose keys this one changes.",
    }
    machine["properties"] = {"extends": extends, **machine["properties"]}
    # A file that extends another one may leave everything to it.
    required = machine.pop("required")
    machine["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    for part in parts.values():
        _open_for_extends(part)
    header = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **machine,
        "title": "qlaunch machine file",
    }
    return {**header, "$defs": parts}


def _value_schema(kind: type) -> dict[str, Any]:
    pattern, description, examples = _VALUES[kind]
    return {
        "type": "string",
        "title": kind.__name__,
        "pattern": pattern,
        "description": description,
        "examples": examples,
    }


def _open_for_extends(part: dict[str, Any]) -> None:
    """``[memory]`` may leave its size to the file that is extended; an element of an array is always whole."""
    if part.get("title") == "Memory":
        part.pop("required", None)

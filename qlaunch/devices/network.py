"""``[[network]]``: the guest's network cards and what they are plugged into.

Source: ``qapi/net.json`` (Netdev), ``hw/net/virtio-net.c``; passt's manual page for its socket.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.disk import BootIndex, PlaceNumber
from qlaunch.devices.ports import Port
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.mac import Mac

InterfaceName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=15, pattern=r"^[^/:\s]+$", description="no slash, colon or space")
]
Forward = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(tcp|udp):([0-9.]+:)?[0-9]{1,5}-([0-9.]+:)?[0-9]{1,5}$",
        description="protocol, port of the host, port of the guest, as in 'tcp:2222-22'",
    ),
]


class Network(Section, frozen=True, kw_only=True):
    """One card. ``user`` needs no privilege; the others are made by qlaunch on the host."""

    type: Literal["user", "bridge", "tap", "macvtap", "passt", "vf"] = "user"
    model: Literal["virtio", "e1000e", "igb", "rtl8139"] = "virtio"
    mac: Mac | None = None
    forward: list[Forward] = []  # "tcp:2222-22", host first
    bridge: InterfaceName | None = None
    device: InterfaceName | None = None
    pf: InterfaceName | None = None
    vf: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    vlan: Annotated[int, msgspec.Meta(ge=0, le=4094)] | None = None
    vlan_qos: Annotated[int, msgspec.Meta(ge=0, le=7)] | None = None
    vlan_protocol: Literal["802.1Q", "802.1ad"] = "802.1Q"
    trust: bool | None = None
    spoofchk: bool | None = None
    link_state: Literal["auto", "enable", "disable"] | None = None
    max_tx_mbps: Annotated[int, msgspec.Meta(ge=0)] | None = None
    vhost: bool | None = None
    queues: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    mtu: Annotated[int, msgspec.Meta(ge=68, le=65535)] | None = None
    boot_index: BootIndex | None = None
    port: PlaceNumber | None = None

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the back end and the card."""
        place = site.on(Port("net", index if self.port is None else self.port))
        if self.type == "vf":
            host = site.vf_addresses.get(index, f"{self.pf}-vf{self.vf}")
            yield device("vfio-pci", f"net{index}", host=host, bootindex=self.boot_index, **place)
            return
        yield Arg("netdev", self._backend(site, index), json=True)
        queues: dict[str, Value] = {"mq": True if (self.queues or 1) > 1 and self.model == "virtio" else None}
        extra: dict[str, Value] = {"host_mtu": self.mtu if self.model == "virtio" else None}
        driver = "virtio-net-pci" if self.model == "virtio" else self.model
        # An empty romfile leaves out the PXE ROM, which costs start time and is not installed everywhere.
        rom: dict[str, Value] = {"romfile": "" if self.boot_index is None else None, "bootindex": self.boot_index}
        mac = self.mac or default_mac(site.uuid, index)
        yield device(driver, f"net{index}", netdev=f"net{index}-host", mac=mac, **queues, **extra, **rom, **place)

    def _backend(self, site: Site, index: int) -> dict[str, Value]:
        backend: dict[str, Value] = {"type": self.type, "id": f"net{index}-host"}
        match self.type:
            case "user":
                return {**backend, "hostfwd": [{"str": _hostfwd(rule)} for rule in self.forward] or None}
            case "passt":
                # reconnect is in seconds and came in 8.0, reconnect-ms in 9.2; passt is started first, so neither is
                # needed.
                socket: Value = {"type": "unix", "path": site.socket(f"passt{index}")}
                return {**backend, "type": "stream", "server": False, "addr": socket}
            case _:
                tap: dict[str, Value] = {
                    "type": "tap",
                    "ifname": tap_name(site.name, index),
                    "script": "no",
                    "downscript": "no",
                }
                return {**backend, **tap, "vhost": self.vhost, "queues": self.queues}


def default_mac(uuid: str, index: int) -> str:
    """Give a stable MAC address below QEMU's own prefix, from the machine's UUID and the card's number."""
    tail = (int(uuid.replace("-", "")[-6:], 16) + index) & 0xFFFFFF
    return f"52:54:00:{tail >> 16:02x}:{tail >> 8 & 0xFF:02x}:{tail & 0xFF:02x}"


def tap_name(machine: str, index: int) -> str:
    """Give the name of a tap interface: at most 15 characters (IFNAMSIZ in the kernel's include/uapi/linux/if.h)."""
    return f"ql{index}-{machine}"[:15]


def _hostfwd(rule: str) -> str:
    """Turn ``tcp:2222-22`` into QEMU's ``tcp:127.0.0.1:2222-:22``: without an address the port is this host's alone."""
    protocol, _, rest = rule.partition(":")
    outer, _, inner = rest.partition("-")
    host = outer if ":" in outer else f"127.0.0.1:{outer}"
    return f"{protocol}:{host}-{inner if ':' in inner else ':' + inner}"

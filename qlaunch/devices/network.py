"""``[[network]]``: the guest's network cards and what they are plugged into.

Source: ``qapi/net.json`` (Netdev), ``hw/net/virtio-net.c``; passt's manual page for its socket.
"""

from collections.abc import Iterator
from typing import Annotated, Literal
from zlib import crc32

import msgspec

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.disk import BootIndex, PlaceNumber
from qlaunch.devices.host_end import HostEnd, passt_argv
from qlaunch.devices.ports import Port
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.guest import GuestAddress
from qlaunch.values.mac import Mac
from qlaunch.values.pci import PciAddress
from qlaunch.values.subnet import Subnet

InterfaceName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=15, pattern=r"^[^/:\s]+$", description="no slash, colon or space")
]
QueueSize = Annotated[int, msgspec.Meta(ge=256, le=1024)]
_LONGEST_NAME = 15
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
    model: Literal["virtio", "e1000e", "e1000", "igb", "rtl8139", "vmxnet3", "pcnet", "ne2k_pci"] = "virtio"
    mac: Mac | None = None
    forward: list[Forward] = []  # "tcp:2222-22", host first
    bridge: InterfaceName | None = None
    create: bool = False  # the bridge is qlaunch's own: made for its machines, and gone with the last
    subnet: Subnet | None = None  # the host's address on it
    dhcp: bool = False
    nat: bool = False
    device: InterfaceName | None = None  # the link below a macvtap; a tap that is there already
    mode: Literal["bridge", "vepa", "private", "passthru"] = "bridge"  # of macvtap
    pf: InterfaceName | None = None
    host: PciAddress | None = None  # of a virtual function, where pf and vf are not known
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
    rx_queue_size: QueueSize | None = None
    tx_queue_size: QueueSize | None = None
    packed: bool = False
    rom: str | None = None
    port: PlaceNumber | None = None
    address: GuestAddress | None = None

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the back end and the card."""
        place = site.on(Port("net", index if self.port is None else self.port), address=self.address)
        if self.type == "vf":
            host = site.vf_addresses.get(index, str(self.host or f"{self.pf}-vf{self.vf}"))
            yield device("vfio-pci", f"net{index}", host=host, bootindex=self.boot_index, **site.vfio, **place)
            return
        yield Arg("netdev", self._backend(site, index), json=True)
        queues: dict[str, Value] = {"mq": True if (self.queues or 1) > 1 and self.model == "virtio" else None}
        extra: dict[str, Value] = {
            "host_mtu": self.mtu if self.model == "virtio" else None,
            "rx_queue_size": self.rx_queue_size,
            "tx_queue_size": self.tx_queue_size,
            "packed": self.packed or None,
        }
        driver = "virtio-net-pci" if self.model == "virtio" else self.model
        # An empty romfile leaves out the PXE ROM, which costs start time and is not installed everywhere.
        romfile = "" if self.boot_index is None and self.rom is None else self.rom
        rom: dict[str, Value] = {"romfile": romfile, "bootindex": self.boot_index}
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
                    "ifname": self.link(site.name, index),
                    "script": "no",
                    "downscript": "no",
                }
                return {**backend, **tap, "vhost": self._vhost(site), "queues": self.queues}

    def link(self, machine: str, index: int) -> str:
        """Give the name of the card's link on the host."""
        return self.device if self.type == "tap" and self.device else tap_name(machine, index)

    def host_end(self, site: Site, index: int) -> HostEnd | None:
        """Give what is opened for QEMU before it starts, which then takes descriptors in place of the link's name."""
        netdev = f"net{index}-host"
        match self.type:
            case "passt":
                return HostEnd(netdev=netdev, kind="passt", passt=passt_argv(self.forward, self.mtu))
            case "bridge" | "tap" | "macvtap":
                kind: Literal["tap", "macvtap"] = "macvtap" if self.type == "macvtap" else "tap"
                link, queues = self.link(site.name, index), self.queues or 1
                vhost = bool(self._vhost(site))
                return HostEnd(netdev=netdev, kind=kind, link=link, queues=queues, vhost=vhost)
            case _:
                return None

    def counted_link(self, machine: str, index: int) -> str:
        """Give the name of the host's link that counts the card's packets; nothing where no link does.

        QEMU's own network and passt have none, and a virtual function's is the guest's own.
        """
        return self.link(machine, index) if self.type in ("bridge", "tap", "macvtap") else ""

    def _vhost(self, site: Site) -> bool | None:
        # The kernel's own path knows virtio alone.
        return (site.vhost and self.model == "virtio") or None if self.vhost is None else self.vhost


def default_mac(uuid: str, index: int) -> str:
    """Give a stable MAC address below QEMU's own prefix, from the machine's UUID and the card's number."""
    tail = (int(uuid.replace("-", "")[-6:], 16) + index) & 0xFFFFFF
    return f"52:54:00:{tail >> 16:02x}:{tail >> 8 & 0xFF:02x}:{tail & 0xFF:02x}"


def tap_name(machine: str, index: int) -> str:
    """Give the name of a link of ours: at most 15 bytes (IFNAMSIZ in the kernel's include/uapi/linux/if.h).

    Where the machine's name is cut, a checksum of it keeps two such machines apart.
    """
    plain = f"ql{index}-{machine}"
    if machine.isascii() and len(plain) <= _LONGEST_NAME:
        return plain
    short = "".join(letter for letter in machine if letter.isascii() and letter.isalnum())
    tail = f"{crc32(machine.encode()) & 0xFFFF:04x}"
    return f"{f'ql{index}-{short}'[: _LONGEST_NAME - len(tail) - 1]}-{tail}"


def _hostfwd(rule: str) -> str:
    """Turn ``tcp:2222-22`` into QEMU's ``tcp:127.0.0.1:2222-:22``: without an address the port is this host's alone."""
    protocol, _, rest = rule.partition(":")
    outer, _, inner = rest.partition("-")
    host = outer if ":" in outer else f"127.0.0.1:{outer}"
    return f"{protocol}:{host}-{inner if ':' in inner else ':' + inner}"

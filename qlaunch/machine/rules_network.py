"""Rules of network cards: keys belong to types, and some types need theirs."""

from collections.abc import Iterator

import msgspec

from qlaunch.devices.network import Network
from qlaunch.errors import Problem
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import fault, repeated

# Keys that only some types have; all other keys belong to every type.
_VF_KEYS = ("pf", "vf", "vlan", "vlan_qos", "vlan_protocol", "trust", "spoofchk", "link_state", "max_tx_mbps", "host")
_TYPES_OF = {
    **dict.fromkeys(_VF_KEYS, ("vf",)),
    "forward": ("user", "passt"),
    **dict.fromkeys(("bridge", "create", "subnet", "dhcp", "nat"), ("bridge",)),
    "device": ("macvtap", "tap"),
    "mode": ("macvtap",),
    "vhost": ("bridge", "tap", "macvtap"),
    **dict.fromkeys(
        ("model", "queues", "mtu", "rx_queue_size", "tx_queue_size", "packed", "rom"),
        ("user", "bridge", "tap", "macvtap", "passt"),
    ),
}
# What makes sense only beside another key.
_BESIDE = {"subnet": "create", "dhcp": "subnet", "nat": "subnet"}
_OF_A_BRIDGE = ("create", "subnet", "dhcp", "nat", "mtu")
_NEEDS = {"bridge": ("bridge",), "macvtap": ("device",), "vf": ("pf", "vf")}


def keys_fit_the_type(machine: Machine) -> Iterator[Problem]:
    """A key that does nothing is a misunderstanding."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Network)} if machine.network else {}
    for number, card in enumerate(machine.network):
        for name, types in _TYPES_OF.items():
            value = getattr(card, name)
            if card.type in types or value == defaults[name] or value == []:
                continue
            wanted = " or ".join(f'"{kind}"' for kind in types)
            message = f'is for type = {wanted}, and this card is of type "{card.type}"'
            yield fault("network-key", f"network.{number}.{name}", message, "take it out, or change the type")


def types_have_their_keys(machine: Machine) -> Iterator[Problem]:
    """A bridge without a name is no bridge."""
    for number, card in enumerate(machine.network):
        for name in () if card.type == "vf" and card.host else _NEEDS.get(card.type, ()):
            if getattr(card, name) is None:
                yield fault("network-needs", f"network.{number}.{name}", f'is missing; type = "{card.type}" needs it')


def keys_of_a_bridge_stand_together(machine: Machine) -> Iterator[Problem]:
    """The host's address, DHCP and NAT are those of a bridge of qlaunch's own; to another one they belong already."""
    for number, card in enumerate(machine.network):
        for name, other in _BESIDE.items():
            if getattr(card, name) and not getattr(card, other) and card.type == "bridge":
                message = f"is for a bridge with {other}, and this one has none"
                hint = "create = true" if other == "create" else 'subnet = "192.168.77.1/24"'
                yield fault("bridge-keys", f"network.{number}.{name}", message, f"add {hint}, or take it out")


def cards_agree_on_their_bridge(machine: Machine) -> Iterator[Problem]:
    """One bridge is made in one way."""
    first: dict[str, int] = {}
    for number, card in enumerate(machine.network):
        if card.type != "bridge" or not card.bridge:
            continue
        other = first.setdefault(card.bridge, number)
        for name in _OF_A_BRIDGE:
            if getattr(card, name) != getattr(machine.network[other], name) and (card.create or name != "mtu"):
                message = f"differs from that of network.{other}, which is on the same bridge, {card.bridge}"
                yield fault("bridge-twice", f"network.{number}.{name}", message, "let them agree, or take two bridges")


def link_names_fit(machine: Machine) -> Iterator[Problem]:
    """The kernel counts bytes: IFNAMSIZ, 16 with the zero (include/uapi/linux/if.h)."""
    for number, card in enumerate(machine.network):
        for name in ("bridge", "device", "pf"):
            link = getattr(card, name) or ""
            if len(link.encode()) > 15 or link in (".", ".."):
                message = f"{link!r} cannot be the name of a link, which has at most 15 bytes"
                yield fault("link-name", f"network.{number}.{name}", message, "see: ip link")


def mac_addresses_differ(machine: Machine) -> Iterator[Problem]:
    """Two cards of one address answer for each other."""
    for key, other, mac in repeated((f"network.{number}.mac", card.mac) for number, card in enumerate(machine.network)):
        yield fault(
            "mac-twice",
            key,
            f"{mac} is the address of {other.rpartition('.')[0]} already",
            "give each its own, or leave it out",
        )


def vlan_options_have_a_vlan(machine: Machine) -> Iterator[Problem]:
    """Priority and protocol are those of a VLAN."""
    for number, card in enumerate(machine.network):
        if card.type == "vf" and card.vlan is None and (card.vlan_qos is not None or card.vlan_protocol != "802.1Q"):
            name = "vlan_protocol" if card.vlan_qos is None else "vlan_qos"
            yield fault("no-vlan", f"network.{number}.{name}", "there is no vlan for it", "add vlan, or take it out")


def virtio_keys_have_virtio(machine: Machine) -> Iterator[Problem]:
    """Emulated cards of real makers have no such properties."""
    for number, card in enumerate(machine.network):
        for name in ("queues", "mtu", "vhost", "rx_queue_size", "tx_queue_size", "packed"):
            if card.model != "virtio" and getattr(card, name):
                yield fault(
                    "network-model",
                    f"network.{number}.{name}",
                    f'is for model = "virtio", and this card is "{card.model}"',
                    "take it out",
                )


def forwards_can_be(machine: Machine) -> Iterator[Problem]:
    """Ports end at 65535, addresses have four numbers, and the host has each port once."""
    outer: list[tuple[str, str]] = []
    for number, card in enumerate(machine.network):
        for place, rule in enumerate(card.forward):
            key = f"network.{number}.forward.{place}"
            protocol, _, rest = rule.partition(":")
            sides = rest.split("-")
            outer.append((key, f"{protocol} {sides[0]}"))
            for side in sides:
                address, _, port = side.rpartition(":")
                if not 1 <= int(port) <= 65535:
                    yield fault("forward", key, f"{port} is not a port: 1 to 65535", 'write "tcp:2222-22", host first')
                if card.type == "passt" and side is sides[1] and address:
                    yield fault(
                        "forward", key, "passt forwards to the guest itself, whatever its address", "leave it out"
                    )
                elif address and not _is_ipv4(address):
                    yield fault(
                        "forward",
                        key,
                        f"{address} is not an IPv4 address",
                        'write "tcp:127.0.0.1:2222-22", for example',
                    )
    for key, other, taken in repeated(outer):
        yield fault(
            "forward-twice", key, f"{taken} of the host is forwarded by {other} already", "use another port of the host"
        )


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in parts)


RULES = (
    *(keys_fit_the_type, types_have_their_keys, mac_addresses_differ, vlan_options_have_a_vlan),
    *(virtio_keys_have_virtio, forwards_can_be),
    *(keys_of_a_bridge_stand_together, cards_agree_on_their_bridge, link_names_fit),
)

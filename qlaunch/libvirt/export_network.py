"""Network cards in libvirt's words.

Source: libvirt's ``docs/formatdomain.rst``, "Network interfaces": port forwarding is passt's alone; a card of type
``ethernet`` is a tap that nobody plugs in.
"""

from collections.abc import Iterator

from qlaunch.devices.network import Network, default_mac, tap_name
from qlaunch.libvirt.export_host import pci_source
from qlaunch.libvirt.export_sheet import Part, Sheet, changed, left, since
from qlaunch.libvirt.export_xml import Element, element
from qlaunch.values.pci import PciAddress

_LIBVIRT_TYPE = {"user": "user", "passt": "user", "bridge": "bridge", "tap": "ethernet", "macvtap": "direct"}
# Settings of a virtual function that its libvirt element has no word for.
_VF_ONLY = ("vlan_qos", "trust", "spoofchk", "max_tx_mbps")


def networks(sheet: Sheet) -> Iterator[Part]:
    """Yield every card."""
    for index, card in enumerate(sheet.machine.network):
        yield from _virtual_function(sheet, index, card) if card.type == "vf" else _card(sheet, index, card)


def _card(sheet: Sheet, index: int, card: Network) -> Iterator[Part]:
    passt = (card.type == "passt" or bool(card.forward)) and sheet.knows("passt")
    model, at = card.model, f"network.{index}"
    if model == "igb" and not sheet.knows("igb"):
        yield changed(f"{at}.model", f"libvirt knows igb from {since('igb')} on; e1000e is written", "")
        model = "e1000e"
    user = _LIBVIRT_TYPE[card.type] == "user"
    vhost = None if card.vhost is None else "vhost" if card.vhost else "qemu"
    driver = _driver(card, vhost) if model == "virtio" else None
    off = card.boot_index is None and card.rom is None
    yield element(
        "interface",
        element("mac", address=card.mac or default_mac(sheet.site.uuid, index)),
        _source(card),
        _target(sheet, index, card),
        element("model", type=model),
        driver,
        element("backend", type="passt") if passt else None,
        *(_forward(rule) for rule in card.forward if passt),
        None if card.mtu is None or user else element("mtu", size=card.mtu),
        element("rom", enabled="no" if off else None, file=card.rom) if off or card.rom else None,
        sheet.boot(card.boot_index),
        sheet.aliases.of(f"net{index}"),
        sheet.places.address(f"net{index}"),
        type=_LIBVIRT_TYPE[card.type],
    )
    if (card.type == "passt" or card.forward) and not passt:
        key = "forward" if card.forward else "type"
        yield left(f"{at}.{key}", f"libvirt knows passt from {since('passt')} on; plain user networking is written")
    elif card.type == "user" and card.forward:
        yield changed(f"{at}.forward", "libvirt forwards ports only by passt, which is written instead of QEMU's own")
    if card.mtu is not None and user:
        yield left(f"{at}.mtu", "libvirt sets no MTU on a card of user networking")
    if card.create:
        own = [name for name in ("subnet", "dhcp", "nat") if getattr(card, name)]
        message = f"libvirt makes no bridge for a domain: {', '.join(('create', *own))} stay behind"
        yield left(f"{at}.create", message, f"make a network with the bridge {card.bridge}: virsh net-define")


def _driver(card: Network, vhost: str | None) -> Element | None:
    keys = {
        "name": vhost,
        "queues": card.queues if (card.queues or 1) > 1 else None,
        "rx_queue_size": card.rx_queue_size,
        "tx_queue_size": card.tx_queue_size,
        "packed": "on" if card.packed else None,
    }
    return element("driver", **keys) if any(keys.values()) else None


def _target(sheet: Sheet, index: int, card: Network) -> Element | None:
    """Name a tap: one that is there already, or the one that libvirt makes."""
    if card.type != "tap":
        return None
    own = tap_name(sheet.site.name, index)
    return element("target", dev=card.device or own, managed="no" if card.device else None)


def _source(card: Network) -> Element | None:
    match card.type:
        case "bridge":
            return element("source", bridge=card.bridge)
        case "macvtap":
            return element("source", dev=card.device, mode="passthrough" if card.mode == "passthru" else card.mode)
        case _:
            return None


def _forward(rule: str) -> Element:
    """Turn ``tcp:127.0.0.1:2222-22`` into libvirt's element: the host's port is the range, the guest's is ``to``."""
    protocol, _, rest = rule.partition(":")
    outer, _, inner = rest.partition("-")
    address, _, port = outer.rpartition(":")
    span = element("range", start=port, to=inner.rpartition(":")[2])
    return element("portForward", span, proto=protocol, address=address or "127.0.0.1")


def _virtual_function(sheet: Sheet, index: int, card: Network) -> Iterator[Part]:
    at = f"network.{index}"
    address = sheet.site.vf_addresses.get(index) or card.host
    if address is None:
        where = f"readlink /sys/class/net/{card.pf}/device/virtfn{card.vf}"
        message = f"where virtual function {card.vf} of {card.pf} sits is known only on its own host, and to no other"
        yield left(f"{at}.vf", message, f"add a hostdev interface with the address that this prints there: {where}")
        return
    vlan = None if card.vlan is None else element("vlan", element("tag", id=card.vlan))
    yield element(
        "interface",
        element("mac", address=card.mac) if card.mac else None,
        pci_source(PciAddress.parse(address), "pci"),
        vlan,
        sheet.boot(card.boot_index),
        sheet.aliases.of(f"net{index}"),
        sheet.places.address(f"net{index}"),
        type="hostdev",
        managed="yes",
    )
    for key in _VF_ONLY:
        value = getattr(card, key)
        if value is not None:
            yield left(f"{at}.{key}", f"libvirt has no word for {key} = {value} of a virtual function")
    if card.vlan_protocol != "802.1Q":
        yield left(
            f"{at}.vlan_protocol", f"libvirt writes the VLAN of a virtual function as 802.1Q, not {card.vlan_protocol}"
        )
    if card.link_state is not None:
        yield left(f"{at}.link_state", "libvirt does not set the link of a virtual function")

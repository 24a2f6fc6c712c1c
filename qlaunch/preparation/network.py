"""Virtual functions of SR-IOV cards: made if need be, set by their card, and handed to VFIO."""

from collections.abc import Iterator

from msgspec.structs import replace

from qlaunch.devices.network import Network, default_mac
from qlaunch.errors import Problem
from qlaunch.host.facts import HostFacts
from qlaunch.preparation.wish import Wish
from qlaunch.steps.pci_driver import VFIO
from qlaunch.steps.step import Step
from qlaunch.steps.vf import printed
from qlaunch.values.pci import PciAddress

_LANE = "devices/vf"
_BESIDE = "functions"
_DEVICES = "/sys/bus/pci/devices"


def steps(wish: Wish) -> Iterator[Step]:
    """Yield the steps of each virtual function, in the order in which they build on each other."""
    for index, card in _functions(wish):
        controller = _controller(wish.facts, card)
        sriov = wish.facts.pci_settings(controller).sriov if controller else None
        if controller is None or sriov is None:
            continue
        assert card.vf is not None  # noqa: S101 - a rule of the machine file
        folder = f"{_DEVICES}/{controller}"
        name = f"{card.pf} VF {card.vf}"
        if sriov.in_use == 0:
            # Without drivers of the host's own, which would still be starting when the function is taken from them.
            probe = {f"{folder}/sriov_drivers_autoprobe": "0"}
            yield Step(kind="sysfs", summary=f"no drivers for new VFs of {card.pf}", claims=probe, lane=_LANE)
            yield Step(
                kind="sriov",
                summary=f"virtual functions of {card.pf}",
                claims={f"{folder}/sriov_numvfs": str(card.vf + 1)},
                lane=_LANE,
            )
        settings = printed(_settings(card, wish.uuid, index))
        of_card = [
            # A card that is down passes nothing on for its virtual functions either.
            Step(kind="link", summary=f"{card.pf} up", claims={str(card.pf): "up"}, lane=_LANE),
            Step(kind="vf", summary=f"{name}: {settings}", claims={f"{card.pf} vf {card.vf}": settings}, lane=_LANE),
        ]
        address = vf_address(wish.facts, card)
        to_vfio = [
            Step(kind="pci-driver", summary=f"{name} to {VFIO}", claims={str(one): VFIO}, lane=_LANE)
            for one in (address,)
            if one
        ]
        if _is_up(wish.facts, card):
            yield from (*of_card, *to_vfio)
        else:
            # To set a card up takes a second or more, and QEMU can open the function meanwhile. Its settings come after
            # it, since drivers take none of them while their card is down, and are there before the guest runs.
            late = (replace(step, lane=_BESIDE, moment="beside-launch") for step in of_card)
            yield from (*to_vfio, *late)


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield what the card or the host cannot."""
    for index, card in _functions(wish):
        key = f"network.{index}"
        controller = _controller(wish.facts, card)
        if not wish.facts.iommu.enabled and not wish.machine.pci:  # which tells it itself
            message = wish.facts.iommu.absence or "there are no IOMMU groups"
            yield Problem(code="no-iommu", key=key, message=message, hint=wish.facts.iommu.hint)
        yield from _in_use(wish.facts, card, key)
        if card.host is not None and card.pf is None:
            message = f"no network card of this host has a virtual function at {card.host}"
            yield Problem(code="no-vf", key=f"{key}.host", message=message, hint="write pf and vf; see: qlaunch groups")
            continue
        if controller is None:
            links = ", ".join(link.name for link in wish.facts.network.links if link.controller) or "none"
            message = f"there is no network card {card.pf} on this host"
            yield Problem(code="no-pf", key=f"{key}.pf", message=message, hint=f"cards: {links}")
            continue
        sriov = wish.facts.pci_settings(controller).sriov
        number = card.vf or 0
        if sriov is None:
            message = f"{card.pf} ({controller}) has no SR-IOV"
            hint = "switch it on in the firmware's setup, or use another card or another type of network"
            yield Problem(code="no-sriov", key=f"{key}.pf", message=message, hint=hint)
        elif number >= sriov.total:
            message = f"{card.pf} can have {sriov.total} virtual functions, 0 to {sriov.total - 1}, and not {number}"
            yield Problem(code="vf-beyond", key=f"{key}.vf", message=message)
        elif 0 < sriov.in_use <= number:
            message = f"{card.pf} has {sriov.in_use} virtual functions now, 0 to {sriov.in_use - 1}, and not {number}"
            hint = f"when none is in use: echo 0 > {_DEVICES}/{controller}/sriov_numvfs; then qlaunch makes them"
            yield Problem(code="vf-beyond", key=f"{key}.vf", message=message, hint=hint)


def _in_use(facts: HostFacts, card: Network, key: str) -> Iterator[Problem]:
    """Yield that the host itself goes out by the function."""
    address = vf_address(facts, card)
    links = [link.name for link in facts.network.on(address) if link.default_route] if address else []
    if links:
        message = f"VF {card.vf} of {card.pf} ({address}) is this host's way to the network ({', '.join(links)})"
        yield Problem(code="own-network", key=f"{key}.vf", message=message, hint="take another function")


def vf_address(facts: HostFacts, card: Network) -> PciAddress | None:
    """Give the address that a virtual function has, or will have once it is made.

    Source: PCI Express Base Specification, SR-IOV: First VF Offset and VF Stride; the kernel's ``drivers/pci/iov.c``.
    """
    if card.host is not None:
        return card.host
    controller = _controller(facts, card)
    return None if controller is None or card.vf is None else _address(facts, controller, card.vf)


def _address(facts: HostFacts, controller: PciAddress, number: int) -> PciAddress | None:
    folder = f"{_DEVICES}/{controller}"
    there = facts.tree.linked_name(f"{folder}/virtfn{number}")
    if there:
        return PciAddress(there)
    offset, stride = facts.tree.number(f"{folder}/sriov_offset"), facts.tree.number(f"{folder}/sriov_stride")
    if offset is None or stride is None:
        return None
    domain, bus, rest = str(controller).split(":")
    slot, function = rest.split(".")
    identifier = (int(bus, 16) << 8 | int(slot, 16) << 3 | int(function)) + offset + stride * number
    return PciAddress(f"{domain}:{identifier >> 8:02x}:{identifier >> 3 & 0x1F:02x}.{identifier & 7}")


def _functions(wish: Wish) -> Iterator[tuple[int, Network]]:
    cards = ((index, card) for index, card in enumerate(wish.machine.network) if card.type == "vf")
    return ((index, _by_number(wish.facts, card)) for index, card in cards)


def _by_number(facts: HostFacts, card: Network) -> Network:
    """Find the card and the number of a function that the file names by its address, as libvirt does."""
    if card.host is None:
        return card
    for link in facts.network.links:
        sriov = facts.pci_settings(link.controller).sriov if link.controller and not link.usb else None
        for number in range(sriov.total if sriov else 0):
            if link.controller and _address(facts, link.controller, number) == card.host:
                return replace(card, pf=link.name, vf=number)
    return card


def _is_up(facts: HostFacts, card: Network) -> bool:
    """Whether it is known to be; a card without a cable counts as down, and setting it up is no work then."""
    return any(link.name == card.pf and link.state != "down" for link in facts.network.links)


def _controller(facts: HostFacts, card: Network) -> PciAddress | None:
    return next((link.controller for link in facts.network.links if link.name == card.pf), None)


def _settings(card: Network, uuid: str, index: int) -> dict[str, str]:
    """Give the settings that the file asks for; a card without an address of its own would get a new one each boot."""
    settings = {"mac": str(card.mac or default_mac(uuid, index))}
    if card.vlan is not None:
        settings["vlan"] = f"{card.vlan}:{card.vlan_qos or 0}:{card.vlan_protocol}"
    for name, value in (("spoofchk", card.spoofchk), ("trust", card.trust)):
        if value is not None:
            settings[name] = "on" if value else "off"
    if card.link_state is not None:
        settings["link_state"] = card.link_state
    if card.max_tx_mbps is not None:
        settings["rate"] = f"0-{card.max_tx_mbps}"
    return settings

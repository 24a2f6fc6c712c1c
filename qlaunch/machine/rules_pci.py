"""Rules of places: of the host's PCI functions and USB ports, and of the slots of the guest's board."""

import re
from collections.abc import Iterator

from qlaunch.devices.ports import room
from qlaunch.devices.usb import LIMIT
from qlaunch.errors import Problem
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import board_of, fault, repeated

_USB_AUDIO_LIMIT = 7  # a USB sound card has the last port of the row


def devices_are_named_one_way(machine: Machine) -> Iterator[Problem]:
    """By an address, or by what a device is or sits behind; a pattern is one."""
    for number, card in enumerate(machine.pci):
        at = f"pci.{number}"
        if not card.is_named and not card.wish:
            yield fault("pci-name", at, "names no device", 'write host = "0b:00", or what it is: id = "1002:73bf"')
        for key in ("kind", "match", "behind", "nth"):
            if card.is_named and getattr(card, key) is not None:
                hint = "leave out one of them; id beside host is a check that they belong together"
                yield fault("pci-name", f"{at}.{key}", f"the address {card.host} is given already", hint)
        if card.match is not None:
            try:
                re.compile(card.match)
            except re.error as error:
                yield fault("pci-match", f"{at}.match", f"is no pattern: {error}", "see: man 7 regex")


def functions_are_given_once(machine: Machine) -> Iterator[Problem]:
    """A function can be in one place only; a whole slot has all its functions."""
    taken: list[tuple[str, str, frozenset[int]]] = []
    for number, card in enumerate(machine.pci):
        if not card.is_named:
            continue
        one = card.host.function
        functions = frozenset({one} if one is not None else card.functions or range(8))
        for key, slot, theirs in taken:
            if slot == card.host.slot and functions & theirs:
                yield fault(
                    "pci-twice",
                    f"pci.{number}.host",
                    f"{card.host} is handed over by {key} already",
                    "name each function once",
                )
                break
        taken.append((f"pci.{number}", card.host.slot, functions))


def functions_belong_to_a_slot(machine: Machine) -> Iterator[Problem]:
    """``functions`` chooses among those of a whole slot."""
    for number, card in enumerate(machine.pci):
        at = f"pci.{number}.functions"
        if card.functions and card.host.function is not None:
            yield fault(
                "pci-functions",
                at,
                f"{card.host} is one function already",
                f'write host = "{card.host.slot}", or leave this out',
            )
        for key, _, function in repeated((f"{at}.{place}", value) for place, value in enumerate(card.functions)):
            yield fault("pci-functions", key, f"{function} is in the list already", "name each function once")


def one_card_has_the_vga(machine: Machine) -> Iterator[Problem]:
    """There is one legacy VGA range."""
    cards = [number for number, card in enumerate(machine.pci) if card.x_vga]
    for number in cards[1:]:
        yield fault(
            "x-vga-twice", f"pci.{number}.x_vga", f"pci.{cards[0]} has it already", "keep it for the card that boots"
        )


def virtual_functions_are_given_once(machine: Machine) -> Iterator[Problem]:
    """A virtual function is one device."""
    cards = [
        (f"network.{n}.vf", (card.pf, card.vf) if card.type == "vf" and card.vf is not None else None)
        for n, card in enumerate(machine.network)
    ]
    for key, other, _ in repeated(cards):
        yield fault(
            "vf-twice", key, f"is the virtual function of {other.rpartition('.')[0]} already", "give each card its own"
        )


def places_are_free(machine: Machine) -> Iterator[Problem]:
    """Each device sits at a place of its own: its ``port``, or its number among its kind."""
    kinds = {
        "disk": [
            (n, disk.port)
            for n, disk in enumerate(machine.disk)
            if disk.on_bus in ("virtio", "nvme") and disk.address is None
        ],
        "network": [(n, card.port) for n, card in enumerate(machine.network) if card.address is None],
        "pci": [(n, card.port) for n, card in enumerate(machine.pci) if card.address is None],
        "share": [(n, share.port) for n, share in enumerate(machine.share) if share.address is None],
    }
    board = board_of(machine)
    for kind, sections in kinds.items():
        places = [
            (f"{kind}.{n}" + ("" if port is None else ".port"), n if port is None else port) for n, port in sections
        ]
        limit = room(board, "net" if kind == "network" else kind)
        for key, other, place in repeated(places):
            message = f"place {place} is taken by {other.removesuffix('.port')} already"
            yield fault("place-twice", key, message, "give one of them another port, counted from 0")
        for key, place in places:
            if place >= limit:
                hint = "use a lower port, or fewer devices" + ("; a q35 board has more" if board == "pc" else "")
                yield fault(
                    "no-room",
                    key,
                    f"place {place} does not exist: {board} has {limit} for this kind, counted from 0",
                    hint,
                )


def usb_devices_are_named(machine: Machine) -> Iterator[Problem]:
    """By what it is, by where it is plugged in, or by both: what must be there."""
    for number, stick in enumerate(machine.usb):
        if stick.id is None and stick.at is None:
            hint = 'name it by id = "046d:c547", or by its port: at = "1-2"'
            yield fault("usb-name", f"usb.{number}", "has neither id nor at", hint)
    for key, other, port in repeated((f"usb.{number}.at", stick.at) for number, stick in enumerate(machine.usb)):
        yield fault(
            "usb-twice", key, f"port {port} is passed by {other.rpartition('.')[0]} already", "pass each port once"
        )


def usb_devices_find_room(machine: Machine) -> Iterator[Problem]:
    """The controller's ports are numbered; disks, tablet and sound card have theirs."""
    if any(controller.kind == "usb" for controller in machine.controller):
        return  # QEMU says which ports there are
    limit = _USB_AUDIO_LIMIT if machine.audio and machine.audio.card == "usb" else LIMIT
    if len(machine.usb) > limit:
        hint = "pass the whole USB controller with [[pci]]"
        yield fault(
            "usb-room", f"usb.{limit}", f"is device {limit + 1}, and the controller has ports for {limit}", hint
        )


RULES = (
    *(devices_are_named_one_way, functions_are_given_once, functions_belong_to_a_slot, one_card_has_the_vga),
    *(virtual_functions_are_given_once, places_are_free, usb_devices_are_named, usb_devices_find_room),
)

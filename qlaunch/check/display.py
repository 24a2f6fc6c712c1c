"""A wanted graphics card and the host's own picture: boot framebuffer, consoles, display manager, ROM.

Source: ``Documentation/fb/fbcon.rst`` of the kernel.
"""

from collections.abc import Iterator

from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed, unknown
from qlaunch.host.display_manager import DISPLAY_MANAGER, read_display_manager
from qlaunch.host.pci import PciDevice

TITLE = "Display"


def checks(question: Question) -> Iterator[Check]:
    """Yield the checks of each wanted graphics card."""
    for device in question.wanted:
        if device.display:
            yield _framebuffer(question, device)
            yield from _rom(question, device)
            yield from _display_manager(question, device)


def _framebuffer(question: Question, device: PciDevice) -> Check:
    name, facts = question.name(device), question.facts
    boot = [holder.holder for holder in facts.framebuffers.holders if holder.boot and holder.address == device.address]
    consoles = question.machine is not None and question.machine.host.vtconsoles == "unbind"
    if boot and consoles:
        return passed("framebuffer", f"{boot[0]} is on {name}, and host.vtconsoles takes it off")
    if boot:
        message = f"the boot framebuffer ({boot[0]}) holds memory of {name}"
        return failed("framebuffer", message, 'write vtconsoles = "unbind" in [host]')
    if not facts.tree.exists("/proc/iomem"):
        return unknown("framebuffer", f"/proc/iomem is not there: who holds memory of {name} is not known")
    return passed("framebuffer", f"no boot framebuffer on {name}")


def _rom(question: Question, device: PciDevice) -> Iterator[Check]:
    own = [pci for pci in question.machine.pci if pci.host.slot == device.address.slot] if question.machine else []
    given = any(pci.rom for pci in own)
    if not device.boot_vga or given:
        return
    message = f"the firmware drew on {question.name(device)}: its ROM as the guest reads it may be changed"
    yield failed("rom", message, f"if the guest stays dark: qlaunch rom dump {device.address} FILE", "info")


def _display_manager(question: Question, device: PciDevice) -> Iterator[Check]:
    cards = [card for card in question.facts.framebuffers.cards if card.controller == device.address]
    lit = sorted({connector for card in cards for connector in card.connected})
    if not lit or question.machine is None:
        return
    unit = read_display_manager(question.facts.tree)
    stopped = question.machine.host.services.stop
    if unit and not {DISPLAY_MANAGER, unit} & set(stopped):
        message = f"{unit} draws on {question.name(device)} ({', '.join(lit)})"
        yield failed("display-manager", message, 'write services = { stop = ["display-manager.service"] } in [host]')
    elif unit:
        yield passed("display-manager", f"{unit} is stopped while the machine runs")
    elif stopped == [DISPLAY_MANAGER]:
        yield unknown("display-manager", "which unit display-manager.service stands for is not to be seen")

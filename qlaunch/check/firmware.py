"""Programs and files that the machine needs: QEMU, UEFI firmware, the TPM, shared folders, networks."""

from collections.abc import Iterator

from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed
from qlaunch.errors import HostError
from qlaunch.host.firmware import find_firmware
from qlaunch.machine.model import Machine

TITLE = "Programs and firmware"


def checks(question: Question) -> Iterator[Check]:
    """Yield the checks; without a machine, QEMU alone."""
    machine = question.machine
    programs = question.facts.software.programs
    binary = machine.qemu.binary if machine else "qemu-system-x86_64"
    if "/" in binary:
        found: str | None = binary if question.facts.tree.exists(binary) else None
    else:
        found = programs.get(binary) or programs.get("qemu-kvm")
    if found:
        yield passed("qemu", f"QEMU is {found}")
    else:
        yield failed("qemu", f"{binary} is not installed", "install QEMU, or set qemu.binary")
    if machine is None:
        return
    if machine.firmware.type == "uefi" and not machine.firmware.code:
        yield _pair(question, machine)
    yield from _helpers(machine, programs)


def _pair(question: Question, machine: Machine) -> Check:
    kind = machine.machine.type
    versioned = {"q35": "pc-q35-10.0", "pc": "pc-i440fx-10.0"}.get(kind, kind)
    try:
        pair = find_firmware(versioned, secure_boot=machine.firmware.secure_boot, tree=question.facts.tree)
    except HostError as error:
        return failed("firmware", error.message, error.hint)
    return passed("firmware", f"the firmware is {pair.code}")


def _helpers(machine: Machine, programs: dict[str, str]) -> Iterator[Check]:
    needs = (
        ("tpm", "swtpm", machine.tpm is not None),
        ("share", "virtiofsd", any(share.type == "virtiofs" for share in machine.share)),
        ("network", "passt", any(card.type == "passt" for card in machine.network)),
        ("network", "dnsmasq", any(card.dhcp for card in machine.network)),
    )
    for section, program, is_needed in needs:
        if is_needed and program in programs:
            yield passed(program, f"{program} is {programs[program]}")
        elif is_needed:
            yield failed(program, f"[{section}] needs {program}, which is not installed", f"install {program}")

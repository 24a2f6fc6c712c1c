"""Rules of board, firmware, and what the machine boots from.

Source: ``hw/smbios/smbios.c`` (keys of -smbios), ``docs/interop/firmware.json`` (secure boot needs SMM, which i440fx
has not).
"""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.machine.keys import join_key
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import board_of, caution, fault, repeated
from qlaunch.machine.search import nearest

_SMBIOS_KEYS = {
    "bios": ("vendor", "version", "date", "release", "uefi"),
    "system": ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    "baseboard": ("manufacturer", "product", "version", "serial", "asset", "location"),
    "chassis": ("manufacturer", "version", "serial", "asset", "sku"),
}
_HEX = frozenset("0123456789abcdefABCDEF")


def board_type_is_known(machine: Machine) -> Iterator[Problem]:
    """Versions are held against the QEMU of the host later; the family can be told now."""
    kind = machine.machine.type
    if kind not in ("q35", "pc") and not kind.startswith(("pc-q35-", "pc-i440fx-")):
        hint = 'use "q35", "pc", or a versioned type such as "pc-q35-7.2"'
        yield fault("machine-type", "machine.type", f'"{kind}" is not a machine type that qlaunch knows', hint)


def uuid_is_well_formed(machine: Machine) -> Iterator[Problem]:
    """QEMU takes only the form with hyphens (util/uuid.c)."""
    text = machine.machine.uuid
    if text is None:
        return
    lengths = [len(part) for part in text.split("-")]
    if lengths != [8, 4, 4, 4, 12] or not set(text) - {"-"} <= _HEX:
        hint = "leave it out for one that follows from the machine's name"
        yield fault(
            "uuid", "machine.uuid", f'"{text}" is not a UUID such as "1b4e28ba-2fa1-4d5c-8f0e-0123456789ab"', hint
        )


def something_boots(machine: Machine) -> Iterator[Problem]:
    """A guest without anything to boot shows a firmware prompt for ever."""
    cards = [*(card.boot_index for card in machine.pci), *(card.boot_index for card in machine.network)]
    if machine.boot.menu:
        return  # somebody is there to choose
    if not (machine.disk or machine.boot.kernel or machine.boot.app or any(index is not None for index in cards)):
        hint = "add a [[disk]] or boot.kernel, or a boot_index to the [[pci]] or [[network]] device that it boots from"
        yield fault("nothing-to-boot", "boot", "there is nothing to boot from", hint)


def kernel_options_have_a_kernel(machine: Machine) -> Iterator[Problem]:
    """Without -kernel, QEMU refuses -initrd and -append."""
    boot = machine.boot
    for name, value in (("initrd", boot.initrd), ("cmdline", boot.cmdline)):
        if value is not None and boot.kernel is None:
            yield fault(
                "no-kernel", f"boot.{name}", "there is no boot.kernel for it", "add boot.kernel, or leave this out"
            )


def kernel_or_app(machine: Machine) -> Iterator[Problem]:
    """Both would be started first."""
    if machine.boot.kernel and machine.boot.app:
        yield fault(
            "two-boots", "boot.app", "stands beside boot.kernel, and only one can be started", "take one of them out"
        )


def app_needs_uefi(machine: Machine) -> Iterator[Problem]:
    """The probe is a UEFI program."""
    if machine.boot.app and machine.firmware.type == "bios":
        hint = 'set firmware.type = "uefi"'
        yield fault("app-without-uefi", "boot.app", 'is a UEFI program, and firmware.type is "bios"', hint)


def secure_boot_can_be(machine: Machine) -> Iterator[Problem]:
    """Secure boot is a matter of UEFI, and its variables are guarded by SMM, which needs q35."""
    if not machine.firmware.secure_boot:
        return
    if machine.firmware.type == "bios":
        yield fault("secure-boot", "firmware.secure_boot", 'needs firmware.type = "uefi"', "take one of the two out")
    elif board_of(machine) == "pc":
        yield fault(
            "secure-boot",
            "firmware.secure_boot",
            "needs a q35 board: i440fx cannot guard the variables",
            'set machine.type = "q35"',
        )


def firmware_files_are_a_pair(machine: Machine) -> Iterator[Problem]:
    """Code and variables are built together; one of another build does not start."""
    wanted = machine.firmware
    files = {"code": wanted.code, "vars_template": wanted.vars_template, "vars": wanted.vars}
    named = [name for name, path in files.items() if path is not None]
    if wanted.rom is not None and wanted.type == "uefi":
        yield fault("firmware-pair", "firmware.rom", 'is for type = "bios"', "name code and vars_template instead")
    if wanted.type == "bios":
        for name in named:
            yield fault(
                "firmware-pair",
                f"firmware.{name}",
                'means nothing with firmware.type = "bios"',
                "take one of the two out",
            )
    elif wanted.code is not None and wanted.vars_template is None:
        hint = "name the VARS file that was built with it; a private copy of it is made"
        yield fault("firmware-pair", "firmware.code", "needs firmware.vars_template beside it", hint)
    elif wanted.code is None and wanted.vars_template is not None:
        hint = "name the code that it was built with, or leave both out to have a pair found"
        yield fault("firmware-pair", "firmware.vars_template", "needs firmware.code beside it", hint)


def smbios_keys_are_known(machine: Machine) -> Iterator[Problem]:
    """QEMU takes a few keys for each table; any other text could become another option."""
    smbios = machine.firmware.smbios
    if smbios is None or isinstance(smbios, str):
        return
    for table, known in _SMBIOS_KEYS.items():
        for name in getattr(smbios, table):
            if name not in known:
                near = nearest(name, known)
                hint = f"did you mean {near}?" if near else f"it has: {', '.join(known)}"
                key = join_key(("firmware", "smbios", table, name))
                yield fault("smbios-key", key, f"SMBIOS has no such string in its {table} table", hint)


def boot_indexes_differ(machine: Machine) -> Iterator[Problem]:
    """QEMU refuses two devices at one place of the boot order; the probe has the first place."""
    order: list[tuple[str, int | None]] = [("boot.app", 0)] if machine.boot.app else []
    order += [(f"disk.{number}.boot_index", disk.boot_index) for number, disk in enumerate(machine.disk)]
    order += [(f"network.{number}.boot_index", card.boot_index) for number, card in enumerate(machine.network)]
    order += [(f"pci.{number}.boot_index", card.boot_index) for number, card in enumerate(machine.pci)]
    for key, other, index in repeated(order):
        yield fault(
            "boot-order",
            key,
            f"{index} is the place of {other} already",
            "give each its own number; the lowest boots first",
        )


def watchdog_fits_the_board(machine: Machine) -> Iterator[Problem]:
    """The iTCO watchdog is a part of the ICH9 chipset."""
    if machine.machine.watchdog == "itco" and board_of(machine) == "pc":
        yield fault(
            "watchdog", "machine.watchdog", '"itco" is a part of the q35 chipset', 'use "i6300esb", or a q35 board'
        )


def rom_is_shown(machine: Machine) -> Iterator[Problem]:
    """A ROM file that the guest cannot see does nothing."""
    for number, card in enumerate(machine.pci):
        if card.rom and card.rom_bar is False:
            yield fault("rom-hidden", f"pci.{number}.rom", "is hidden by rom_bar = false", "take one of the two out")


def x_vga_is_for_bios(machine: Machine) -> Iterator[Problem]:
    """x-vga routes legacy VGA, which UEFI never touches; on some hosts it disturbs the host's own display."""
    for number, card in enumerate(machine.pci):
        if card.x_vga and machine.firmware.type == "uefi":
            yield caution(
                "x-vga-uefi",
                f"pci.{number}.x_vga",
                "does nothing under UEFI and can disturb the host's display",
                "leave it out",
            )


RULES = (
    *(board_type_is_known, uuid_is_well_formed, something_boots, kernel_options_have_a_kernel, kernel_or_app),
    *(app_needs_uefi, secure_boot_can_be, firmware_files_are_a_pair, smbios_keys_are_known, boot_indexes_differ),
    *(watchdog_fits_the_board, rom_is_shown, x_vga_is_for_bios),
)

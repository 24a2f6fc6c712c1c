"""What the guest boots from and what its power events mean, in libvirt's words: ``os``, ``sysinfo``, ``on_…``, ``pm``.

Source: libvirt's ``docs/formatdomain.rst``, "Operating system booting", "SMBIOS System Information", "Events
configuration"; ``src/conf/domain_conf.c``, ``virSysinfoBIOSParseXML`` (the date's shape).
"""

import re
from collections.abc import Iterator

from qlaunch.devices.firmware import Smbios
from qlaunch.libvirt.export_sheet import Native, Part, Sheet, changed, left, yes
from qlaunch.libvirt.export_xml import Element, element

_DATE = re.compile(r"\d{2}/\d{2}/(\d{2}|\d{4})", re.ASCII)
# Libvirt's blocks, and the entries that each takes; QEMU's keys have the same names.
_ENTRIES = {
    "bios": ("vendor", "version", "date", "release"),
    "system": ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    "baseboard": ("manufacturer", "product", "version", "serial", "asset", "location"),
    "chassis": ("manufacturer", "version", "serial", "asset", "sku"),
}
_TAGS = {"bios": "bios", "system": "system", "baseboard": "baseBoard", "chassis": "chassis"}
# What a libvirt domain does at the guest's events, by the machine file's words.
_EVENTS = {"stop": "destroy", "pause": "preserve", "reset": "restart"}


def sysinfo(sheet: Sheet) -> Iterator[Part]:
    """Yield the strings of the SMBIOS tables, and the size of the firmware's 64-bit window."""
    smbios = sheet.machine.firmware.smbios
    if isinstance(smbios, Smbios):
        tables: list[Element] = []
        for table, known in _ENTRIES.items():
            strings: dict[str, str] = getattr(smbios, table)
            taken = {key: value for key, value in strings.items() if key in known and _is_taken(table, key, value)}
            for key in strings.keys() - taken.keys():
                yield left(f"firmware.smbios.{table}.{key}", f"libvirt does not take {key} = {strings[key]!r} there")
            entries = [element("entry", text=value, name=key) for key, value in taken.items()]
            tables += [element(_TAGS[table], *entries)] if entries else []
        oem = [element("entry", text=text) for text in smbios.oem_strings]
        tables += [element("oemStrings", *oem)] if oem else []
        yield element("sysinfo", *tables, type="smbios")
    if window := sheet.machine.memory.mmio64:
        # Libvirt keeps the names below opt/ovmf/ to itself (virSysinfoFWCfgParseXML), so in QEMU's own words.
        yield Native(("-fw_cfg", f"name=opt/ovmf/X-PciMmio64Mb,string={window.mib}"))


def boot(sheet: Sheet) -> Iterator[Part]:
    """Yield ``os``."""
    machine = sheet.machine
    smbios = machine.firmware.smbios
    mode = "host" if smbios == "host" else "sysinfo" if smbios else None
    firmware, found = _firmware(sheet)
    wanted = machine.boot
    yield element(
        "os",
        element("type", text="hvm", arch="x86_64", machine=sheet.site.machine_type),
        *firmware,
        *(
            element(tag, text=value)
            for tag, value in (("kernel", wanted.kernel), ("initrd", wanted.initrd), ("cmdline", wanted.cmdline))
            if value
        ),
        element("bootmenu", enable=yes(wanted.menu), timeout=wanted.menu_timeout_ms),
        element("bios", rebootTimeout=wanted.reboot_timeout_ms) if wanted.reboot_timeout_ms is not None else None,
        element("smbios", mode=mode) if mode else None,
        firmware="efi" if machine.firmware.type == "uefi" and not machine.firmware.code else None,
    )
    yield from found
    if wanted.app:
        yield left("boot.app", "the probe is a program of qlaunch; libvirt cannot start it")


def power(sheet: Sheet) -> Iterator[Part]:
    """Yield what the guest's power events mean."""
    board = sheet.machine.machine
    yield element("on_poweroff", text=_EVENTS[board.on_poweroff])
    yield element("on_reboot", text=_EVENTS[board.on_reboot])
    yield element("on_crash", text=_EVENTS[board.on_crash])
    if board.suspend and sheet.machine.firmware.type == "uefi" and not sheet.machine.firmware.code:
        message = "for a guest that may sleep, libvirt takes only firmware that is marked for it, and may find none"
        yield changed("machine.suspend", message, "if it finds none, set firmware.code and firmware.vars_template")
    states = {"mem": board.suspend in (True, "to-ram"), "disk": board.suspend in (True, "to-disk")}
    yield element("pm", *(element(f"suspend-to-{where}", enabled=yes(on)) for where, on in states.items()))


def _is_taken(table: str, key: str, value: str) -> bool:
    return bool(value) and ((table, key) != ("bios", "date") or bool(_DATE.fullmatch(value)))


def _firmware(sheet: Sheet) -> tuple[list[Element], list[Part]]:
    wanted, files = sheet.machine.firmware, sheet.site.firmware
    if wanted.type == "bios":
        return [element("loader", text=wanted.rom, readonly="yes", type="rom")] if wanted.rom else [], []
    found: list[Part] = []
    if wanted.code:
        secure = yes(wanted.secure_boot)
        loader = element("loader", text=wanted.code, readonly="yes", secure=secure, type="pflash")
        variables = element("nvram", text=wanted.vars, template=wanted.vars_template)
        parts = [loader, variables]
    else:
        names = ("secure-boot", "enrolled-keys") if wanted.secure_boot else ("secure-boot",)
        features = (element("feature", enabled=yes(wanted.secure_boot), name=name) for name in names)
        own = element("nvram", text=wanted.vars, template=wanted.vars_template)
        parts = [element("firmware", *features), *([own] if wanted.vars or wanted.vars_template else [])]
    if files and not wanted.vars:
        message = "libvirt makes a variable store of its own, so the guest's boot entries are not there"
        hint = f"copy {files.vars} over the file that virsh dumpxml names as nvram, once the domain is defined"
        found.append(changed("firmware.vars", message, hint))
    if wanted.debug_log:
        words = ("-chardev", f"file,id=fwdbg0,path={wanted.debug_log.replace(',', ',,')}")
        found.append(Native((*words, "-device", "isa-debugcon,iobase=0x402,chardev=fwdbg0")))
    return parts, found

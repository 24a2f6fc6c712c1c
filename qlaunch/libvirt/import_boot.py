"""Firmware, board, what is started, and what the guest reads in its SMBIOS tables.

Source: libvirt's ``docs/formatdomain.rst``, "Operating system booting", "SMBIOS System Information";
``src/qemu/qemu_command.c``, ``qemuBuildBootCommandLine``; ``src/qemu/qemu_conf.c`` (the pairs of its default nvram
list).
"""

import re

from qlaunch.libvirt.import_draft import Draft, integer, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_BOARD = re.compile(r"(pc|q35|pc-(q35|i440fx)-[A-Za-z0-9._-]+)", re.ASCII)
_UPSTREAM = re.compile(r"(pc|q35|pc-(q35|i440fx)-\d+\.\d+(\.\d+)?)", re.ASCII)
_BLOCKS = {"bios": "bios", "system": "system", "baseBoard": "baseboard", "chassis": "chassis"}


def firmware(draft: Draft, places: Places) -> None:
    """Read the firmware: selected by libvirt, or by path."""
    del places
    system = draft.root.one("os")
    assert system is not None  # noqa: S101 - without it there is no import
    automatic = draft.choice(system, "firmware", {"efi": "uefi", "bios": "bios"})
    loader, nvram = system.one("loader"), system.one("nvram")
    path = loader.word() if loader else ""
    secure = draft.flag(loader, "secure")
    kind = loader.get("type") if loader else None
    stateless = draft.flag(loader, "stateless")
    _loader(draft, loader, kind)
    draft.set(loader or system, "firmware", "type", "uefi" if automatic == "uefi" or kind == "pflash" else "bios")
    asked = _features(draft, system)
    if secure or asked.get("secure-boot"):
        draft.set(loader or system, "firmware", "secure_boot", value=True)
    if path:
        key = "code" if draft.tables["firmware"]["type"] == "uefi" else "rom"
        draft.set(loader or system, "firmware", key, path)
    _nvram(draft, nvram, path)
    if stateless:
        message = "a variable store is used, which libvirt would not give it"
        draft.differs(loader or system, message, ("firmware",), "stateless")
    _varstore(draft, system)


def _loader(draft: Draft, loader: Node | None, kind: str | None) -> None:
    if loader is None:
        return
    if draft.flag(loader, "readonly") is False and kind == "pflash":
        message = "the flash that holds the code is never written here"
        draft.differs(loader, message, ("firmware", "code"), "readonly")
    if loader.get("format") not in (None, "raw"):
        draft.differs(loader, "the format is told by the file's name", ("firmware", "code"), "format")


def _nvram(draft: Draft, nvram: Node | None, code: str) -> None:
    if draft.tables["firmware"]["type"] == "bios":
        draft.idle(nvram, "a BIOS keeps no variables")
        return
    if nvram is not None:
        draft.set(nvram, "firmware", "vars", nvram.word() or None)
        _store(draft, nvram)
        draft.set(nvram, "firmware", "vars_template", nvram.get("template"))
    if code and (nvram is None or nvram.get("template") is None):
        draft.set(nvram or draft.root, "firmware", "vars_template", _built_with(code))
        text = "guessed from the code's name; used only if vars does not exist yet"
        draft.comment(("firmware", "vars_template"), text)


def _varstore(draft: Draft, system: Node) -> None:
    store = system.one("varstore")
    if store is not None:
        store.close()
        draft.asks(store, "a variable store in QEMU's own format has no key here", ("firmware",))


def _features(draft: Draft, system: Node) -> dict[str, bool]:
    """Read what automatic selection is to look for."""
    asked = {}
    block = system.one("firmware")
    for node in block.each("feature") if block else []:
        enabled = draft.flag(node, "enabled")
        asked[node.get("name") or ""] = enabled is not False
        if node.get("name") not in ("secure-boot", "enrolled-keys"):
            draft.asks(node, f'"{shown(node.get("name") or "")}" is not known here', ("firmware",))
    if asked.get("secure-boot") and asked.get("enrolled-keys") is False and block:
        message = "firmware with Microsoft's keys is looked for, and libvirt took one without"
        draft.differs(block, message, ("firmware", "secure_boot"))
    return asked


def _built_with(code: str) -> str:
    """Guess the template of the variables that is built with the code."""
    name = code.rpartition("/")[2]
    plain = re.sub(r"(\.secboot|\.secure|\.ms)(?=\.|$)", "", name) if ".ms" not in name else name
    template = code.removesuffix(name) + plain.replace("CODE", "VARS").replace("-code", "-vars")
    return re.sub(r"(\.[a-z0-9]+)?$", r"_VARS\1", code, count=1) if template == code else template


def _store(draft: Draft, nvram: Node) -> None:
    """Read what the variables are kept in."""
    draft.idle(nvram, "the file says it", "templateFormat")
    if nvram.get("format") not in (None, "raw"):
        draft.differs(nvram, "the format is told by the file's name", ("firmware", "vars"), "format")
    if nvram.get("type") not in (None, "file") or nvram.one("source") is not None:
        source = nvram.one("source")
        file = source.get("file") if source else None
        if file:
            draft.set(nvram, "firmware", "vars", file)
        else:
            nvram.close()
            draft.asks(nvram, "the variables are not a file of this host; name one", ("firmware", "vars"))


def system(draft: Draft, places: Places) -> None:
    """Read board, boot order's timeouts, direct kernel boot and SMBIOS."""
    del places
    node = draft.root.one("os")
    assert node is not None  # noqa: S101 - without it there is no import
    _board(draft, node.one("type"))
    menu = node.one("bootmenu")
    draft.set(menu or node, "boot", "menu", draft.flag(menu, "enable"))
    draft.set(menu or node, "boot", "menu_timeout_ms", draft.number(menu, "timeout", 0, 65535))
    bios = node.one("bios")
    timeout = bios.get("rebootTimeout") if bios else None
    if bios is not None and timeout is not None:
        value = -1 if timeout == "-1" else draft.number(bios, "rebootTimeout", 0, 65535)
        draft.set(bios, "boot", "reboot_timeout_ms", value)
    if draft.flag(bios, "useserial"):
        draft.lost(bios, "BIOS messages on the serial port have no key here", "useserial")
    for tag in ("kernel", "initrd", "cmdline"):
        draft.set(node, "boot", tag, node.words(tag) or None)
    draft.lost(node.one("dtb"), "device trees are not for x86")
    shim = node.one("shim")
    if shim is not None and shim.word():
        draft.pass_on("-shim", shim.word())
    for tag in ("init", "initarg", "initenv", "initdir", "inituser", "initgroup", "idmap", "root"):
        for child in node.each(tag):
            draft.idle(child, "is for containers")
    _acpi(draft, node)
    _smbios(draft, node)


def _board(draft: Draft, kind: Node | None) -> None:
    if kind is None:
        return
    board = kind.get("machine") or "pc"
    if kind.get("arch") == "i686":
        draft.differs(kind, "qemu-system-x86_64 runs it, whose CPU knows 64 bits too", ("machine",), "arch")
    if not _BOARD.fullmatch(board):
        message = f'"{shown(board)}" is no board that qlaunch knows; q35 is written'
        draft.asks(kind, message, ("machine", "type"), "machine")
        board = "q35"
    elif not _UPSTREAM.fullmatch(board):
        message = f"{board} is a distribution's own name; QEMU must be that distribution's, or write a type of its own"
        draft.differs(kind, message, ("machine", "type"), "machine")
    draft.set(kind, "machine", "type", board)


def _acpi(draft: Draft, node: Node) -> None:
    acpi = node.one("acpi")
    for table in acpi.each("table") if acpi else []:
        kind, path = table.get("type"), table.word()
        words = {"slic": f"sig=SLIC,file={path}", "raw": f"data={path}", "rawset": f"data={path}"}
        if kind in words and "," not in path:
            draft.pass_on("-acpitable", words[kind])
        else:
            draft.asks(table, "is no ACPI table that can be handed to QEMU", ("qemu", "extra"))


def _smbios(draft: Draft, node: Node) -> None:
    mode = draft.choice(node.one("smbios"), "mode", {"host": "host", "sysinfo": "sysinfo", "emulate": None})
    if mode == "host":
        draft.set(node, "firmware", "smbios", "host")
    for info in draft.root.each("sysinfo"):
        if info.get("type") == "fwcfg":
            _fw_cfg(draft, info)
        elif mode == "sysinfo":
            _sysinfo(draft, info)
        else:
            draft.idle(info, 'is shown only with <smbios mode="sysinfo">')


def _sysinfo(draft: Draft, info: Node) -> None:
    tables: dict[str, object] = {}
    for block in info.children:
        block.seen = True
        if block.tag in _BLOCKS and _BLOCKS[block.tag] not in tables:
            entries = {entry.get("name") or "": entry.word() for entry in block.each("entry")}
            tables[_BLOCKS[block.tag]] = {name: text for name, text in entries.items() if text}
        elif block.tag == "oemStrings":
            tables["oem_strings"] = [entry.word() for entry in block.each("entry")]
        else:
            draft.lost(block, "this SMBIOS table has no key here")
    if tables:
        draft.set(info, "firmware", "smbios", tables)


def _fw_cfg(draft: Draft, info: Node) -> None:
    for entry in info.each("entry"):
        name, file, text = entry.get("name") or "", entry.get("file"), entry.word()
        if name == "opt/ovmf/X-PciMmio64Mb" and (size := integer(text)):
            draft.set(entry, "memory", "mmio64", f"{size}M")
            continue
        value = f"file={file}" if file else f"string={text}"
        if "," in name + value or not name.startswith("opt/"):
            draft.asks(entry, "cannot be handed on as it is", ("qemu", "extra"))
            continue
        draft.pass_on("-fw_cfg", f"name={name},{value}")

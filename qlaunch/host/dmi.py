"""The host's own SMBIOS strings, for ``smbios = "host"``.

The host's UUID is left out on purpose: two systems with one UUID confuse whoever licenses by it.

Source: the kernel's ``Documentation/ABI/testing/sysfs-class-dmi`` (serial numbers are for root alone), QEMU's
``hw/smbios/smbios.c`` for its keys.
"""

import os

_FILES = {
    0: {"vendor": "bios_vendor", "version": "bios_version", "date": "bios_date", "release": "bios_release"},
    1: {
        "manufacturer": "sys_vendor",
        "product": "product_name",
        "version": "product_version",
        "serial": "product_serial",
        "sku": "product_sku",
        "family": "product_family",
    },
    2: {
        "manufacturer": "board_vendor",
        "product": "board_name",
        "version": "board_version",
        "serial": "board_serial",
        "asset": "board_asset_tag",
    },
    3: {
        "manufacturer": "chassis_vendor",
        "version": "chassis_version",
        "serial": "chassis_serial",
        "asset": "chassis_asset_tag",
    },
}


def read_smbios(root: str = "/") -> dict[int, dict[str, str]]:
    """Give the strings by SMBIOS type and QEMU's key; what is empty or may not be read is left out."""
    folder = os.path.join(root, "sys/class/dmi/id")
    tables = {
        number: {key: text for key, name in files.items() if (text := _read(os.path.join(folder, name)))}
        for number, files in _FILES.items()
    }
    return {number: strings for number, strings in tables.items() if strings}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="ignore") as file:
            text = "".join(letter for letter in file.read() if letter.isprintable()).strip()
    except OSError:
        return ""
    # QEMU refuses most other forms of the BIOS release.
    return "" if path.endswith("/bios_release") and not _is_release(text) else text


def _is_release(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 2 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts)

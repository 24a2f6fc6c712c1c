"""The host's own SMBIOS strings, for ``smbios = "host"``.

The host's UUID is left out on purpose: two systems with one UUID confuse whoever licenses by it.

Source: the kernel's ``Documentation/ABI/testing/sysfs-class-dmi`` (serial numbers are for root alone), QEMU's
``hw/smbios/smbios.c`` for its keys.
"""

from qlaunch.host.tree import Tree

_FOLDER = "/sys/class/dmi/id"
# Of this very computer, or of its owner: not for a capture.
_PRIVATE = ("_serial", "_asset_tag")
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


def read_smbios(tree: Tree) -> dict[int, dict[str, str]]:
    """Give the strings by SMBIOS type and QEMU's key; what is empty or may not be read is left out."""
    tables = {
        number: {key: text for key, name in files.items() if (text := _string(tree, name))}
        for number, files in _FILES.items()
    }
    return {number: strings for number, strings in tables.items() if strings}


def _string(tree: Tree, name: str) -> str:
    path = f"{_FOLDER}/{name}"
    found = (tree.secret(path) if name.endswith(_PRIVATE) else tree.read(path)) or ""
    # The reader of trees has put U+FFFD for bytes that are no text.
    text = "".join(letter for letter in found if letter.isprintable() and letter != "\ufffd").strip()
    # QEMU refuses most other forms of the BIOS release.
    return "" if name == "bios_release" and not _is_release(text) else text


def _is_release(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 2 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts)

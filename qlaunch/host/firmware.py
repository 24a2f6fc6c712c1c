"""UEFI firmware, found the way QEMU asks distributions to describe it.

Source: QEMU's ``docs/interop/firmware.json``: a file of the same name in a later folder replaces one in an earlier, an
empty one hides it; all are sorted by file name, and the first that fits is taken.
"""

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from qlaunch.errors import HostError
from qlaunch.host.tree import Tree

_FOLDERS = ("/usr/share/qemu/firmware", "/etc/qemu/firmware")
_INSTALL = "install it: ovmf (Debian, Ubuntu), edk2-ovmf (Fedora, Arch)"
# Guests of confidential computing only; their builds start nothing else.
_SPECIAL = {"amd-sev-snp", "intel-tdx"}
# Where nothing is described at all: code and variables for q35 and pc, without secure boot, by folder.
# Source: the file lists of the packages ovmf (Debian), edk2-ovmf (Fedora, Arch, Gentoo).
_UNDESCRIBED = (
    ("/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),
    ("/usr/share/edk2/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
    ("/usr/share/edk2-ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),
)


class FirmwarePair(msgspec.Struct, frozen=True, kw_only=True):
    """Code and the template of its variable store, which belong together."""

    code: str
    vars_template: str
    code_format: str = "raw"
    vars_format: str = "raw"
    needs_smm: bool = False
    descriptor: str = ""


class _File(msgspec.Struct):
    filename: str
    format: str = "raw"


class _Mapping(msgspec.Struct, rename="kebab"):
    device: str
    mode: Literal["split", "combined", "stateless"] = "split"
    executable: _File | None = None
    nvram_template: _File | None = None


class _Target(msgspec.Struct):
    architecture: str
    machines: list[str] = []


class _Descriptor(msgspec.Struct, rename="kebab"):
    mapping: _Mapping
    interface_types: list[str] = []
    targets: list[_Target] = []
    features: list[str] = []


def find_firmware(
    machine_type: str, *, secure_boot: bool, tree: Tree | None = None, environ: Mapping[str, str] = os.environ
) -> FirmwarePair:
    """Find the pair for a versioned machine type, on this host or a captured one.

    Raises HostError saying which folders were read.

    With secure boot the pair has Microsoft's keys enrolled, without it neither keys nor the need for SMM.
    """
    tree = tree or Tree()
    damaged: list[str] = []
    absent: list[str] = []
    described = _descriptors(tree, environ)
    for path, text in described.items():
        try:
            descriptor = msgspec.json.decode(text or "", type=_Descriptor)
        except msgspec.MsgspecError:
            damaged.append(path)
            continue
        if _fits(descriptor, machine_type, secure_boot=secure_boot) and (pair := _pair(descriptor, path)):
            if missing := [file for file in (pair.code, pair.vars_template) if not tree.exists(file)]:
                absent.extend(missing)
                continue
            return pair
    if not described and not secure_boot and (pair := _undescribed(tree)):
        return pair
    what = "UEFI firmware with secure boot" if secure_boot else "UEFI firmware"
    where = ", ".join(_folders(environ))
    flaws = (("damaged", damaged), ("described but absent", absent))
    told = "".join(f"; {flaw}: {', '.join(files)}" for flaw, files in flaws if files)
    raise HostError(f"no {what} for {machine_type} is described in {where}{told}", _INSTALL)


def _folders(environ: Mapping[str, str]) -> list[str]:
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or "/", ".config")
    return [*_FOLDERS, f"{config}/qemu/firmware"]


def _descriptors(tree: Tree, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Give the descriptors in force, in their order, with their texts; None is one that cannot be read.

    An empty one hides those of its name, and so does a link to /dev/null.
    """
    found: dict[str, str] = {}
    for folder in _folders(environ):
        found |= {name: f"{folder}/{name}" for name in tree.listdir(folder) if name.endswith(".json")}
    texts = {path: tree.read(path) for _, path in sorted(found.items())}
    return {path: text for path, text in texts.items() if text != "" and not _is_hidden(tree, path)}


def _is_hidden(tree: Tree, path: str) -> bool:
    # A captured tree has no /dev/null that could be read.
    return tree.readlink(path) == "/dev/null"


def _undescribed(tree: Tree) -> FirmwarePair | None:
    for folder, code, template in _UNDESCRIBED:
        pair = FirmwarePair(code=f"{folder}/{code}", vars_template=f"{folder}/{template}")
        if tree.exists(pair.code) and tree.exists(pair.vars_template):
            return pair
    return None


def _fits(descriptor: _Descriptor, machine_type: str, *, secure_boot: bool) -> bool:
    features = set(descriptor.features)
    wanted = {"secure-boot", "enrolled-keys"}
    return (
        "uefi" in descriptor.interface_types
        and descriptor.mapping.device == "flash"
        and descriptor.mapping.mode == "split"
        and (wanted <= features if secure_boot else not features & {*wanted, "requires-smm"})
        and not features & _SPECIAL
        and any(
            target.architecture == "x86_64" and any(fnmatchcase(machine_type, glob) for glob in target.machines)
            for target in descriptor.targets
        )
    )


def _pair(descriptor: _Descriptor, path: str) -> FirmwarePair | None:
    code, template = descriptor.mapping.executable, descriptor.mapping.nvram_template
    if code is None or template is None:
        return None
    return FirmwarePair(
        code=code.filename,
        vars_template=template.filename,
        code_format=code.format,
        vars_format=template.format,
        needs_smm="requires-smm" in descriptor.features,
        descriptor=path,
    )

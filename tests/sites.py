"""Fixed surroundings for pure tests: machines from tables, and hosts on which the same things are always found."""

from typing import Any, Literal

import msgspec

from qlaunch.devices.site import FirmwareFiles
from qlaunch.found import Found
from qlaunch.machine.model import Machine
from qlaunch.values.cpus import CpuSet

Accel = Literal["kvm", "tcg"]


def machine(**sections: Any) -> Machine:
    """Build a machine from tables as in a file; memory has a default."""
    tables = {"memory": {"size": "1G"}, **sections}
    converted: Machine = msgspec.convert(tables, Machine, dec_hook=lambda kind, text: kind.parse(text))
    return converted


def found(
    made: Machine, name: str = "test", *, version: tuple[int, int] = (10, 0), accel: Accel | None = None
) -> Found:
    """Give what a well-equipped host has, without looking at this one."""
    board, wanted = ("i440fx" if made.machine.type.startswith("pc") else "q35"), made.machine.accel
    firmware = FirmwareFiles(
        code="/usr/share/OVMF/OVMF_CODE_4M.ms.fd" if made.firmware.secure_boot else "/usr/share/OVMF/OVMF_CODE_4M.fd",
        vars=f"/var/lib/qlaunch/{name}/VARS.fd",
        vars_template="/usr/share/OVMF/OVMF_VARS_4M.ms.fd"
        if made.firmware.secure_boot
        else "/usr/share/OVMF/OVMF_VARS_4M.fd",
        needs_smm=made.firmware.secure_boot,
    )
    return Found(
        runtime=f"/run/qlaunch/{name}",
        state=f"/var/lib/qlaunch/{name}",
        version=version,
        machine_type=f"pc-{board}-{version[0]}.{version[1]}"
        if made.machine.type in ("q35", "pc")
        else made.machine.type,
        accel=accel or ("kvm" if wanted == "auto" else wanted),
        firmware=firmware if made.firmware.type == "uefi" else None,
        smbios={0: {"vendor": "Example Inc."}, 1: {"manufacturer": "Example, Inc.", "product": "Board"}},
        slot_functions={pci.host.slot: (0, 1, 2, 3) for pci in made.pci},
        iommufd=made.host.iommu_backend == "iommufd",
        online=CpuSet(range(16)),
    )

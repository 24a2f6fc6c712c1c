"""What libvirt has no word for, told key by key: the host while the machine runs, hooks, sidecars, deadlines.

Owns: the sentences. A key of a section here that is not at its default is told, so a new key is told without a change
to this file.
"""

from collections.abc import Iterator

import msgspec

from qlaunch.libvirt.export_sheet import Part, Sheet, left

_HOOK = "do it in a hook: /etc/libvirt/hooks/qemu.d/{name}/prepare/begin/ and …/release/end/"
# What to do instead, by key; all others belong into a hook.
_HINTS = {
    "host.user": "set user in /etc/libvirt/qemu.conf, for all domains at once",
    "host.inhibit_sleep": "start the domain below: systemd-inhibit --what=sleep",
    "shutdown": "virsh shutdown asks once, and virsh destroy does not wait",
    "sidecar": "make it a systemd unit that a hook starts",
    "machine.ephemeral": "start it with: virsh create FILE.xml, and snapshots for its disks",
}


def unsaid(sheet: Sheet) -> Iterator[Part]:
    """Yield a finding for every key that stays behind."""
    machine = sheet.machine
    for key in _set_keys(machine.host):
        value = _shown(getattr(machine.host, key))
        yield left(
            f"host.{key}",
            f"libvirt does not change the host: {key} = {value} stays behind",
            _hint(sheet, f"host.{key}"),
        )
    for index, sidecar in enumerate(machine.sidecar):
        message = f"libvirt starts no helper of yours: {sidecar.command[0]} stays behind"
        yield left(f"sidecar.{index}", message, _hint(sheet, "sidecar"))
    for index, hook in enumerate(machine.hook):
        message = f"a domain has no commands of its own: {' '.join(hook.start or hook.stop)} stays behind"
        yield left(f"hook.{index}", message, _hint(sheet, "hook"))
    if keys := _set_keys(machine.shutdown):
        yield left("shutdown", f"libvirt has no deadlines: {', '.join(keys)} stay behind", _hint(sheet, "shutdown"))
    if machine.machine.ephemeral:
        yield left("machine.ephemeral", "libvirt keeps what the guest writes", _hint(sheet, "machine.ephemeral"))
    if "/" not in machine.qemu.binary and machine.qemu.binary != "qemu-system-x86_64":
        message = f"libvirt wants the whole path of QEMU, and {machine.qemu.binary} has none; its own default is used"
        yield left("qemu.binary", message, f"write the path that this prints: command -v {machine.qemu.binary}")


def _set_keys(section: msgspec.Struct) -> list[str]:
    plain = type(section)()
    return [name for name in section.__struct_fields__ if getattr(section, name) != getattr(plain, name)]


def _shown(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _hint(sheet: Sheet, key: str) -> str:
    return _HINTS.get(key, _HOOK.format(name=sheet.site.name))

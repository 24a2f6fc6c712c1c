"""What a domain is called, and what happens when it ends.

Source: libvirt's ``docs/formatdomain.rst``, "General metadata", "Events configuration", "Power Management".
"""

from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_IDLE = {
    "metadata": "notes of other programs",
    "resource": "libvirt's own place among the host's processes",
    "seclabel": "labels of the host's security module, which libvirt gives out",
    "on_lockfailure": "is for libvirt's lock manager",
    "keywrap": "is for s390",
    "bootloader": "is for Xen",
    "bootloader_args": "is for Xen",
    "idmap": "is for containers",
    "perf": "counters of the host's that libvirt reads",
}


def identity(draft: Draft, places: Places) -> None:
    """Read names and the events of a domain."""
    del places
    root = draft.root
    name = root.words("name")
    draft.head = [shown(f"{name or 'A machine'}: imported from libvirt by qlaunch.")]
    draft.idle(root, "a number that libvirt gives a running domain", "id")
    _texts(draft)
    accel = {"kvm": "kvm", "qemu": "tcg"}[root.get("type") or "kvm"]
    draft.set(root, "machine", "accel", accel)
    _events(draft)
    for tag, reason in _IDLE.items():
        for node in root.each(tag):
            draft.idle(node, reason)
    security = root.one("launchSecurity")
    for node in root.each("throttlegroups"):
        draft.lost(node, "limits of a disk's speed have no key here")
    draft.lost(security, "encrypted guests (SEV, TDX) have no key here")


def _texts(draft: Draft) -> None:
    root = draft.root
    uuid = root.one("uuid")
    if uuid is not None:
        text = uuid.word().lower()
        plain = text.replace("-", "")
        if len(plain) == 32:
            text = "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))
        draft.set(uuid, "machine", "uuid", text)
    title = root.one("title")
    if title is not None and title.word():
        draft.set(title, "machine", "title", " ".join(title.word().split()))
    description = root.one("description")
    if description is not None:
        draft.head += [shown(line.strip()) for line in description.word().splitlines()[:20] if line.strip()]
    genid = root.one("genid")
    if genid is not None:
        draft.set(genid, "machine", "genid", genid.word() or "auto")


def _events(draft: Draft) -> None:
    root = draft.root
    _event(draft, root.one("on_poweroff"), "on_poweroff", {"destroy": "stop", "preserve": "pause"})
    _event(draft, root.one("on_reboot"), "on_reboot", {"restart": "reset", "destroy": "stop"})
    crash = {"destroy": "stop", "restart": "reset", "preserve": "pause"}
    _event(draft, root.one("on_crash"), "on_crash", crash)
    power = root.one("pm")
    states = {}
    for tag in ("suspend-to-mem", "suspend-to-disk"):
        node = power.one(tag) if power else None
        enabled = draft.flag(node, "enabled")
        states[tag] = True if enabled is None else enabled
    memory, disk = states.values()
    value: bool | str = memory if memory == disk else "to-ram" if memory else "to-disk"
    draft.set(power or root, "machine", "suspend", value)


def _event(draft: Draft, node: Node | None, key: str, words: dict[str, str]) -> None:
    if node is None:
        return
    text = node.word()
    if text in words:
        draft.set(node, "machine", key, words[text])
    elif text.startswith("coredump-") and (after := text.removeprefix("coredump-")) in words:
        draft.set(node, "machine", key, words[after])
        draft.differs(node, "no core dump is written; see: qlaunch console, dump-guest-memory", ("machine", key))
    else:
        draft.asks(node, f'"{shown(text)}" has no counterpart; the default holds', ("machine", key))

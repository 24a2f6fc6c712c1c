"""``-cpu`` in someone's XML. QEMU lets a second one replace the first whole, and so does this.

Source: QEMU's ``system/vl.c`` (the last -cpu counts), ``target/i386/cpu.c``, ``docs/system/i386/hyperv.rst``.
"""

import re

from qlaunch.devices.hyperv import FLAGS
from qlaunch.libvirt.import_draft import Draft, integer, shown
from qlaunch.libvirt.import_node import Node

_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_KEYS = {
    "migratable": "migratable",
    "host-cache-info": "host_cache_info",
    "kvm-hint-dedicated": "dedicated_hint",
}


def read_cpu(draft: Draft, node: Node, words: list[str]) -> bool:
    """Take the model and its properties in the place of what <cpu> said."""
    if not words or not _NAME.fullmatch(words[0]):
        draft.asks(node, "is no -cpu that can be read; left out", ("cpu",))
        return True
    old = draft.tables.get("cpu", {})
    kept = {key: old[key] for key in ("vcpus", "topology", "pin", "emulator", "scheduler") if key in old}
    draft.tables["cpu"] = {**kept, "model": words[0]}
    if words[0] in ("host", "max"):
        draft.set(node, "cpu", "migratable", value=True)  # QEMU's own default
    draft.differs(node, "stands for all that <cpu> and <features> say of the CPU, as it does in QEMU", ("cpu",))
    for word in words[1:]:
        _property(draft, node, word)
    return True


def _split(word: str) -> tuple[str, str]:
    """Give the name and the value of ``+name``, ``-name``, ``name`` or ``name=value``."""
    if word[0] in "+-":
        return word[1:].replace("_", "-"), "on" if word[0] == "+" else "off"
    name, equal, value = word.partition("=")
    return name.replace("_", "-"), value if equal else "on"


def _valued(draft: Draft, node: Node, name: str, value: str) -> bool:
    """Take a property that has a value of its own; give whether it was one."""
    number = integer(value)
    if name == "hv-vendor-id":
        draft.set(node, "cpu.hyperv", "vendor_id", value)
    elif name == "hv-spinlocks" and number is not None:
        draft.set(node, "cpu.hyperv", "spinlocks", max(number, 4095))
    elif name == "phys-bits" and number:
        draft.set(node, "cpu", "physical_bits", number)
    else:
        return name in ("check", "enforce")  # these only tell what the host lacks
    return True


def _property(draft: Draft, node: Node, word: str) -> None:
    name, value = _split(word)
    if _valued(draft, node, name, value):
        return
    on = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}.get(value)
    flag = name.removeprefix("hv-").replace("-", "_")
    if on is not None and name in _KEYS:
        draft.set(node, "cpu", _KEYS[name], on)
    elif on is not None and name == "kvm":
        draft.set(node, "cpu", "hide_kvm", not on)
    elif on is not None and name == "kvmclock":
        draft.set(node, "clock", "kvmclock", on)
    elif on and name == "hv-passthrough":
        draft.set(node, "cpu.hyperv", "preset", "passthrough")
    elif on and name == "host-phys-bits":
        draft.set(node, "cpu", "physical_bits", "host")
    elif on is not None and name.startswith("hv-") and flag in FLAGS:
        draft.set(node, "cpu.hyperv", flag, on)
    elif on is not None and _NAME.fullmatch(name):
        wanted = draft.tables["cpu"].setdefault("features", [])
        wanted[:] = [one for one in wanted if one[1:] != name] + [f"{'+' if on else '-'}{name}"]
    else:
        draft.asks(node, f'"{shown(word)}" of -cpu has no key here; left out', ("cpu", "features"))

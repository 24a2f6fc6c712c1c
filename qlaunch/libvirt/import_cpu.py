"""``cpu`` and ``vcpu``: model, features, topology.

Source: libvirt's ``docs/formatdomain.rst``, "CPU model and topology", "CPU Allocation"; ``src/qemu/qemu_command.c``,
``qemuBuildCpuCommandLine`` and ``qemuBuildSmpCommandLine``; ``src/qemu/qemu_domain.c`` (migratable is on by default).
"""

import re

from qlaunch.libvirt.import_draft import Draft, integer, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_POLICIES = {"force": "+", "require": "+", "optional": "+", "disable": "-", "forbid": "-"}
_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
# Features for which libvirt and the machine file have another way to say them.
_KEYS = {"kvm": "hide_kvm", "migratable": "migratable", "host-cache-info": "host_cache_info"}
_MOST = 4096


def cpu(draft: Draft, places: Places) -> None:
    """Read the CPU."""
    del places
    node = draft.root.one("cpu")
    vcpus = _vcpus(draft)
    if node is None:
        draft.set(draft.root, "cpu", "model", "qemu64")
        _shape(draft, draft.root, (vcpus, 1, 1, 1))
        return
    draft.idle(node, "is asked of libvirt's own comparison with the host", "match", "check", "deprecated_features")
    mode = _model(draft, node)
    _topology(draft, node, vcpus)
    _cache(draft, node, mode)
    for feature in node.each("feature"):
        _feature(draft, feature)
    address = node.one("maxphysaddr")
    if address is not None:
        bits, limit = draft.number(address, "bits", 32, 64), draft.number(address, "limit", 32, 64)
        if address.get("mode") == "passthrough":
            draft.set(address, "cpu", "physical_bits", "host")
            if limit:
                draft.asks(address, f"QEMU limits what is shown to {limit} bits; there is no key for it", (), "limit")
        else:
            draft.set(address, "cpu", "physical_bits", bits)
    draft.idle(node.one("vendor"), "is asked of libvirt's own comparison with the host")


def _vcpus(draft: Draft) -> int:
    """Read the number of vCPUs. Where they may run is for `import_tuning`."""
    for each in draft.root.each("vcpus"):
        draft.lost(each, "vCPUs are not hot-plugged: all are there from the start")
    node = draft.root.one("vcpu")
    if node is None:
        return 1
    count = integer(node.word())
    if count is None or not 1 <= count <= _MOST:
        draft.asks(node, f'"{shown(node.word())}" is not a number of vCPUs; 1 is written', ("cpu", "vcpus"))
        count = 1
    current = draft.number(node, "current", 1, _MOST)
    if current and current < count:
        message = f"all {count} vCPUs are there from the start; libvirt began with {current}"
        draft.differs(node, message, ("cpu", "vcpus"), "current")
    return count


def _model(draft: Draft, node: Node) -> str:
    mode = draft.choice(
        node, "mode", {"host-passthrough": "host", "host-model": "model", "maximum": "max", "custom": ""}
    )
    name = node.one("model")
    text = name.word() if name else ""
    if name is not None:
        draft.idle(name, "is asked of libvirt's own comparison with the host", "fallback")
        vendor = name.get("vendor_id")
        if vendor is not None:
            if re.fullmatch(r"[ -+\--~]{12}", vendor):
                message = "the CPU's vendor has no key here"
                draft.lost(name, message, "vendor_id")
            else:
                draft.asks(name, "is no vendor of a CPU: twelve characters", (), "vendor_id")
    migratable = draft.flag(node, "migratable")
    if mode == "model":
        message = "the host's CPU as it is; libvirt chose the nearest model that it knows"
        draft.differs(node, message, ("cpu", "model"), "mode")
        mode = "host"
        migratable = True if migratable is None else migratable
    if mode in ("host", "max"):
        emulated = draft.root.get("type") == "qemu"
        draft.set(node, "cpu", "model", "max" if emulated else mode)
        draft.set(node, "cpu", "migratable", None if emulated else migratable is not False)
        return mode
    if text and not _NAME.fullmatch(text):
        draft.asks(name or node, f'"{shown(text)}" is no name of a CPU; qemu64 is written', ("cpu", "model"))
        text = ""
    draft.set(name or node, "cpu", "model", text or "qemu64")
    return "custom"


def _topology(draft: Draft, node: Node, vcpus: int) -> None:
    shape = node.one("topology")
    if shape is None:
        _shape(draft, node, (vcpus, 1, 1, 1))
        return
    sockets, dies, clusters, cores, threads = (
        draft.number(shape, name, 1, _MOST) or 1 for name in ("sockets", "dies", "clusters", "cores", "threads")
    )
    if clusters > 1:
        draft.differs(shape, "QEMU's x86 boards know no clusters; their cores are counted together", (), "clusters")
        cores *= clusters
    if threads > 2:
        draft.differs(shape, "x86 has two threads a core at most; cores are written instead", (), "threads")
        cores, threads = cores * threads, 1
    if sockets * dies * cores * threads != vcpus:
        there = sockets * dies * cores * threads
        draft.asks(
            shape, f"has {there} vCPUs, and <vcpu> says {vcpus}; what <vcpu> says is written", ("cpu", "topology")
        )
        sockets, dies, cores, threads = vcpus, 1, 1, 1
    _shape(draft, shape, (sockets, dies, cores, threads))


def _shape(draft: Draft, node: Node, shape: tuple[int, int, int, int]) -> None:
    """Write the topology; a level of one is left out where that says the same."""
    names = ("sockets", "dies", "cores", "threads")
    levels = {
        name: count for name, count in zip(names, shape, strict=True) if count > 1 or name in ("cores", "threads")
    }
    draft.set(node, "cpu", "topology", levels)


def _cache(draft: Draft, node: Node, mode: str) -> None:
    cache = node.one("cache")
    if cache is None:
        return
    kind = draft.choice(cache, "mode", {"passthrough": "host", "emulate": "emulate", "disable": "none"})
    level = draft.number(cache, "level", 1, 3)
    if kind == "host" and mode in ("host", "max"):
        draft.set(cache, "cpu", "host_cache_info", value=True)
    elif kind == "none":
        draft.tables["cpu"].setdefault("features", []).append("-l3-cache")
    elif kind == "emulate" and level not in (None, 3):
        draft.asks(cache, "QEMU invents a cache of level 3 alone", (), "level")


def _feature(draft: Draft, node: Node) -> None:
    name, policy = node.get("name") or "", node.get("policy") or "require"
    sign = _POLICIES.get(policy)
    if sign is None or not _NAME.fullmatch(name):
        draft.asks(node, f'"{shown(policy)} {shown(name)}" is no feature of a CPU; left out', ("cpu", "features"))
        return
    key = _KEYS.get(name.replace("_", "-"))
    if key:
        draft.set(node, "cpu", key, (sign == "+") != (key == "hide_kvm"))
        return
    wanted = draft.tables["cpu"].setdefault("features", [])
    known = [word for word in wanted if word[1:] == name]
    for word in known:
        wanted.remove(word)
    wanted.append(sign + name)
    draft.keys[("cpu", "features", len(wanted) - 1)] = node

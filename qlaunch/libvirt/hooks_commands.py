"""What the commands of hook scripts mean, by their names: services, modules, virsh, governors, CPU sets, VFs.

Owns: the table of commands. A command that is not in it, or that has options which are not known here, means nothing
here: the line is kept as a hook.

Source: systemctl(1), modprobe(8), virsh(1), cpupower-frequency-set(1), cset-shield(1), ip-link(8), sysctl(8),
vfio-isolate's README.
"""

import re
from collections.abc import Callable

from qlaunch.libvirt.hooks_facts import Fact, always, needless
from qlaunch.libvirt.hooks_words import is_known
from qlaunch.libvirt.hooks_writes import written

Facts = tuple[Fact, ...] | None

_QUIET = frozenset(
    {"echo", "printf", "set", "true", ":", "exit", "return", "date", "cat", "logger", "shopt", "export", "local", "let"}
)
_TESTS = frozenset({"[", "[[", "test", "grep", "pgrep", "lsmod", "lspci", "command", "!", "false", "type", "which"})
_NODE_DEVICE = re.compile(r"pci_([0-9a-f]{4})_([0-9a-f]{2})_([0-9a-f]{2})_([0-7])", re.ASCII)
_VF_KEYS = {"vlan": int, "qos": int, "mac": str, "trust": str, "spoofchk": str, "state": str, "max_tx_rate": int}
_VF_NAMES = {"qos": "vlan_qos", "state": "link_state", "max_tx_rate": "max_tx_mbps"}


def command(words: list[str], *, starts: bool) -> Facts:
    """Say what a command does, at the start of a machine or at its end. None when that is not known."""
    while words and words[0] in ("sudo", "exec", "nohup", "command"):
        if words[0] == "command" and words[1:2] == ["-v"]:
            return needless()
        words = words[1:]
    if not words:
        return needless()
    name = words[0].rpartition("/")[2]
    if name == "sleep":
        return needless("qlaunch waits for conditions, not for time")
    if name in _QUIET:
        return needless()
    if name in _TESTS:
        return needless()
    meaning = _COMMANDS.get(name)
    return meaning(words[1:], starts) if meaning and all(is_known(word) for word in words) else None


def _systemctl(words: list[str], starts: bool) -> Facts:  # noqa: FBT001 - one signature for the table
    plain = [word for word in words if word not in ("-q", "--quiet", "--no-block", "--now", "--runtime", "--")]
    match plain:
        case ["is-active" | "is-enabled" | "status" | "daemon-reload", *_]:
            return needless()
        case ["set-property", unit, *settings] if unit.endswith((".slice", ".scope")):
            return always("host.shield", value=True) if all("AllowedCPUs=" in word for word in settings) else None
        case ["stop" | "start" as verb, *units] if units and not any(unit.startswith("-") for unit in units):
            return _services(units, verb, starts=starts)
        case _:
            return None


def _services(units: list[str], verb: str, *, starts: bool) -> Facts:
    full = [unit if "." in unit else f"{unit}.service" for unit in units]
    if any(unit.startswith("libvirt-nosleep@") for unit in full):
        return always("host.inhibit_sleep", value=True)
    if full == ["irqbalance.service"]:
        return always("host.irq", value=True)
    if (verb == "stop") != starts:
        return None
    return tuple(Fact("host.services.stop", unit, unit) for unit in full)


def _service(words: list[str], starts: bool) -> Facts:  # noqa: FBT001
    match words:
        case [name, "stop" | "start" as verb]:
            return _services([name], verb, starts=starts)
        case _:
            return None


def _modprobe(words: list[str], starts: bool) -> Facts:  # noqa: FBT001
    flags = [word for word in words if word.startswith("-")]
    names = [word.replace("-", "_") for word in words if not word.startswith("-")]
    if not set(flags) <= {"-r", "--remove", "-a", "-i", "-q", "-f", "-v"} or any("=" in name for name in names):
        return None
    removes = bool({"-r", "--remove"} & set(flags))
    return _modules(names, removes=removes, many=removes or "-a" in flags, starts=starts)


def _rmmod(words: list[str], starts: bool) -> Facts:  # noqa: FBT001
    names = [word.replace("-", "_") for word in words if not word.startswith("-")]
    return _modules(names, removes=True, many=True, starts=starts)


def _modules(names: list[str], *, removes: bool, many: bool, starts: bool) -> Facts:
    if not names or (len(names) > 1 and not many):
        return None
    key = "host.modules.unload" if removes == starts else "host.modules.load"
    own = [name for name in names if not name.startswith("vfio")]
    if not own:
        return needless("qlaunch loads what VFIO needs, and leaves it loaded")
    return tuple(Fact(key, name, name) for name in own)


def _virsh(words: list[str], _: bool) -> Facts:  # noqa: FBT001
    plain = [word for word in words if not word.startswith("-")]
    match plain:
        case ["nodedev-detach" | "nodedev-dettach" | "nodedev-reattach", node] if match := _NODE_DEVICE.fullmatch(node):
            slot = f"{match[1]}:{match[2]}:{match[3]}"
            return always("pci", f"{slot}.{match[4]}", f"{slot}.{match[4]}")
        case ["list" | "dominfo" | "domstate", *_]:
            return needless()
        case _:
            return None


def _cpupower(words: list[str], _: bool) -> Facts:  # noqa: FBT001
    for flag in ("-g", "--governor"):
        if flag in words[:-1]:
            return always("host.governor", words[words.index(flag) + 1])
    return None


def _sysctl(words: list[str], _: bool) -> Facts:  # noqa: FBT001
    pairs = [word for word in words if not word.startswith("-")]
    facts: list[Fact] = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        found = written(f"/proc/sys/{key.strip().replace('.', '/')}", value.strip()) if equals else None
        if found is None:
            return None
        facts += found
    return tuple(facts) or None


def _cset(words: list[str], _: bool) -> Facts:  # noqa: FBT001
    if words[:1] in (["shield"], ["set"], ["proc"]):
        return always("host.shield", value=True)
    return None


def _vfio_isolate(words: list[str], _: bool) -> Facts:  # noqa: FBT001
    facts: list[Fact] = []
    for position, word in enumerate(words):
        if word in ("cpuset-create", "cpuset-modify", "move-tasks", "drop-caches", "cpuset-delete", "restore"):
            facts += always("host.shield", value=True)
        elif word == "irq-affinity":
            facts += always("host.irq", value=True)
        elif word == "cpu-governor" and position + 1 < len(words):
            facts += always("host.governor", words[position + 1])
        elif word in ("compact-memory", "shield-cpus"):
            return None
    return tuple({fact.key: fact for fact in facts}.values()) or None


def _ip(words: list[str], _: bool) -> Facts:  # noqa: FBT001
    match words:
        case ["link", "set", *rest]:
            rest = rest[1:] if rest[:1] == ["dev"] else rest
        case _:
            return None
    if len(rest) < 5 or rest[1] != "vf" or not rest[2].isdigit() or len(rest) % 2 == 0:
        return None
    pf, number = rest[0], int(rest[2])
    settings: dict[str, object] = {"type": "vf", "pf": pf, "vf": number}
    for key, value in zip(rest[3::2], rest[4::2], strict=True):
        if key not in _VF_KEYS or (_VF_KEYS[key] is int and not value.isdigit()):
            return None
        switch = value == "on" if key in ("trust", "spoofchk") else None
        settings[_VF_NAMES.get(key, key)] = _VF_KEYS[key](value) if switch is None else switch
    return always("network", settings, f"{pf}/{number}")


def _inhibit(words: list[str], _: bool) -> Facts:  # noqa: FBT001
    return always("host.inhibit_sleep", value=True) if words else None


_COMMANDS: dict[str, Callable[[list[str], bool], Facts]] = {
    "systemctl": _systemctl,
    "service": _service,
    "modprobe": _modprobe,
    "rmmod": _rmmod,
    "virsh": _virsh,
    "cpupower": _cpupower,
    "sysctl": _sysctl,
    "cset": _cset,
    "vfio-isolate": _vfio_isolate,
    "ip": _ip,
    "systemd-inhibit": _inhibit,
}

"""Put the supervisor into a unit of its own, so that it does not end with the session in which it was started.

Without it, a display manager that is stopped for a guest takes the graphical session with it, and the qlaunch that
stopped it; and logind may end what a user left behind (KillUserProcesses). A scope does this for a process that runs
already: the caller keeps its environment, its descriptors and the pipe on which it is heard.

QEMU goes into a scope beside it, which is stopped later: systemd's SIGTERM is for all that a scope holds, and QEMU
would quit over it while the supervisor still asks the guest.

Source: ``org.freedesktop.systemd1(5)``, StartTransientUnit (a scope adopts the processes that it is given),
AttachProcessesToUnit; ``systemd.scope(5)``; ``systemd.unit(5)``, Before= (reversed when units are stopped);
``logind.conf(5)``.
"""

import os
from collections.abc import Sequence
from contextlib import suppress

from qlaunch.errors import HostError
from qlaunch.machine.sidecar import SidecarSpec
from qlaunch.run.voice import Say

# Where systemd runs this system (sd_booted(3)).
_BOOTED = "/run/systemd/system"
# Where it mounts the unified hierarchy, alone or beside the older one.
_GROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
# Longer than a guest may take to shut down by any sensible setting: systemd kills what is left after it.
_STOP_S = 1800

_Properties = list[tuple[str, tuple[str, object]]]


def move_to_own_unit(name: str, say: Say, *, timeout_s: float = _STOP_S) -> str | None:
    """Move this process into ``qlaunch:supervisor-NAME.scope``; give the unit's name, or None where it stays.

    Its stop is SIGTERM to this process, which is graceful, and ``timeout_s`` for it. The unit is the system's for root,
    and of the user's own manager for a user. A process that is a service already stays: it ends with nobody.
    """
    if not os.path.isdir(_BOOTED):
        return None
    from qlaunch.steps.systemd import own_unit  # noqa: PLC0415 - jeepney

    unit = _supervisor_unit(name)
    if _is_in(unit):
        return unit
    own = own_unit() or ""
    is_root = os.geteuid() == 0
    if own.endswith(".service") and not own.startswith("user@") and is_root:
        return None
    properties: _Properties = [
        ("Description", ("s", f"Supervisor of the virtual machine {name}")),
        ("TimeoutStopUSec", ("t", int(timeout_s * 1e6))),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]
    if is_root:
        properties.append(("Slice", ("s", "system.slice")))
    try:
        _enter(unit, [os.getpid()], properties)
    except HostError as error:
        say(f"stays in {own or 'its session'}, and may end with it: {error.message}")
        return None
    return unit


def move_qemu(name: str, pid: int, sidecars: Sequence[SidecarSpec], say: Say) -> None:
    """Move QEMU, and the helpers that it needs, out of the supervisor's scope, if the supervisor is in one."""
    if not os.path.isdir(_BOOTED) or not _is_in(_supervisor_unit(name)):
        return
    from qlaunch.steps.marked import find_marked  # noqa: PLC0415 - for few
    from qlaunch.steps.systemd import escaped  # noqa: PLC0415 - jeepney

    helpers = [helper for spec in sidecars if spec.before_qemu for helper in find_marked(spec.mark)]
    properties: _Properties = [
        ("Description", ("s", f"The virtual machine {name}")),
        ("Before", ("as", [_supervisor_unit(name)])),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]
    if os.geteuid() == 0:
        properties.append(("Slice", ("s", "-.slice")))  # no other that would stay behind, empty
    try:
        _enter(f"qlaunch-{escaped(name)}.scope", [pid, *helpers], properties)
    except HostError as error:
        say(f"QEMU stays in the supervisor's scope, and hears when that is stopped: {error.message}")


def end_empty_scope(name: str) -> None:
    """End QEMU's scope if nothing is in it: systemd keeps one for ever whose process died while it was moved there.

    One of a user's own manager stays: it is in nobody's way, and the machine's next QEMU goes into it.
    """
    if os.geteuid() != 0 or not any(map(_has_our_scopes, _GROUPS)):
        return
    from qlaunch.steps.shield import EMPTY  # noqa: PLC0415 - where there is systemd
    from qlaunch.steps.systemd import SystemBus, escaped  # noqa: PLC0415 - same

    unit = f"qlaunch-{escaped(name)}.scope"
    for groups in _GROUPS:
        with suppress(OSError, HostError), open(f"{groups}/{unit}/cgroup.events", encoding="ascii") as file:
            if EMPTY in file.read():
                SystemBus().end_scope(unit)


def _has_our_scopes(groups: str) -> bool:
    with suppress(OSError):
        return any(name.startswith("qlaunch-") and name.endswith(".scope") for name in os.listdir(groups))
    return False


def _supervisor_unit(name: str) -> str:
    from qlaunch.steps.systemd import escaped  # noqa: PLC0415 - jeepney

    # No machine's QEMU is in it, however that machine is called: its name has no colon, and its scope is qlaunch-NAME.
    return f"qlaunch:supervisor-{escaped(name)}.scope"


def _is_in(unit: str) -> bool:
    """Whether this process is in a unit, whosever manager it belongs to."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            return f"/{unit}\n" in file.read()
    except OSError:
        return False


def _enter(unit: str, pids: list[int], properties: _Properties) -> None:
    """Make a scope of processes, or move them into it: a dead supervisor's still holds its helpers."""
    from qlaunch.steps.systemd import attach, start_transient  # noqa: PLC0415 - jeepney

    user = None if os.geteuid() == 0 else _own_name()
    try:
        start_transient(unit, [*properties, ("PIDs", ("au", pids))], user=user)
    except HostError as error:
        try:
            attach(unit, pids, user=user)
        except HostError:
            raise error from None


def _own_name() -> str:
    import pwd  # noqa: PLC0415 - for users alone

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise HostError(f"the user {os.geteuid()} has no name") from error

"""systemd by D-Bus, without its programs: units stopped and started, the CPUs of slices, a scope for a process.

Owns: method calls and what they answer. Must not: decide anything.

Source: ``org.freedesktop.systemd1(5)`` (StartTransientUnit; JobRemoved and its results; ResetFailedUnit also forgets
how often a unit was started); ``systemd.resource-control(5)`` (AllowedCPUs: a bit for each CPU, the lowest first; none
is no limit); ``org.freedesktop.login1(5)``; ``systemd.unit(5)`` (names; what is stopped before what);
systemd's ``src/libsystemd/sd-bus/bus-label.c`` (bus_label_escape) and ``src/core/dbus-unit.c`` (paths of objects).
"""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

from qlaunch.errors import HostError
from qlaunch.steps.bus import Bus, NoBusError, system_bus, user_bus
from qlaunch.values.cpus import CpuSet

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{_NAME}.Manager"
_LOGIND = "org.freedesktop.login1"
_LOGIND_PATH = "/org/freedesktop/login1"
# systemd gives a unit 90 s to stop before it kills it (DefaultTimeoutStopSec).
_JOB_S = 120.0
_CONTROL = "/run/systemd/system.control"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-")


class Systemd(Protocol):
    """What steps do with systemd. A unit of a user's own is ``USER/UNIT``. Each raises HostError."""

    def state(self, unit: str) -> str:
        """Give a unit's ActiveState, such as ``active``, ``inactive`` or ``failed``.

        ``missing`` is one that does not exist, ``absent`` one of a user who is not logged in.
        """

    def start(self, unit: str) -> None:
        """Start a unit, and wait until it is started; a limit of starts that it has reached is forgotten first."""

    def stop(self, unit: str) -> None:
        """Stop a unit, and wait until it has stopped."""

    def cpus(self, unit: str) -> CpuSet:
        """Give a unit's AllowedCPUs; empty is no limit."""

    def set_cpus(self, unit: str, cpus: CpuSet) -> None:
        """Set a unit's AllowedCPUs until the next boot; empty takes the limit away."""

    def make_scope(self, name: str, pid: int, cpus: CpuSet) -> None:
        """Put a process into a scope of its own, with CPUs of its own, that is stopped after this process' unit.

        A scope of that name that is still there takes the process as well.
        """

    def end_scope(self, name: str) -> None:
        """Stop a scope, and wait until it is gone; nothing where there is none. Nothing else's stop is waited for."""

    def names(self, unit: str) -> list[str]:
        """Give all names of a unit, of which ``display-manager.service`` may be one."""

    def graphical_sessions(self) -> list[str]:
        """Describe the graphical sessions on a seat that have not ended: ``session 3 of alice (wayland, seat0)``."""


class SystemBus:
    """The systemd of this computer."""

    def state(self, unit: str) -> str:
        """See Systemd."""
        try:
            with _bus_of(unit) as bus:
                # One that runs on without its file, as after an upgrade, could be stopped but not be started again.
                if bus.get(_NAME, _object(unit), f"{_NAME}.Unit", "LoadState") == "not-found":
                    return "missing"
                return str(bus.get(_NAME, _object(unit), f"{_NAME}.Unit", "ActiveState"))
        except NoBusError:
            if "/" in unit:
                return "absent"
            raise

    def start(self, unit: str) -> None:
        """See Systemd."""
        with _bus_of(unit) as bus:
            # Of one that is not loaded there is nothing to forget.
            bus.tell(_NAME, _PATH, f"{_MANAGER}.ResetFailedUnit", "s", (_local(unit),))
            _job(bus, unit, "StartUnit", "ss", (_local(unit), "replace"))

    def stop(self, unit: str) -> None:
        """See Systemd."""
        with _bus_of(unit) as bus:
            _job(bus, unit, "StopUnit", "ss", (_local(unit), "replace"))

    def cpus(self, unit: str) -> CpuSet:
        """See Systemd."""
        kind = unit.rpartition(".")[2].capitalize()
        with system_bus() as bus:
            return _from_bits(bus.get(_NAME, _object(unit), f"{_NAME}.{kind}", "AllowedCPUs"))

    def set_cpus(self, unit: str, cpus: CpuSet) -> None:
        """See Systemd."""
        properties = [("AllowedCPUs", ("ay", _to_bits(cpus)))]
        with system_bus() as bus:
            bus.call(_NAME, _PATH, f"{_MANAGER}.SetUnitProperties", "sba(sv)", (unit, True, properties))
        if not cpus:
            _forget_limit(unit)

    def make_scope(self, name: str, pid: int, cpus: CpuSet) -> None:
        """See Systemd."""
        properties: list[tuple[str, tuple[str, object]]] = [
            ("Description", ("s", "A virtual machine of qlaunch")),
            ("PIDs", ("au", [pid])),
            # The root's own: machine.slice would stay behind, empty, if qlaunch were the first to use it.
            ("Slice", ("s", "-.slice")),
            ("CollectMode", ("s", "inactive-or-failed")),
            # A group of ours for the vCPUs may be below it, and is left alone then.
            ("DelegateControllers", ("as", ["cpuset"])),
        ]
        own = own_unit()
        if own:
            # What is started first is stopped last: when the host goes down, the supervisor ends the guest first.
            properties.append(("Before", ("as", [own])))
        if cpus:
            properties.append(("AllowedCPUs", ("ay", _to_bits(cpus))))
        try:
            start_transient(name, properties)
        except HostError:
            try:
                attach(name, [pid])
            except HostError:  # it was another reason, or the one of the last run has gone meanwhile
                start_transient(name, properties)
            else:
                self.set_cpus(name, cpus)

    def end_scope(self, name: str) -> None:
        """See Systemd."""
        with system_bus() as bus:

            def is_there() -> bool:
                return bool(bus.get(_NAME, _object(name), f"{_NAME}.Unit", "LoadState") != "not-found")

            if not is_there():
                return
            try:
                # It stops before this process' unit by rights: one that waits for this process would wait for ever.
                _job(bus, name, "StopUnit", "ss", (name, "ignore-dependencies"))
            except HostError:  # it has gone meanwhile, by itself
                if is_there():
                    raise

    def names(self, unit: str) -> list[str]:
        """See Systemd."""
        with _bus_of(unit) as bus:
            return list(bus.get(_NAME, _object(unit), f"{_NAME}.Unit", "Names"))

    def graphical_sessions(self) -> list[str]:
        """See Systemd."""
        with system_bus() as bus:
            try:
                sessions = bus.call(_LOGIND, _LOGIND_PATH, f"{_LOGIND}.Manager.ListSessions")[0]
            except HostError:  # a host without logind has no sessions that it knows of
                return []
            return [text for session in sessions if (text := _graphical(bus, session))]


def start_transient(name: str, properties: list[tuple[str, tuple[str, object]]], *, user: str | None = None) -> None:
    """Make a unit that is in no file, and wait until it has started. Raises HostError."""
    with _bus_of(f"{user}/{name}" if user else name) as bus:
        # One that failed before is in the way.
        bus.tell(_NAME, _PATH, f"{_MANAGER}.ResetFailedUnit", "s", (name,))
        _job(bus, name, "StartTransientUnit", "ssa(sv)a(sa(sv))", (name, "fail", properties, []))


def attach(name: str, pids: list[int], *, user: str | None = None) -> None:
    """Move processes into a unit that runs. Raises HostError."""
    with _bus_of(f"{user}/{name}" if user else name) as bus:
        bus.call(_NAME, _PATH, f"{_MANAGER}.AttachProcessesToUnit", "ssau", (name, "", pids))


def own_unit() -> str | None:
    """Give the unit of the system's manager that this process is in, such as ``session-3.scope``; None without one."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in lines:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names in ("", "name=systemd"):
            for part in path.split("/"):
                if part.endswith((".service", ".scope")):
                    return part
    return None


def escaped(text: str) -> str:
    r"""Write a text as a part of a unit's name: what may not stand there as ``\xHH``, as systemd-escape(1) does."""
    return "".join(
        letter if letter in _PLAIN else "".join(f"\\x{byte:02x}" for byte in letter.encode()) for letter in text
    )


@contextmanager
def _bus_of(unit: str) -> Iterator[Bus]:
    user, slash, _ = unit.partition("/")
    found: AbstractContextManager[Bus] = user_bus(user) if slash else system_bus()
    with found as bus:
        yield bus


def _local(unit: str) -> str:
    return unit.partition("/")[2] or unit


def _object(unit: str) -> str:
    """Give the path of a unit's object. It is there for every name: systemd loads a unit when it is asked for it."""
    data = _local(unit).encode()
    letters = [
        chr(byte) if _is_plain(byte) and (at or not chr(byte).isdigit()) else f"_{byte:02x}"
        for at, byte in enumerate(data)
    ]
    return f"{_PATH}/unit/{''.join(letters)}"


def _is_plain(byte: int) -> bool:
    return chr(byte).isascii() and chr(byte).isalnum()


def _job(bus: Bus, unit: str, method: str, signature: str, arguments: tuple[object, ...]) -> None:
    """Begin a job and wait for the signal that it is over: it may come before the answer that names the job."""
    bus.tell(_NAME, _PATH, f"{_MANAGER}.Subscribe")  # which it refuses to hear twice
    with bus.signals(_PATH, f"{_MANAGER}.JobRemoved") as ended:
        job = bus.call(_NAME, _PATH, f"{_MANAGER}.{method}", signature, arguments)[0]
        end = time.monotonic() + _JOB_S
        while (said := ended.next(max(0.0, end - time.monotonic()))) and said[1] != job:
            continue
    verb = "stop" if method == "StopUnit" else "start"
    place = unit if "/" not in unit else f"--user {_local(unit)}"
    if not said:
        raise HostError(f"{unit} has not come to a {verb} in {_JOB_S:.0f} s", f"see: systemctl status {place}")
    if said[3] not in ("done", "skipped"):
        message = f"{unit} did not {verb}: its job ended as {said[3]!r}"
        raise HostError(message, f"see: systemctl status {place}")


def _graphical(bus: Bus, session: tuple[str, int, str, str, str]) -> str | None:
    number, _, user, seat, path = session
    if not seat:
        return None
    interface = f"{_LOGIND}.Session"
    try:
        kind, state = (bus.get(_LOGIND, path, interface, name) for name in ("Type", "State"))
    except HostError:  # it has just ended
        return None
    if kind not in ("x11", "wayland", "mir") or state == "closing":
        return None
    return f"session {number} of {user} ({kind}, {seat})"


def _forget_limit(unit: str) -> None:
    """Remove the file in which systemd keeps a limit that is none: as long as it is there, something was set."""
    folder = f"{_CONTROL}/{unit}.d"
    with suppress(OSError):
        os.unlink(f"{folder}/50-AllowedCPUs.conf")
        os.rmdir(folder)
        os.rmdir(_CONTROL)


def _to_bits(cpus: CpuSet) -> bytes:
    bits = sum(1 << cpu for cpu in cpus)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _from_bits(data: bytes | list[int]) -> CpuSet:
    bits = int.from_bytes(bytes(data), "little")
    return CpuSet(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)

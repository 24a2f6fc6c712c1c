"""A private D-Bus with a systemd and a logind on it that do as a test says.

They are held against the real ones in ``tests/lab``. Units have a state; a job answers at once, after its JobRemoved
signal, which the real ones may do as well, and signals of other units' jobs.
"""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageFlag,
    MessageType,
    message_bus,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.io.blocking import open_dbus_connection

SYSTEMD, LOGIND = "org.freedesktop.systemd1", "org.freedesktop.login1"
MANAGER = DBusAddress("/org/freedesktop/systemd1", interface=f"{SYSTEMD}.Manager")
UNITS = "/org/freedesktop/systemd1/unit/"
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/>
</policy></busconfig>"""


class FakeSystemdBus:
    """What it knows may be changed while it runs; what was called is in ``calls``."""

    def __init__(self, address: str, daemon: "subprocess.Popen[bytes]") -> None:
        self.address = address
        self.daemon = daemon
        self.units: dict[str, str] = {}
        self.without_file: set[str] = set()  # of the units: those whose file has gone
        self.names: dict[str, list[str]] = {}
        self.cpus: dict[str, bytes] = {}
        self.scopes: dict[str, dict[str, Any]] = {}
        self.results: dict[str, str] = {}  # of jobs, by unit; "never" for one that does not end
        self.refusals: dict[str, tuple[str, str]] = {}  # error name and text, by method
        self.sessions: list[tuple[str, int, str, str, str]] = []
        self.session: dict[str, dict[str, str]] = {}
        self.noise = 0  # jobs of other units that end beside each of ours
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.inhibitors: list[tuple[str, str]] = []
        self._connection = open_dbus_connection(address, enable_fds=True)
        for name in (SYSTEMD, LOGIND):
            self._connection.send_and_get_reply(message_bus.RequestName(name))
        self._lock = threading.Lock()
        self._job = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def emit(self, interface: str, path: str, member: str, signature: str, body: tuple[Any, ...]) -> None:
        signal = new_signal(DBusAddress(path, interface=interface), member, signature, body)
        with self._lock:
            self._connection.send(signal)

    def close(self) -> None:
        self._connection.sock.shutdown(2)
        self.thread.join(10)
        self._connection.close()

    def _serve(self) -> None:
        while True:
            try:
                message = self._connection.receive()
            except (OSError, ValueError):
                return
            if message.header.message_type == MessageType.method_call:
                self._answer(message)

    def _answer(self, message: Message) -> None:
        member = str(message.header.fields[HeaderFields.member])
        self.calls.append((member, message.body))
        if member in self.refusals:
            name, text = self.refusals[member]
            reply = new_error(message, name, "s", (text,))
        else:
            signature, body = getattr(self, f"_{member}")(message)
            reply = new_method_return(message, signature, body)
        if not message.header.flags & MessageFlag.no_reply_expected:
            with self._lock:
                self._connection.send(reply)

    def _job_of(self, unit: str, state: str) -> tuple[str, tuple[str]]:
        self._job += 1
        path, result = f"/org/freedesktop/systemd1/job/{self._job}", self.results.get(unit, "done")
        if result == "done":
            self.units[unit] = state

        def tell(job: str, name: str, outcome: str) -> None:
            self.emit(f"{SYSTEMD}.Manager", MANAGER.object_path, "JobRemoved", "uoss", (1, job, name, outcome))

        if result != "never":
            # The real one may send it before the answer, too.
            tell(path, unit, result)
        for number in range(self.noise):
            tell(f"/org/freedesktop/systemd1/job/9{number}", f"other{number}.service", "done")
        return "o", (path,)

    def _Subscribe(self, _m: Message) -> tuple[None, tuple[()]]:  # noqa: N802
        return None, ()

    def _ResetFailedUnit(self, message: Message) -> tuple[None, tuple[()]]:  # noqa: N802
        if self.units.get(message.body[0]) == "failed":
            self.units[message.body[0]] = "inactive"
        return None, ()

    def _StartUnit(self, message: Message) -> tuple[str, tuple[str]]:  # noqa: N802
        return self._job_of(message.body[0], "active")

    def _StopUnit(self, message: Message) -> tuple[str, tuple[str]]:  # noqa: N802
        return self._job_of(message.body[0], "inactive")

    def _StartTransientUnit(self, message: Message) -> tuple[str, tuple[str]]:  # noqa: N802
        name, _, properties, _ = message.body
        self.scopes[name] = {key: value[1] for key, value in properties}
        return self._job_of(name, "active")

    def _AttachProcessesToUnit(self, _m: Message) -> tuple[None, tuple[()]]:  # noqa: N802
        return None, ()

    def _SetUnitProperties(self, message: Message) -> tuple[None, tuple[()]]:  # noqa: N802
        unit, runtime, properties = message.body
        assert runtime
        self.cpus[unit] = bytes(dict(properties)["AllowedCPUs"][1])
        return None, ()

    def _ListSessions(self, _m: Message) -> tuple[str, tuple[Any]]:  # noqa: N802
        return "a(susso)", (self.sessions,)

    def _Inhibit(self, message: Message) -> tuple[str, tuple[Any]]:  # noqa: N802
        what, _who, _why, mode = message.body
        reading, writing = os.pipe()
        self.inhibitors.append((what, mode))

        def wait() -> None:
            os.read(reading, 1)
            os.close(reading)
            self.inhibitors.remove((what, mode))

        threading.Thread(target=wait, daemon=True).start()
        return "h", (Closing(writing),)

    def _Get(self, message: Message) -> tuple[str, tuple[Any]]:  # noqa: N802
        path = str(message.header.fields[HeaderFields.path])
        _, name = message.body
        if path.startswith(UNITS):
            unit = re.sub("_([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), path.removeprefix(UNITS))
            match name:
                case "LoadState":
                    return "v", (("s", "loaded" if unit in self.units.keys() - self.without_file else "not-found"),)
                case "ActiveState":
                    return "v", (("s", self.units.get(unit, "inactive")),)
                case "Names":
                    return "v", (("as", [unit, *self.names.get(unit, [])]),)
                case "AllowedCPUs":
                    return "v", (("ay", self.cpus.get(unit, b"")),)
                case _:
                    raise KeyError(name)
        if name == "InhibitDelayMaxUSec":
            return "v", (("t", 5_000_000),)
        return "v", (("s", self.session[path][name]),)


class Closing:
    """A descriptor that is closed here once it was sent."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)


@contextmanager
def systemd_bus(folder: Path) -> Iterator[FakeSystemdBus]:
    """Run a bus in a folder, with the fakes on it."""
    address = f"unix:path={folder}/bus"
    (folder / "bus.conf").write_text(CONFIG.format(path=folder / "bus"))
    argv = ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--print-address"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline()  # it listens now
            fake = FakeSystemdBus(address, daemon)
            fake.thread.start()
            try:
                yield fake
            finally:
                fake.close()
        finally:
            daemon.terminate()

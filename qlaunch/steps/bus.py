"""Calls over D-Bus, blocking: to the system's bus, and to that of a user.

Owns: connections, calls, and turning what goes wrong into a sentence. Must not: know what is called.

Source: the D-Bus specification, "Authentication Protocol" (EXTERNAL: the bus believes the kernel who connected);
``sd-bus-errors(3)``; ``user@.service(5)`` (where a user's bus is).
"""

import os
import select
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from qlaunch.errors import HostError
from qlaunch.steps.waits import SYSTEMD, waiting

if TYPE_CHECKING:
    from jeepney import Message
    from jeepney.io.blocking import DBusConnection

CALL_S = 30.0
_LATE_S = 5.0  # a child that connects has its own deadline, and tells of it
_DENIED = frozenset(
    {
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.DBus.Error.AuthFailed",
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
        "org.freedesktop.PolicyKit1.Error.NotAuthorized",
    }
)


class NoBusError(HostError):
    """The bus is not there, or does not let us in."""


class Bus:
    """An open connection to one bus."""

    def __init__(self, connection: "DBusConnection", whose: str) -> None:
        self._connection = connection
        self.whose = whose
        """As people say it: ``the system`` or ``the user alice``."""

    @property
    def is_open(self) -> bool:
        """Whether the other side has not hung up."""
        waiter = select.poll()
        waiter.register(self._connection.sock, select.POLLRDHUP)
        return not waiter.poll(0)

    def call(
        self, name: str, path: str, method: str, signature: str = "", arguments: tuple[object, ...] = ()
    ) -> tuple[Any, ...]:
        """Call ``INTERFACE.METHOD`` of a name's object. Raises HostError with what the other side said."""
        message = _method_call(name, path, method, signature, arguments)
        return self._answer(message, name, method.rpartition(".")[2])

    def tell(self, name: str, path: str, method: str, signature: str = "", arguments: tuple[object, ...] = ()) -> None:
        """Call something whose answer does not matter; what is called next comes after it. Raises NoBusError."""
        self._send(_method_call(name, path, method, signature, arguments), method)

    def get(self, name: str, path: str, interface: str, member: str) -> Any:  # noqa: ANN401 - a D-Bus variant
        """Read a property."""
        return self.call(name, path, "org.freedesktop.DBus.Properties.Get", "ss", (interface, member))[0][1]

    @contextmanager
    def signals(self, path: str, method: str) -> "Iterator[Signals]":
        """Listen to ``INTERFACE.SIGNAL`` of an object; none that comes after the next call is lost."""
        from jeepney import MatchRule, message_bus  # noqa: PLC0415 - see above

        interface, _, member = method.rpartition(".")
        rule = MatchRule(type="signal", interface=interface, member=member, path=path)
        # With a queue of our own: jeepney's keeps the last one only, which on a busy host is another unit's.
        with self._connection.filter(rule, queue=deque()) as received:
            self._send(message_bus.AddMatch(rule), "AddMatch")
            try:
                yield Signals(self._connection, received)
            finally:
                with suppress(NoBusError):
                    self._send(message_bus.RemoveMatch(rule), "RemoveMatch")

    def _send(self, message: "Message", member: str) -> None:
        from jeepney import MessageFlag  # noqa: PLC0415 - see above

        message.header.flags |= MessageFlag.no_reply_expected
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._gone(member, error) from error

    def _gone(self, member: str, error: OSError) -> NoBusError:
        return NoBusError(f"D-Bus of {self.whose} went away during {member}: {error.strerror or error}")

    def _answer(self, message: "Message", name: str, member: str) -> tuple[Any, ...]:
        from jeepney import HeaderFields, MessageType  # noqa: PLC0415 - see above

        try:
            with waiting(SYSTEMD):
                reply = self._connection.send_and_get_reply(message, timeout=CALL_S)
        except TimeoutError as error:
            raise HostError(f"{name} did not answer {member} within {CALL_S:.0f} s") from error
        except OSError as error:
            raise self._gone(member, error) from error
        body: tuple[Any, ...] = reply.body
        if reply.header.message_type != MessageType.error:
            return body
        code = str(reply.header.fields.get(HeaderFields.error_name, ""))
        said = str(body[0]).rstrip(".") if body else code
        if code in _DENIED:
            raise HostError(f"{name} does not allow {member}: {said}", "run it as root, or allow it by polkit")
        raise HostError(f"{name} refused {member}: {said}")


class Signals:
    """Signals as they come."""

    def __init__(self, connection: "DBusConnection", received: "deque[Message]") -> None:
        self._connection = connection
        self._received = received

    def next(self, timeout_s: float) -> tuple[Any, ...] | None:
        """Give what the next one says; None when none has come in time. Raises NoBusError."""
        try:
            with waiting(SYSTEMD):
                body: tuple[Any, ...] = self._connection.recv_until_filtered(self._received, timeout=timeout_s).body
        except TimeoutError:
            return None
        except OSError as error:
            raise NoBusError(f"D-Bus went away: {error.strerror or error}") from error
        return body


class _Thread(threading.local):
    """The connections that a thread keeps, by whose they are; None for one that keeps none."""

    kept: dict[str, Bus] | None = None
    until_then: ExitStack


_thread = _Thread()
_links: set[socket.socket] = set()  # of all threads


def _let_go() -> None:
    """Close them in a child: one that hangs in the kernel would keep them open at the bus."""
    for link in _links:
        link.close()
    _links.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def kept_open() -> Iterator[None]:
    """Let this thread use each connection again until the end, rather than connect for each call."""
    if _thread.kept is not None:
        yield
        return
    with ExitStack() as _thread.until_then:
        _thread.kept = {}
        try:
            yield
        finally:
            _thread.kept = None


def _method_call(name: str, path: str, method: str, signature: str, arguments: tuple[object, ...]) -> "Message":
    from jeepney import DBusAddress, new_method_call  # noqa: PLC0415 - most machines need no D-Bus

    interface, _, member = method.rpartition(".")
    return new_method_call(DBusAddress(path, bus_name=name, interface=interface), member, signature or None, arguments)


@contextmanager
def system_bus() -> Iterator[Bus]:
    """Connect to the system's bus. Raises NoBusError."""
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"
    with _kept_or_new("the system", lambda: _open(address, "the system")) as bus:
        yield bus


@contextmanager
def user_bus(user: str) -> Iterator[Bus]:
    """Connect to the bus of a user who is logged in. Raises NoBusError, and HostError for one who does not exist."""
    from qlaunch.steps.command import find_account  # noqa: PLC0415 - see above

    whose = f"the user {user}"
    account = find_account(user)
    assert account is not None  # noqa: S101 - a user was named
    uid, gid = account.pw_uid, account.pw_gid
    address = f"unix:path=/run/user/{uid}/bus"

    def link() -> socket.socket:
        if uid == os.geteuid():
            return _open(os.environ.get("DBUS_SESSION_BUS_ADDRESS") or address, whose)
        return _open_as(uid, gid, address, whose)

    with _kept_or_new(whose, link) as bus:
        yield bus


@contextmanager
def _kept_or_new(whose: str, link: Callable[[], socket.socket]) -> Iterator[Bus]:
    if _thread.kept is None:
        with _connected(link(), whose) as bus:
            yield bus
        return
    found = _thread.kept.get(whose)
    if found is None or not found.is_open:  # the bus was started anew since
        found = _thread.kept[whose] = _thread.until_then.enter_context(_connected(link(), whose))
    yield found


@contextmanager
def _connected(link: socket.socket, whose: str) -> Iterator[Bus]:
    from jeepney.io.blocking import DBusConnection  # noqa: PLC0415 - see above

    # Its first call, Hello, has no deadline of its own.
    patience = threading.Timer(CALL_S, link.shutdown, (socket.SHUT_RDWR,))
    patience.start()
    try:
        connection = DBusConnection(link)
    except (OSError, RuntimeError) as error:
        link.close()
        raise _no_bus(whose, error) from error
    finally:
        patience.cancel()
    _links.add(link)
    try:
        yield Bus(connection, whose)
    finally:
        _links.discard(link)
        connection.close()


def _open(address: str, whose: str) -> socket.socket:
    from jeepney.bus import get_bus  # noqa: PLC0415 - see above
    from jeepney.io.blocking import prep_socket  # noqa: PLC0415 - same

    try:
        link: socket.socket = prep_socket(get_bus(address), timeout=CALL_S)
    except (OSError, RuntimeError, ValueError) as error:
        raise _no_bus(whose, error) from error
    return link


def _open_as(uid: int, gid: int, address: str, whose: str) -> socket.socket:
    """Let a child connect as another user and hand the connection over: a user's bus does not let root in."""
    # Imported here and not in the child: another thread may hold the lock of an import while this one forks.
    import jeepney.bus  # noqa: PLC0415 - see above
    import jeepney.io.blocking  # noqa: F401, PLC0415 - same

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.settimeout(CALL_S + _LATE_S)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            link = _open(address, whose)
            socket.send_fds(theirs, [b"."], [link.fileno()])
        except BaseException as error:  # noqa: BLE001 - told to the parent, and nothing goes on here
            with suppress(OSError):
                theirs.send(str(error).encode()[:4000] or b"?")
        finally:
            os._exit(0)
    theirs.close()
    try:
        with ours:
            said, descriptors, _, _ = socket.recv_fds(ours, 4096, 1)
    except TimeoutError as error:
        os.kill(child, signal.SIGKILL)
        raise _no_bus(whose, error) from error
    finally:
        os.waitpid(child, 0)
    if not descriptors:
        raise NoBusError(said.decode(errors="replace") or f"cannot reach D-Bus of {whose}", _HINT)
    return socket.socket(fileno=descriptors[0])


_HINT = "is dbus running, and for a user: is that user logged in?"


def _no_bus(whose: str, error: Exception) -> NoBusError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return NoBusError(f"D-Bus of {whose} does not answer: {reason or type(error).__name__}", _HINT)

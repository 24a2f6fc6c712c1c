"""Start a helper and wait until it is ready; find one that runs. Blocking, without trio: QEMU may wait for it.

Whatever is started here carries its mark, and a step of the kind ``process`` is on disk before: so the way back, also
that of a failed start, is the step's undo, and nothing is ended here.
"""

import os
import select
import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from qlaunch.errors import HostError
from qlaunch.machine.sidecar import SidecarSpec
from qlaunch.run.process import ProcessId, identify
from qlaunch.run.voice import Say
from qlaunch.steps.command import find_account, spawn
from qlaunch.steps.marked import find_marked

READY_S = 15.0
# The helper's end wakes us; its socket makes no sound, so it is looked for this often.
_LOOK_AGAIN_MS = 5
# A socket whose file is there and that the kernel's list does not have after this long is not one that it will have.
_UNLISTED_S = 0.1
# SO_ACCEPTCON of the kernel's net.h, as its list shows it; SOCK_DGRAM, which has nobody who listens.
_ACCEPTS, _DATAGRAM = 0x10000, 2
_CONNECTED = 3  # SS_CONNECTED: what was accepted has the path of who accepted it
# The last line of swtpm whenever QEMU has gone, for whatever reason.
_FAREWELL = "Data client disconnected"


class Listed(NamedTuple):
    """A socket that the kernel lists under a path."""

    inode: str
    lets_in: bool


class Helper(msgspec.Struct, frozen=True, kw_only=True):
    """A helper that runs. ``pidfd`` is readable when it has ended; whoever has the helper closes it."""

    spec: SidecarSpec
    process: ProcessId
    pidfd: int


def start_before_qemu(specs: Sequence[SidecarSpec], say: Say) -> None:
    """Start the helpers that QEMU connects to, in order, each ready before the next. Raises HostError."""
    for spec in specs:
        if spec.before_qemu:
            with suppress(FileNotFoundError):  # of the last run: its last words would be taken for those of this one
                os.unlink(spec.log)
            os.close(start_sidecar(spec).pidfd)
            say(f"{spec.name} is ready")


def start_sidecar(spec: SidecarSpec, ready_s: float = READY_S) -> Helper:
    """Start one and wait until it is ready. Raises HostError with its last words when it does not become so."""
    if spec.socket:
        with suppress(FileNotFoundError):  # of a run that was killed: it would look ready at once
            os.unlink(spec.socket)
    if spec.folder:
        _make_folder(spec, spec.folder)
    older = {one.inode for one in _listed(spec.socket)} if spec.socket else set()
    log = os.open(spec.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if spec.socket and spec.listens_for_it:
            with _listen(spec) as listener:
                argv = [word.replace("{fd}", str(listener.fileno())) for word in spec.argv]
                pid = _spawn(spec, argv, log, (listener.fileno(),))
        else:
            pid = _spawn(spec, spec.argv, log, ())
    finally:
        os.close(log)
    helper = _helper(spec, pid)
    if spec.socket and not spec.listens_for_it:
        try:
            _await_socket(helper, spec.socket, older, ready_s)
        except HostError:
            os.close(helper.pidfd)
            raise
    return helper


def find_sidecar(spec: SidecarSpec) -> Helper | None:
    """Find one that runs, of this supervisor or of one before; None where there is none."""
    marked = find_marked(spec.mark)
    # Its own children carry the mark as well; it is the first of its session.
    for pid in sorted(marked, key=lambda pid: (not _leads(pid), pid)):
        with suppress(ProcessLookupError):
            return Helper(spec=spec, process=identify(pid), pidfd=os.pidfd_open(pid))
    return None


def last_words(spec: SidecarSpec) -> str:
    """Give the last line of what it printed that tells anything, or nothing."""
    return next((line for line in reversed(last_lines(spec)) if not line.endswith(_FAREWELL)), "")


def last_lines(spec: SidecarSpec, count: int = 10) -> list[str]:
    """Give the last lines of what it printed."""
    with suppress(OSError):
        with open(spec.log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            return file.read().decode(errors="replace").strip().splitlines()[-count:]
    return []


def _spawn(spec: SidecarSpec, argv: list[str], log: int, descriptors: Sequence[int]) -> int:
    name, _, value = spec.mark.partition("=")
    try:
        child = spawn(argv, log, user=spec.user, environment={**spec.environment, name: value}, descriptors=descriptors)
    except HostError as error:
        raise HostError(f"{spec.name}: {error.message}", error.hint) from error
    child.returncode = 0  # the pidfd is waited for instead; Popen would complain that nobody did
    return child.pid


def _helper(spec: SidecarSpec, pid: int) -> Helper:
    pidfd = os.pidfd_open(pid)  # a child that nobody has reaped: the number is its own
    try:
        process = identify(pid)
    except ProcessLookupError:  # it has ended already, and waits to be reaped
        process = ProcessId(pid, 0)
    return Helper(spec=spec, process=process, pidfd=pidfd)


def _make_folder(spec: SidecarSpec, path: str) -> None:
    account = find_account(spec.user)
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        if account and os.geteuid() == 0:
            for name in (path, *(entry.path for entry in os.scandir(path))):
                os.chown(name, account.pw_uid, account.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise HostError(f"{spec.name}: cannot make {path}: {os.strerror(error.errno or 0).lower()}") from error


def _listen(spec: SidecarSpec) -> socket.socket:
    assert spec.socket  # noqa: S101 - the caller looked
    account = find_account(spec.user)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(spec.socket)
        os.chmod(spec.socket, 0o600)
        if account and os.geteuid() == 0:
            os.chown(spec.socket, account.pw_uid, account.pw_gid)
        listener.listen(8)
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise HostError(f"{spec.name}: cannot listen on {spec.socket}: {reason}") from error
    return listener


def _await_socket(helper: Helper, path: str, older: Collection[str], ready_s: float) -> None:
    """Wait until a socket can be connected to, without doing so: a first client that hangs up ends many a helper.

    bind(2) makes the file, and only listen(2) lets anybody in. The kernel's list of sockets knows which of the two has
    happened (proc_net(5)). A socket that it does not have, of another network namespace or bound by a relative path,
    counts by its file; but not at once, since bind(2) makes the file before it is in the list, and a list that changes
    while it is read may lack one. ``older`` are sockets of a run before, whose file has been removed.
    """
    spec, end = helper.spec, time.monotonic() + ready_s
    ended = select.poll()
    ended.register(helper.pidfd, select.POLLIN)
    unlisted: float | None = None  # since when there has been a file alone
    bound = False
    while True:
        listed = [one for one in _listed(path) if one.inode not in older]
        if any(one.lets_in for one in listed):
            return
        bound = bound or bool(listed)
        now, is_alone = time.monotonic(), not listed and os.path.exists(path)
        unlisted = (unlisted or now) if is_alone else None
        if ended.poll(_LOOK_AGAIN_MS):
            said = last_words(spec)
            did = f"it listened on its socket {path}" if bound else f"its socket {path} was there"
            raise HostError(f"{spec.name} ended before {did}{f': {said}' if said else ''}", f"see: {spec.log}")
        if unlisted and now - unlisted >= _UNLISTED_S:
            return
        if now > end:
            what = "does not listen on" if bound else "has not made"
            message = f"{spec.name} {what} its socket {path} in {ready_s:g} s"
            raise HostError(message, f"see: {spec.log}; is socket = right?")


def _listed(path: str) -> list[Listed]:
    """Give the sockets that the kernel lists under a path; none where it has no such list."""
    found, wanted = [], os.fsencode(path)
    with suppress(OSError), open("/proc/net/unix", "rb") as file:
        for line in file:
            if line.endswith(wanted + b"\n"):
                # Num RefCount Protocol Flags Type St Inode Path
                _, _, _, flags, kind, state, inode, name = line[:-1].split(maxsplit=7)
                if name == wanted and int(state, 16) != _CONNECTED:
                    lets_in = int(kind, 16) == _DATAGRAM or bool(int(flags, 16) & _ACCEPTS)
                    found.append(Listed(inode.decode(), lets_in))
    return found


def _leads(pid: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False

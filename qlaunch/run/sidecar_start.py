"""Start a helper and wait until it is ready; find one that runs. Blocking, without trio: QEMU may wait for it.

Whatever is started here carries its mark, and a step of the kind ``process`` is on disk before: so the way back, also
that of a failed start, is the step's undo, and nothing is ended here.
"""

import os
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

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
# The last line of swtpm whenever QEMU has gone, for whatever reason.
_FAREWELL = "Data client disconnected"


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
            _await_socket(helper, spec.socket, ready_s)
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


def _await_socket(helper: Helper, path: str, ready_s: float) -> None:
    spec, end = helper.spec, time.monotonic() + ready_s
    ended = select.poll()
    ended.register(helper.pidfd, select.POLLIN)
    while not os.path.exists(path):
        if ended.poll(_LOOK_AGAIN_MS):
            said = last_words(spec)
            message = f"{spec.name} ended before its socket {path} was there{f': {said}' if said else ''}"
            raise HostError(message, f"see: {spec.log}")
        if time.monotonic() > end:
            message = f"{spec.name} has not made its socket {path} in {ready_s:g} s"
            raise HostError(message, f"see: {spec.log}; is socket = right?")


def _leads(pid: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False

"""Start the process of QEMU: its sockets, its user, how much memory it may lock, its log.

The supervisor's QMP socket is bound and listened on here and handed to QEMU as a descriptor: the supervisor can
connect at once and waits for the greeting, instead of looking again and again whether QEMU has made the path. A QEMU
that runs as another user gets all its sockets so, since it has no business in the runtime folder, which root trusts.

The user is changed between fork and exec: QEMU's own options for it do not go with its sandbox.

Source: QEMU's ``system/vl.c`` and ``system/qemu-seccomp.c`` (elevateprivileges=deny forbids setuid); ``getrlimit(2)``,
RLIMIT_MEMLOCK.
"""

import os
import pwd
import resource
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from qlaunch.devices.monitor import SUPERVISOR
from qlaunch.duty import Duty
from qlaunch.errors import HostError, QemuError
from qlaunch.plan import Plan
from qlaunch.run.thrown_away import hold_folder_of

QEMU_LOG = "qemu.log"
SERIAL_LOG = "serial.log"
# Where a user's screen is: QEMU may be asked for a window on it.
_SCREEN = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")


def spawn_qemu(plan: Plan) -> int:
    """Start QEMU in a session of its own: Ctrl-C in the terminal must not reach it, since it would quit.

    Gives its number; it is a child that must be reaped. Raises HostError, QemuError.
    """
    account = _other_account(plan.duty)
    with ExitStack() as ours:
        argv, descriptors = _hand_over_sockets(plan, ours, everything=account is not None)
        if plan.host_ends:
            from qlaunch.run.descriptors import host_ends  # noqa: PLC0415 - most machines have no such cards

            handed = ours.enter_context(host_ends(plan.host_ends))
            argv, descriptors = handed.instead(argv), [*descriptors, *handed.descriptors]
        folder = hold_folder_of(plan.duty.state)
        if folder is not None:
            ours.callback(os.close, folder)
            descriptors = [*descriptors, folder]
        log = os.open(f"{plan.duty.state}/{QEMU_LOG}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with _memory_lock(plan.duty.memory_lock):
                child = _start(argv, descriptors, log, account, {**plan.duty.environment, **dict([plan.duty.mark])})
        finally:
            os.close(log)
    child.returncode = 0  # the pidfd is waited for instead; Popen would complain that nobody did
    return child.pid


def without_plugged(argv: Sequence[str], duty: Duty) -> list[str]:
    """Leave out the USB devices that the supervisor plugs in by itself, by a descriptor that it opens."""
    heads = tuple(f'{{"driver":"usb-host","id":"{one.qemu_id}"' for one in duty.usb)
    left = [number for number, word in enumerate(argv) if heads and word.startswith(heads)]
    return [word for number, word in enumerate(argv) if number not in left and number + 1 not in left]


def make_log(path: str) -> None:
    """Make a log that QEMU writes itself, for one that may not make files where it is. Raises HostError."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise HostError(f"cannot write {path}: {os.strerror(error.errno or 0).lower()}") from error


def _start(
    argv: list[str],
    descriptors: Sequence[int],
    log: int,
    account: pwd.struct_passwd | None,
    environment: Mapping[str, str],
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=descriptors,
            start_new_session=True,
            umask=0o077,
            cwd="/" if account else None,
            env={**(_environment(account) if account else os.environ), **environment},
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=os.getgrouplist(account.pw_name, account.pw_gid) if account else None,
        )
    except FileNotFoundError as error:
        raise QemuError(f"{argv[0]} is not installed", "install QEMU, or name the binary in qemu.binary") from error
    except OSError as error:
        raise QemuError(f"cannot start {argv[0]}: {error.strerror or error}") from error


def _other_account(duty: Duty) -> pwd.struct_passwd | None:
    """Give whom QEMU runs as, if that is somebody else. Raises HostError for one who cannot be."""
    if duty.user is None:
        return None
    from qlaunch.steps.command import find_account  # noqa: PLC0415 - few machines name a user

    account = find_account(duty.user)
    return account if account and account.pw_uid != os.geteuid() else None


def _environment(account: pwd.struct_passwd) -> dict[str, str]:
    from qlaunch.steps.command import user_environment  # noqa: PLC0415 - see above

    return {**user_environment(account), **{name: os.environ[name] for name in _SCREEN if name in os.environ}}


def _hand_over_sockets(plan: Plan, sockets: ExitStack, *, everything: bool) -> tuple[list[str], list[int]]:
    """Give the argv with descriptors in the place of the paths of sockets on which QEMU listens, and those."""
    prefix, descriptors = f"path={plan.duty.runtime}/".replace(",", ",,"), []
    argv = without_plugged(plan.argv, plan.duty)
    for number, word in enumerate(argv):
        if not word.startswith("socket,") or prefix not in word:
            continue
        if "server=on" not in word:
            if everything:
                name = word.partition(prefix)[2].partition(".sock")[0]
                connected = sockets.enter_context(_connect(plan.duty, plan.duty.socket(name)))
                argv[number] = word.replace(f"{prefix}{name}.sock", f"fd={connected.fileno()}")
                descriptors.append(connected.fileno())
            continue
        if everything or f"id={SUPERVISOR}-chr" in word:
            name = word.partition(prefix)[2].partition(".sock")[0]
            listener = sockets.enter_context(_listen(plan.duty.socket(name)))
            argv[number] = word.replace(f"{prefix}{name}.sock", f"fd={listener.fileno()}")
            descriptors.append(listener.fileno())
    return argv, descriptors


def _connect(duty: Duty, path: str) -> socket.socket:
    """Connect to a helper's socket for a QEMU that cannot reach it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        from qlaunch.run.sidecar_start import last_words  # noqa: PLC0415 - for a failure alone

        spec = next((spec for spec in duty.sidecars if spec.socket == path), None)
        words = last_words(spec) if spec else ""
        said = f"; {spec.name} said: {words}" if spec and words else ""
        raise HostError(f"cannot connect to {path}: {error.strerror or error}{said}") from error
    return connection


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise HostError(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


@contextmanager
def _memory_lock(wanted: int | None) -> Iterator[None]:
    """Let what is started meanwhile lock so much memory, or as much as this process may allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if wanted is None or soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    is_root, is_free = os.geteuid() == 0, hard == resource.RLIM_INFINITY
    highest = wanted if is_root or is_free else min(wanted, hard)
    top = hard if is_free else max(hard, highest)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (highest, top))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))

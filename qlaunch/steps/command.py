"""Run one program to its end: without a shell, perhaps as another user, and never longer than it may.

The program is the first of a session and process group of its own: what it started goes with it when its time is over,
and Ctrl-C in the terminal does not reach it. What it prints goes into a file or into memory, never into a pipe, since a
pipe is open for as long as any process that it left behind.

Owns: users, groups, environment, time. Must not: know why a program is run.

Source: ``credentials(7)``; ``pam_systemd(8)`` and ``dbus-daemon(1)`` (where a user's session bus is);
``pidfd_open(2)``.
"""

import os
import pwd
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from qlaunch.errors import HostError

# SIGKILL takes effect at once, but for a process that waits in the kernel for a device.
_KILLED_S = 2.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_command(
    argv: Sequence[str],
    *,
    timeout_s: float,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    log: str | None = None,
) -> str:
    """Give what a program printed, on either stream.

    With ``log`` that is appended to this file as well. ``environment`` comes on top of that of this process, or of the
    ``user``. Raises HostError when the program fails, is not there, or has not ended in time.
    """
    words = " ".join(argv)
    output = os.memfd_create("output")
    try:
        child = spawn(argv, output, user=user, environment=environment)
        in_time = _wait(child, timeout_s)
        said = _content(output)
    finally:
        os.close(output)
    if log:
        _append(log, words, said)
    if not in_time:
        raise HostError(f"{words} had not ended after {timeout_s:g} s, and was killed")
    if child.returncode:
        lines = said.strip().splitlines()
        raise HostError(f"{words}: {lines[-1] if lines else status_words(child.returncode)}")
    return said


def spawn(
    argv: Sequence[str],
    output: int,
    *,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start a program that writes into ``output`` and inherits ``descriptors``; see `run_command`. Raises HostError."""
    account = find_account(user)
    base = user_environment(account) if account else dict(os.environ)
    other = account if os.geteuid() == 0 else None  # who is not root runs as itself
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**base, **(environment or {})},
            cwd="/" if account else None,
            pass_fds=descriptors,
            start_new_session=True,
            user=other.pw_uid if other else None,
            group=other.pw_gid if other else None,
            extra_groups=os.getgrouplist(other.pw_name, other.pw_gid) if other else None,
        )
    except FileNotFoundError as error:
        raise HostError(f"{argv[0]} is not installed") from error
    except OSError as error:
        raise HostError(f"cannot run {argv[0]}: {os.strerror(error.errno or 0).lower()}") from error


def find_account(user: str | None) -> pwd.struct_passwd | None:
    """Look up whom to become; None for who we are already. Raises HostError for one who cannot be."""
    if user is None:
        return None
    try:
        account = pwd.getpwnam(user)
    except KeyError as error:
        raise HostError(f"there is no user {user} on this host") from error
    if os.geteuid() not in (0, account.pw_uid):
        raise HostError(f"only root may run a program as {user}")
    return account


def status_words(returncode: int) -> str:
    """Say how a program ended, from its exit status or the negative number of a signal."""
    if returncode < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"


def user_environment(account: pwd.struct_passwd) -> dict[str, str]:
    """Give the environment of a user who has just logged in, with their session's bus and sound, if they are there."""
    environment = {
        "HOME": account.pw_dir,
        "LOGNAME": account.pw_name,
        "PATH": _PATH,
        "SHELL": account.pw_shell or "/bin/sh",
        "USER": account.pw_name,
    }
    for name in ("LANG", "LC_ALL"):
        if name in os.environ:
            environment[name] = os.environ[name]
    runtime = f"/run/user/{account.pw_uid}"
    if os.path.isdir(runtime):
        environment["XDG_RUNTIME_DIR"] = runtime
        if os.path.exists(f"{runtime}/bus"):
            environment["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={runtime}/bus"
    return environment


def _wait(child: "subprocess.Popen[bytes]", timeout_s: float) -> bool:
    """Wait for the end by the process itself; Popen's own wait would look again and again."""
    descriptor = os.pidfd_open(child.pid)
    try:
        if select.select([descriptor], [], [], timeout_s)[0]:
            child.wait()
            return True
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        if select.select([descriptor], [], [], _KILLED_S)[0]:
            child.wait()
        else:
            child.returncode = -signal.SIGKILL  # it waits in the kernel, and we do not wait for it
    finally:
        os.close(descriptor)
    return False


def _content(output: int) -> str:
    size = os.fstat(output).st_size
    return os.pread(output, size, 0).decode(errors="replace")


def _append(path: str, words: str, said: str) -> None:
    text = f"$ {words}\n{said}"
    with suppress(OSError):  # a full disk is no failure of the program
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, (text if text.endswith("\n") else f"{text}\n").encode(errors="replace"))
        finally:
            os.close(descriptor)

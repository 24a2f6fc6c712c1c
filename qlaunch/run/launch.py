"""Start QEMU: its folders, its variable store, the supervisor's socket, the process. Blocking, without trio.

The supervisor's QMP socket is bound and listened on here and handed to QEMU as a descriptor: the supervisor can
connect at once and waits for the greeting, instead of looking again and again whether QEMU has made the path.
"""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from qlaunch.devices.monitor import SUPERVISOR
from qlaunch.errors import HostError, QemuError
from qlaunch.plan import Plan
from qlaunch.run.folder import Record, RunFolder
from qlaunch.run.process import ProcessId, identify

QEMU_LOG = "qemu.log"
_LAST_WORDS_MS = 1000


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A QEMU that was started, or found, and is not yet watched. ``is_child`` tells whether it must be reaped."""

    folder: RunFolder
    record: Record
    process: ProcessId
    pidfd: int
    is_child: bool
    made: tuple[str, ...] = ()  # files that a failed start takes back

    def take_back(self) -> None:
        """Remove what a start made that then failed."""
        _remove(self.made)

    def forget_state(self) -> None:
        """Remove the state folder of an ephemeral machine."""
        state = self.record.duty.state
        with suppress(OSError):
            _remove([entry.path for entry in os.scandir(state)])
            os.rmdir(state)
            os.rmdir(os.path.dirname(state))


def start(plan: Plan, folder: RunFolder) -> Running:
    """Start QEMU, paused, in a claimed folder. Raises HostError or QemuError with nothing left behind."""
    duty = plan.duty
    made: list[str] = []
    pid: int | None = None
    try:
        folder.clear()
        _make_state_folder(duty.state)
        made = _make_vars(plan)
        made += _keep_machine_type(plan)
        record = Record(supervisor=identify(os.getpid()), started=time.time(), duty=duty)
        folder.write(record)
        with _listen(duty.socket(SUPERVISOR)) as listener:
            pid = _spawn(plan, listener.fileno())
        pidfd = os.pidfd_open(pid)
        try:
            process = identify(pid)
        except ProcessLookupError:  # it died over its first option, and waits to be reaped
            process = ProcessId(pid, 0)
        record = msgspec.structs.replace(record, qemu=process)
        folder.write(record)
    except BaseException:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)  # ours and not reaped: the number is still its own
            os.waitpid(pid, 0)
        _remove(made)
        folder.remove()
        raise
    return Running(folder=folder, record=record, process=process, pidfd=pidfd, is_child=True, made=tuple(made))


def adopt(folder: RunFolder, record: Record) -> Running:
    """Take over a QEMU whose supervisor is dead; the folder is claimed already."""
    if record.qemu is None or not record.qemu.is_alive():
        raise HostError(f"no QEMU of {record.duty.name} is left to take over")
    process = record.qemu
    record = msgspec.structs.replace(record, supervisor=identify(os.getpid()))
    folder.write(record)
    return Running(folder=folder, record=record, process=process, pidfd=os.pidfd_open(process.pid), is_child=False)


def kill(running: Running) -> int | None:
    """Kill QEMU and wait until it is gone.

    Gives its exit status, negative for a signal, or None if it was not a child.
    """
    waiter = select.poll()
    waiter.register(running.pidfd, select.POLLIN)
    # A QEMU that closed its monitor is on its way out: its own status says more than that of a SIGKILL.
    if not waiter.poll(_LAST_WORDS_MS):
        running.process.send(signal.SIGKILL)
        waiter.poll()
    if not running.is_child:
        return None
    try:
        result = os.waitid(os.P_PIDFD, running.pidfd, os.WEXITED)
    except ChildProcessError:
        return None
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def read_qemu_log(state: str) -> str:
    """Give all that QEMU printed in this run."""
    try:
        with open(f"{state}/{QEMU_LOG}", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _make_state_folder(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise HostError(f"cannot make {path}: {reason}", "choose another folder in QLAUNCH_STATE_DIR") from error


def _keep_machine_type(plan: Plan) -> list[str]:
    """Note the versioned board of the first start: later starts keep to it when QEMU is updated."""
    path = f"{plan.duty.state}/machine-type"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(f"{plan.duty.machine_type}\n")
    except FileExistsError:
        return []
    except OSError as error:
        raise HostError(f"cannot write {path}: {os.strerror(error.errno or 0).lower()}") from error
    return [path]


def _make_vars(plan: Plan) -> list[str]:
    """Copy the firmware's variable store once; later starts keep what the guest wrote there."""
    firmware = plan.firmware
    if not firmware or os.path.exists(firmware.vars):
        return []
    temporary = f"{firmware.vars}.new"
    try:
        with open(firmware.vars_template, "rb") as source:
            content = source.read()
        with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as copy:
            copy.write(content)
        os.rename(temporary, firmware.vars)
    except OSError as error:
        _remove([temporary])
        reason = os.strerror(error.errno or 0).lower()
        raise HostError(f"cannot copy {firmware.vars_template} to {firmware.vars}: {reason}") from error
    return [firmware.vars]


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


def _spawn(plan: Plan, listener: int) -> int:
    """Start the process in a session of its own: Ctrl-C in the terminal must not reach it, since it would quit."""
    by_path = f"path={plan.duty.socket(SUPERVISOR)}".replace(",", ",,")
    argv = [word.replace(by_path, f"fd={listener}") if f"id={SUPERVISOR}-chr" in word else word for word in plan.argv]
    log = os.open(f"{plan.duty.state}/{QEMU_LOG}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(listener,),
            start_new_session=True,
            umask=0o077,
        )
    except FileNotFoundError as error:
        raise QemuError(f"{argv[0]} is not installed", "install QEMU, or name the binary in qemu.binary") from error
    except OSError as error:
        raise QemuError(f"cannot start {argv[0]}: {error.strerror or error}") from error
    finally:
        os.close(log)
    child.returncode = 0  # the pidfd is waited for instead; Popen would complain that nobody did
    return child.pid

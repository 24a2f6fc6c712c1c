"""Start a machine: its folders, its variable store, the host's changes, QEMU. Blocking, without trio."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from qlaunch.errors import HostError, RestoreError
from qlaunch.plan import Plan
from qlaunch.run.changes import Changes
from qlaunch.run.folder import Record, RunFolder
from qlaunch.run.grab import insist_on_grab
from qlaunch.run.process import KILLED_S, ProcessId, identify, stays
from qlaunch.run.sidecar_start import start_before_qemu
from qlaunch.run.spawn import QEMU_LOG, SERIAL_LOG, make_log, spawn_qemu
from qlaunch.run.thrown_away import remove_folder_of
from qlaunch.run.timings import Clock, write_timings
from qlaunch.run.transient import end_empty_scope
from qlaunch.run.voice import Say

_LAST_WORDS_MS = 1000


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A QEMU that was started, or found, and is not yet watched. ``is_child`` tells whether it must be reaped."""

    folder: RunFolder
    record: Record
    process: ProcessId
    pidfd: int
    is_child: bool
    made: tuple[str, ...] = ()  # files that a failed start takes back
    changes: Changes
    clock: Clock

    def note_timings(self) -> None:
        """Put on disk how long each part took so far."""
        write_timings(self.record.duty.state, [*self.clock.parts, *self.changes.timings])

    def take_back(self) -> None:
        """Remove what a start made that then failed."""
        _remove(self.made)

    def give_back(self) -> None:
        """Undo the machine's changes to the host, and remove its runtime folder. Raises RestoreError."""
        try:
            self.changes.undo()
        finally:
            try:
                end_empty_scope(self.record.duty.name)  # while no other QEMU of this machine can be on its way into it
            finally:
                self.folder.remove()
                remove_folder_of(self.record.duty.state)

    def forget_state(self) -> None:
        """Remove the state folder of an ephemeral machine."""
        state = self.record.duty.state
        with suppress(OSError):
            # A TPM has a folder of its own.
            for entry in list(os.scandir(state)):
                if entry.is_dir(follow_symlinks=False):
                    _remove([inner.path for inner in os.scandir(entry.path)])
                    os.rmdir(entry.path)
                else:
                    _remove([entry.path])
            os.rmdir(state)
            os.rmdir(os.path.dirname(state))


def start(plan: Plan, folder: RunFolder, say: Say, stop: Callable[[], bool]) -> Running:
    """Prepare the host and start QEMU, paused, in a claimed folder.

    Raises HostError or QemuError with nothing left behind; RestoreError when something is left; KeyboardInterrupt when
    ``stop`` asked for an end before QEMU was started.
    """
    duty = plan.duty
    made: list[str] = []
    pid: int | None = None
    changes, clock = Changes(folder, say), Clock()
    try:
        folder.clear()
        for evdev in duty.evdev:
            insist_on_grab(evdev.path)
        _make_state_folder(duty.state)
        if duty.user:
            make_log(f"{duty.state}/{SERIAL_LOG}")
        made = _make_vars(plan)
        made += _keep_machine_type(plan)
        record = Record(supervisor=identify(os.getpid()), started=time.time(), duty=duty)
        folder.write(record)
        plan = _make_all(changes, plan, say, stop)
        changes.begin(plan.changes, stop=stop)
        with clock.part("helpers"):
            start_before_qemu(duty.sidecars, say)
        with clock.part("start of QEMU"):
            pid = spawn_qemu(plan)
        pidfd = os.pidfd_open(pid)
        try:
            process = identify(pid)
        except ProcessLookupError:  # it died over its first option, and waits to be reaped
            process = ProcessId(pid, 0)
        record = msgspec.structs.replace(record, qemu=process)
        folder.write(record)
    except BaseException as error:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)  # ours and not reaped: the number is still its own
            os.waitpid(pid, 0)
        _remove(made)
        try:
            changes.undo()
        except RestoreError as left:
            raise left.after(error) from error
        finally:
            folder.remove()
        raise
    return Running(
        folder=folder,
        record=record,
        process=process,
        pidfd=pidfd,
        is_child=True,
        made=tuple(made),
        changes=changes,
        clock=clock,
    )


def _make_all(changes: Changes, plan: Plan, say: Say, stop: Callable[[], bool]) -> Plan:
    """Make the changes. Gives the plan that holds: another one where huge pages cannot be had.

    Whether they can is found out first, before a service is stopped that would be stopped again.
    """
    made = plan.changes[:0]
    while plan.instead:
        made = [step for step in plan.changes if step.kind == "hugepages"]
        try:
            if not changes.make(made, stop=stop):
                raise KeyboardInterrupt
            break
        except HostError as error:
            say(f"{error.message}; going on without them")
            changes.take_back()
            plan, made = plan.instead, []
    if not changes.make([step for step in plan.changes if step not in made], stop=stop):
        raise KeyboardInterrupt
    return plan


def adopt(folder: RunFolder, record: Record, say: Say) -> Running:
    """Take over a QEMU whose supervisor is dead; the folder is claimed already."""
    if record.qemu is None or not record.qemu.is_alive():
        raise HostError(f"no QEMU of {record.duty.name} is left to take over")
    process = record.qemu
    record = msgspec.structs.replace(record, supervisor=identify(os.getpid()))
    folder.write(record)
    return Running(
        folder=folder,
        record=record,
        process=process,
        pidfd=os.pidfd_open(process.pid),
        is_child=False,
        changes=Changes(folder, say),
        clock=Clock(),
    )


def kill(running: Running) -> int | None:
    """Kill QEMU and wait until it is gone.

    Gives its exit status, negative for a signal, or None if it was not a child. Raises HostError for one that stays.
    """
    waiter = select.poll()
    waiter.register(running.pidfd, select.POLLIN)
    # A QEMU that closed its monitor is on its way out: its own status says more than that of a SIGKILL.
    if not waiter.poll(_LAST_WORDS_MS):
        running.process.send(signal.SIGKILL)
        if not waiter.poll(KILLED_S * 1000):
            raise stays(running.process.pid)
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

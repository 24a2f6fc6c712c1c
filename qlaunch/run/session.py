"""A whole run from a plan, for `up` and `run`: claim, start QEMU, and only then import what supervises it.

QEMU needs some 70 ms until it answers; importing trio, asyncio and qemu.qmp takes longer. Both happen at the same time.
"""

import gc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import QlaunchError, RestoreError
from qlaunch.plan import Plan
from qlaunch.run.changes import undo_left
from qlaunch.run.folder import Record, RunFolder
from qlaunch.run.launch import Running, adopt, kill, start
from qlaunch.run.notify import ServiceManager
from qlaunch.run.process import KILLED_S, end_process, stays
from qlaunch.run.signals import EarlySignals
from qlaunch.run.tasks import Tasks
from qlaunch.run.thrown_away import remove_folder_of
from qlaunch.run.transient import end_empty_scope, move_to_own_unit
from qlaunch.run.voice import Say, Voice
from qlaunch.steps.marked import end_marked
from qlaunch.steps.step import Step

if TYPE_CHECKING:
    import trio

    from qlaunch.run.guest import Ending
    from qlaunch.run.supervisor import Supervisor
    from qlaunch.run.tasks import Companion

SUPERVISOR_LOG = "supervisor.log"


def run_machine(
    plan: Plan,
    say: Say,
    *,
    show: Callable[[str], None] | None = None,
    on_up: Callable[[], None] | None = None,
    companion: "Companion | None" = None,
) -> "Ending":
    """Run a machine to its end. Raises QemuError, MonitorError or HostError when it does not come up.

    ``say`` hears every sentence, ``show`` a status line each second, ``on_up`` is called once when the guest runs,
    and ``companion`` is a task that lives beside the guest. A machine whose supervisor died while its guest ran on is
    taken over, not started.
    """
    signals = EarlySignals()
    folder = RunFolder(plan.duty.runtime)
    folder.claim()
    found = folder.read()
    record = surviving(found)
    voice = Voice(f"{(record.duty if record else plan.duty).state}/{SUPERVISOR_LOG}", anew=record is None)
    voice.add(say)
    manager = ServiceManager.take()
    voice.add(manager.status)
    _outlive_the_session(plan, voice.say, signals)
    if record:
        running = adopt(folder, record, voice.say)
        voice.say(f"taking over QEMU {running.process.pid}, whose supervisor is gone")
    else:
        undo_dead(folder, found, voice.say)
        running = start(plan, folder, voice.say, lambda: bool(signals.noted))
    tasks = Tasks(show=show, on_up=on_up, companion=companion, manager=manager)
    return _supervise(running, voice, signals, tasks, plan.changes)


def _outlive_the_session(plan: Plan, say: Say, signals: EarlySignals) -> None:
    """Leave the session that a service to be stopped may take along: a display manager's, with its terminals."""
    if any(step.kind == "service" for step in plan.changes) and move_to_own_unit(plan.duty.name, say):
        signals.ignore_hangup()


def undo_dead(folder: RunFolder, record: Record | None, say: Say) -> None:
    """Undo what a supervisor left that died together with its guest. Raises RestoreError, HostError."""
    try:
        undo_left(folder, say)
    finally:
        if record:
            remove_folder_of(record.duty.state)
            end_empty_scope(record.duty.name)


def surviving(record: Record | None) -> Record | None:
    """Give the record if its guest outlived its supervisor.

    A QEMU that was never allowed to run is ended: nothing is lost with it.
    """
    _end_unborn(record)
    if record is None or record.qemu is None or not record.qemu.is_alive():
        return None
    if record.running:
        return record
    end_process(record.qemu)
    return None


def _end_unborn(record: Record | None) -> None:
    """End a QEMU whose supervisor was killed between starting it and noting its number. It has run nothing yet."""
    if record and record.qemu is None:
        for pid in end_marked("=".join(record.duty.mark), polite_s=0, killed_s=KILLED_S):
            raise stays(pid)


def end_orphan(name: str, folder: RunFolder, say: Say, *, timeout_s: float | None, force: bool) -> "Ending | None":
    """End a machine whose supervisor is dead.

    Gives None when its QEMU is gone too, or had never been let go, and only traces were left.

    Raises RestoreError when its changes to the host cannot all be undone.
    """
    folder.claim()
    found = folder.read()
    record = surviving(found)
    if record is None:
        try:
            undo_dead(folder, found, say)
        finally:
            folder.remove()
        return None
    signals = EarlySignals()
    voice = Voice(f"{record.duty.state}/{SUPERVISOR_LOG}")
    voice.add(say)
    running = adopt(folder, record, voice.say)
    voice.say(f"the supervisor of {name} is gone; ending QEMU {running.process.pid}")

    async def stop_at_once(supervisor: "Supervisor", *, task_status: "trio.TaskStatus[None]") -> None:
        task_status.started()
        supervisor.stop(timeout_s=timeout_s, force=force)

    return _supervise(running, voice, signals, Tasks(companion=stop_at_once))


def _supervise(
    running: Running, voice: Voice, signals: EarlySignals, tasks: Tasks, steps: Sequence[Step] = ()
) -> "Ending":
    """Watch a started QEMU to its end."""
    try:
        # QEMU starts while these are imported.
        from qlaunch.run.loop import run_in_trio  # noqa: PLC0415
        from qlaunch.run.supervisor import Supervisor  # noqa: PLC0415
    except BaseException as error:
        if running.is_child:  # one that was taken over runs, and can be taken over again
            _abandon(running, error)
        raise
    gc.freeze()  # the collector need not look through what was imported again: 15 ms each time
    supervisor = Supervisor(running, voice, signals, tasks, steps)
    try:
        return run_in_trio(supervisor.run)
    except QlaunchError:
        raise
    except BaseException as error:
        # A mistake of ours. A guest that runs goes on, to be taken over; one that never ran goes.
        if supervisor.never_ran or not running.process.is_alive():
            _abandon(running, error)
        raise


def _abandon(running: Running, error: BaseException) -> None:
    """End a QEMU with which nothing is lost, and give the host back. Raises RestoreError, HostError."""
    kill(running)
    try:
        running.give_back()
    except RestoreError as left:
        raise left.after(error) from error

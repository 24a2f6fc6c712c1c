"""A whole run from a plan, for `up` and `run`: claim, start QEMU, and only then import what supervises it.

QEMU needs some 70 ms until it answers; importing trio, asyncio and qemu.qmp takes longer. Both happen at the same time.
"""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from qlaunch.devices.monitor import PEOPLE
from qlaunch.plan import Plan
from qlaunch.run.folder import Record, RunFolder
from qlaunch.run.launch import Running, adopt, kill, start
from qlaunch.run.process import find_by_word
from qlaunch.run.signals import EarlySignals
from qlaunch.run.tasks import Tasks
from qlaunch.run.voice import Say, Voice

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
    running = _take_over(folder) or start(plan, folder)
    voice = Voice(f"{running.record.duty.state}/{SUPERVISOR_LOG}", anew=running.is_child)
    voice.add(say)
    if not running.is_child:
        voice.say(f"taking over QEMU {running.process.pid}, whose supervisor is gone")
    return _supervise(running, voice, signals, Tasks(show=show, on_up=on_up, companion=companion))


def _take_over(folder: RunFolder) -> Running | None:
    """Adopt a guest that outlived its supervisor.

    A QEMU that was never allowed to run is ended: nothing is lost with it.
    """
    record = folder.read()
    _end_unborn(record)
    if record is None or record.qemu is None or not record.qemu.is_alive():
        return None
    running = adopt(folder, record)
    if record.running:
        return running
    kill(running)
    return None


def _end_unborn(record: Record | None) -> None:
    """End a QEMU whose supervisor was killed between starting it and noting its number. It has run nothing yet."""
    if record and record.qemu is None:
        for process in find_by_word(f"path={record.duty.socket(PEOPLE)},"):
            process.send(signal.SIGKILL)


def end_orphan(name: str, folder: RunFolder, say: Say, *, timeout_s: float | None, force: bool) -> "Ending | None":
    """End a machine whose supervisor is dead. Gives None when its QEMU is gone too, and only files were left."""
    folder.claim()
    record = folder.read()
    _end_unborn(record)
    if record is None or record.qemu is None or not record.qemu.is_alive():
        folder.remove()
        return None
    signals = EarlySignals()
    running = adopt(folder, record)
    voice = Voice(f"{record.duty.state}/{SUPERVISOR_LOG}")
    voice.add(say)
    voice.say(f"the supervisor of {name} is gone; ending QEMU {running.process.pid}")

    async def stop_at_once(supervisor: "Supervisor", *, task_status: "trio.TaskStatus[None]") -> None:
        task_status.started()
        supervisor.stop(timeout_s=timeout_s, force=force)

    return _supervise(running, voice, signals, Tasks(companion=stop_at_once))


def _supervise(running: Running, voice: Voice, signals: EarlySignals, tasks: Tasks) -> "Ending":
    """Watch a started QEMU to its end."""
    try:
        # QEMU starts while these are imported.
        from qlaunch.run.loop import run_in_trio  # noqa: PLC0415
        from qlaunch.run.supervisor import Supervisor  # noqa: PLC0415
    except BaseException:
        kill(running)
        raise
    return run_in_trio(Supervisor(running, voice, signals, tasks).run)

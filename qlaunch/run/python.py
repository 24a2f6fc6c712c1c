"""qlaunch for Python programs, on trio: a machine that runs for as long as a block does.

    async with qlaunch.launch("headless", set={"cpu.vcpus": 4}) as vm:
        await vm.serial.expect("login:")
        print(await vm.execute("query-status"))

The machine is supervised by a task beside the block. Whatever ends the block ends the machine, and the host is given
back before the block is left. Nothing is printed, and no signal handler is installed. From asyncio, run it in a thread
of its own: ``await asyncio.to_thread(trio.run, main)``.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import trio

from qlaunch.errors import HostError, MachineError
from qlaunch.found import look
from qlaunch.host.facts import HostFacts
from qlaunch.host.folders import find_folders
from qlaunch.machine.load import load
from qlaunch.machine.overrides import as_word
from qlaunch.plan import Plan, make_plan
from qlaunch.run.changes import insist_on_root
from qlaunch.run.folder import RunFolder, machine_names
from qlaunch.run.launch import Running, start
from qlaunch.run.loop import first_cause
from qlaunch.run.overlay import throw_away
from qlaunch.run.session import SUPERVISOR_LOG, surviving, undo_dead
from qlaunch.run.signals import EarlySignals
from qlaunch.run.supervisor import Supervisor
from qlaunch.run.tasks import Tasks
from qlaunch.run.vm import Vm, open_serial
from qlaunch.run.voice import Say, Voice
from qlaunch.selection import choose_devices
from qlaunch.steps import pyroute
from qlaunch.values.cpus import CpuSet

if TYPE_CHECKING:
    from collections.abc import Callable


@asynccontextmanager
async def launch(
    name: str,
    *,
    set: Mapping[str, object] | None = None,  # noqa: A002 - the command line's word
    ephemeral: bool = False,
    say: Say = lambda _: None,
) -> AsyncIterator[Vm]:
    """Start a machine, give it once its guest runs, and end it with the block: gracefully, or at once after an error.

    ``set`` changes keys for this run, ``ephemeral`` runs it on overlays that are thrown away, ``say`` hears what the
    supervisor says. Raises what `up` raises: UsageError, MachineError, HostError, QemuError, MonitorError.
    """
    overrides = [as_word(key, value) for key, value in (set or {}).items()]
    with ExitStack() as stack:
        plan = await trio.to_thread.run_sync(_plan, name, overrides, stack if ephemeral else None)
        session = _Session(plan, say)
        try:
            async with trio.open_nursery() as nursery:
                try:
                    vm = await nursery.start(session.live)
                    yield vm
                except BaseException:
                    session.stop(force=True)
                    raise
                session.stop(force=ephemeral)
        except BaseExceptionGroup as group:
            # A single failure, the block's or the machine's, is raised as it is: a nursery here is nobody's business.
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise


class _Session:
    """One machine beside one block."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._supervisor: Supervisor | None = None
        self._vm: Vm | None = None
        pyroute.want_whole()  # another thread of the program may import it meanwhile

    async def live(self, *, task_status: trio.TaskStatus[Vm]) -> None:
        """Start the machine and supervise it to its end, also when the block is cancelled: that asks for the end."""
        with trio.CancelScope(shield=True):
            running, voice = await trio.to_thread.run_sync(self._start)

            def is_up() -> None:
                assert self._vm  # noqa: S101 - the guest runs only once its companion is there
                task_status.started(self._vm)

            tasks = Tasks(companion=self._accompany, on_up=is_up)
            self._supervisor = Supervisor(running, voice, _NoSignals(), tasks, self._plan.changes)
            try:
                await self._supervisor.run()
            except BaseExceptionGroup as group:
                raise first_cause(group) from None

    def stop(self, *, force: bool) -> None:
        """Ask for the end of the machine."""
        if self._supervisor:
            self._supervisor.stop(force=force)

    async def _accompany(self, supervisor: Supervisor, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            self._vm = Vm(supervisor, await open_serial(supervisor, nursery))
            task_status.started()
            await trio.sleep_forever()

    def _start(self) -> tuple[Running, Voice]:
        folder = RunFolder(self._plan.duty.runtime)
        folder.claim()
        record = folder.read()
        if surviving(record):
            name = self._plan.duty.name
            raise HostError(f"{name} runs without a supervisor", f"take it over with: qlaunch up {name}")
        voice = Voice(f"{self._plan.duty.state}/{SUPERVISOR_LOG}", anew=True)
        voice.add(self._say)
        undo_dead(folder, record, voice.say)
        return start(self._plan, folder, voice.say, lambda: False), voice


class _NoSignals(EarlySignals):
    """A program's signals are its own."""

    def __init__(self) -> None:
        self.noted = []

    async def watch(self, stop: "Callable[[bool], None]", say: Say) -> None:
        """Leave them alone."""
        del stop, say


def _plan(name: str, overrides: list[str], stack: ExitStack | None) -> Plan:
    loaded, folders, facts = load(name, overrides), find_folders(), HostFacts()
    loaded = choose_devices(loaded, facts)
    if stack:
        loaded, folders = stack.enter_context(throw_away(loaded, folders))
    found = look(loaded.name, loaded.machine, folders, facts)
    plan = make_plan(loaded, found, _taken(folders.runtime, loaded.name))
    if errors := [problem for problem in plan.problems if problem.severity == "error"]:
        raise MachineError(errors) if len(errors) > 1 else HostError(str(errors[0]), errors[0].hint)
    insist_on_root(plan.duty.name, plan.changes)
    return msgspec.structs.replace(plan, duty=msgspec.structs.replace(plan.duty, ephemeral=True)) if stack else plan


def _taken(runtime: str, name: str) -> CpuSet:
    """Give the CPUs that other machines' vCPUs are pinned to."""
    others = (RunFolder(f"{runtime}/{other}").read() for other in machine_names(runtime) if other != name)
    alive = [record for record in others if record and record.qemu and record.qemu.is_alive()]
    return CpuSet(cpu for record in alive for cpus in record.duty.pins.vcpus.values() for cpu in CpuSet.parse(cpus))

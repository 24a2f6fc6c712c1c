"""The supervisor: brings a paused QEMU to life, watches it, and ends it. One nursery owns every task.

The asyncio loop of the monitor is outside the nursery, so that the session outlives the tasks that use it.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio

from qlaunch.devices.monitor import SUPERVISOR
from qlaunch.errors import HostError, MonitorError, RestoreError
from qlaunch.run.control import Farewells, serve_control
from qlaunch.run.events import describe
from qlaunch.run.explain import explain_death
from qlaunch.run.guest import Ending, Guest
from qlaunch.run.hotplug import Hotplug
from qlaunch.run.inhibit import has_logind, inhibitors
from qlaunch.run.interrupts import keep_interrupts
from qlaunch.run.launch import Running, kill, read_qemu_log
from qlaunch.run.live import status_line
from qlaunch.run.loop import first_cause
from qlaunch.run.pci_plug import PciPlugs
from qlaunch.run.pinning import pin_threads, set_scheduler
from qlaunch.run.qmp import Event, Monitor, open_monitor
from qlaunch.run.serial_log import bound
from qlaunch.run.shield import tell_shield
from qlaunch.run.shutdown import bring_down, end_qemu
from qlaunch.run.sidecars import watch_sidecars
from qlaunch.run.signals import EarlySignals
from qlaunch.run.tasks import Tasks
from qlaunch.run.transient import move_qemu
from qlaunch.run.voice import Voice
from qlaunch.steps.step import Step

# QEMU greets only after it has preallocated the guest's memory: up to 1.4 s a GiB with 4 KiB pages on one thread.
GREETING_S = 30.0
GREETING_S_PER_GIB = 4.0
_LOG_CHECK_S = 30.0  # housekeeping: nothing waits for it


class Supervisor:
    """One run of one machine."""

    def __init__(
        self, running: Running, voice: Voice, signals: EarlySignals, tasks: Tasks, steps: Sequence[Step] = ()
    ) -> None:
        self.running = running
        self.duty = running.record.duty
        self.say = voice.say
        self.voice = voice
        self.farewells = Farewells()
        self.guest: Guest | None = None
        self.hotplug = Hotplug(running, voice.say)
        self.pci = PciPlugs(running, lambda: self.guest)
        self._signals = signals
        self._tasks = tasks
        self._steps = steps
        self._manager = tasks.manager
        self._host_ready = trio.Event()
        self._awake = trio.Event()  # the host cannot be put to sleep, or it is told that it can
        self._up = trio.Event()
        self._stop_wanted = trio.Event()
        self._polite = trio.CancelScope()
        self._starting = trio.CancelScope()  # cancelled only while the guest has not run

    async def run(self) -> Ending:
        """Carry the machine from its first instruction to its end.

        Raises QemuError, MonitorError or HostError when it does not come up; QEMU is gone then, and nothing is left
        behind.
        """
        async with trio.open_nursery() as nursery:
            # These last until the host is as it was.
            nursery.start_soon(self._manager.keep_watchdog_quiet)
            nursery.start_soon(self._hold_locks)
            try:
                return await self._run()
            finally:
                nursery.cancel_scope.cancel()

    async def _run(self) -> Ending:
        greeting_s = GREETING_S + GREETING_S_PER_GIB * self.duty.memory / (1 << 30)
        ending: Ending | None = None
        try:
            with self._starting:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._signals.watch, lambda hurry: self.stop(force=hurry), self.say)
                    await nursery.start(serve_control, self)
                    nursery.start_soon(self._change_host)
                    async with open_monitor(self.duty.socket(SUPERVISOR), greeting_s=greeting_s) as monitor:
                        ending = await self._supervise(monitor)
                    nursery.cancel_scope.cancel()
        except* (MonitorError, HostError) as group:
            raise await self._failed(first_cause(group)) from None
        if ending is None:
            await trio.to_thread.run_sync(kill, self.running)
            self.running.take_back()
            ending = Ending("stopped", "it was stopped before its guest ran")
        await self._leave(ending)
        return ending

    @property
    def never_ran(self) -> bool:
        """Whether the guest has not executed an instruction: then nothing is lost with it."""
        return self.running.is_child and not (self.guest and self.guest.running.is_set())

    def stop(self, *, timeout_s: float | None = None, force: bool = False) -> None:
        """Ask for the end; ``force`` skips what is left of the guest's own time. Asking again never gives it more."""
        seconds = 0 if force else self.duty.shutdown.timeout_s if timeout_s is None else timeout_s
        self._polite.deadline = min(self._polite.deadline, trio.current_time() + seconds)
        self._manager.stopping()
        self._stop_wanted.set()
        if self.never_ran:
            self._starting.cancel()

    async def _hold_locks(self) -> None:
        """Hold logind's locks. A guest that does not mind the host's sleep runs before they are asked for."""
        if not self.duty.inhibit_sleep:
            await self._up.wait()
        if self.duty.inhibit_sleep or has_logind():
            async with inhibitors(self.duty.name, self.say, self.stop, sleep=self.duty.inhibit_sleep):
                self._awake.set()
                await trio.sleep_forever()

    async def _change_host(self) -> None:
        """Make the changes that need QEMU's process, while it starts. One that was taken over has them."""
        running = self.running
        if running.is_child:
            pid = running.process.pid
            if not any(step.kind == "scope" for step in self._steps):
                await trio.to_thread.run_sync(move_qemu, self.duty.name, pid, self.duty.sidecars, self.say)
            make = partial(running.changes.make, self._steps, qemu=pid, stop=self._stop_wanted.is_set)
            await trio.to_thread.run_sync(make)
        self._host_ready.set()

    async def _supervise(self, monitor: Monitor) -> Ending:
        running = self.running
        guest = self.guest = Guest(self.duty, running.process, running.pidfd, monitor, is_child=running.is_child)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest.watch_exit)
            nursery.start_soon(self._watch_events, guest)
            if self._tasks.companion:
                await nursery.start(self._tasks.companion, self)
            if self.duty.sidecars and not self._stop_wanted.is_set():
                specs, is_first = self.duty.sidecars, self.running.is_child
                await nursery.start(partial(watch_sidecars, specs, self.say, is_first=is_first))
            await self._bring_up(guest)
            nursery.start_soon(tell_shield, self._steps, self.say)
            nursery.start_soon(self.hotplug.follow)
            nursery.start_soon(_bound_serial_log, f"{self.duty.state}/serial.log")
            if self._tasks.show:
                nursery.start_soon(status_line(self._tasks.show), self)
            if self.duty.functions:
                cpus = [int(cpu) for cpu in self.duty.pins.vcpus.values()]
                nursery.start_soon(keep_interrupts, self.duty.functions, cpus, self.say)
            nursery.start_soon(self._end_when_wanted, guest)
            nursery.start_soon(self._end_when_halted, guest)
            await guest.exited.wait()
            nursery.cancel_scope.cancel()
        assert guest.ending is not None  # noqa: S101 - exited is set after it
        return guest.ending

    async def _bring_up(self, guest: Guest) -> None:
        """Pin while no guest instruction has run, then let the guest go. A QEMU that was taken over runs already."""
        clock = self.running.clock
        if clock.parts:
            clock.note("QEMU makes the machine", clock.parts[-1].ended)
        with clock.part("the host is ready"):
            await self._host_ready.wait()  # before Linux 6.2 whoever is moved into a group loses its pins
        began = time.monotonic()
        vcpus, iothreads = await guest.threads()
        pin_threads(guest.process.pid, self.duty.pins, vcpus, iothreads)
        if self.duty.scheduler:
            set_scheduler(self.duty.scheduler, vcpus)
        clock.note("pins", began)
        with clock.part("a sleep lock"):
            if self.duty.inhibit_sleep:
                await self._awake.wait()
        with clock.part("devices that come and go"):
            await self.hotplug.begin(guest.monitor)
        if self.running.is_child:
            # On disk first: whoever comes after a supervisor that was killed here ends no guest that may have run.
            self.running.folder.write(msgspec.structs.replace(self.running.record, running=True))
            with clock.part("the guest is let go"):
                await guest.monitor.execute("cont")
        else:
            await self._catch_up(guest)
        guest.running.set()
        self._up.set()
        sentence = f"the guest runs ({self.duty.accel}, {self.duty.vcpus} vCPUs, QEMU {guest.process.pid})"
        if self.running.is_child:
            self.say(sentence)
        if not self._stop_wanted.is_set():
            self._manager.ready(sentence)
        self.running.note_timings()
        if self._tasks.on_up:
            self._tasks.on_up()

    async def _catch_up(self, guest: Guest) -> None:
        """Learn what happened while nobody supervised: events of that time are lost."""
        status = await guest.monitor.execute("query-status")
        match status.get("status") if isinstance(status, dict) else None:
            case "prelaunch" if self._stop_wanted.is_set():
                guest.end("stopped", "it was stopped before its guest ran")
                guest.halted.set()
            case "prelaunch":  # its supervisor was killed just before it let it go
                await guest.monitor.execute("cont")
            case "shutdown":
                guest.end("powered-off", "the guest had powered off")
                guest.halted.set()
            case "guest-panicked":
                await self._panicked(guest)
            case _:
                pass
        chardevs = await guest.monitor.execute("query-chardev")
        guest.agent_open = any(
            chardev.get("label") == "agent0-chr" and chardev.get("frontend-open")
            for chardev in (chardevs if isinstance(chardevs, list) else [])
        )

    async def _watch_events(self, guest: Guest) -> None:
        while True:
            event = await guest.monitor.event()
            name, data = str(event["event"]), event.get("data")
            for listen in guest.listeners:
                listen(event)
            sentence = describe(name, data if isinstance(data, dict) else {})
            if sentence:
                self.say(sentence)
            await self._react(guest, event)

    async def _react(self, guest: Guest, event: Event) -> None:
        data = event.get("data")
        data = data if isinstance(data, dict) else {}
        match event["event"]:
            case "SHUTDOWN" if data.get("guest"):
                if data.get("reason") == "guest-reset":
                    guest.end("reset", "the guest asked for a reset")
                else:
                    guest.end("powered-off", "the guest powered off")
                guest.halted.set()
            case "SHUTDOWN" if data.get("reason") == "host-ui":
                self.stop()
            case "SHUTDOWN" if data.get("reason") in ("host-qmp-quit", "host-signal"):  # of ours, or of somebody else
                guest.end("stopped", "QEMU was told to quit from outside")
            case "RESUME":
                guest.revive()
            case "RESET" if data.get("guest"):
                guest.resets += 1
            case "GUEST_PANICKED":
                await self._panicked(guest)
            case "VSERPORT_CHANGE" if data.get("id") == "agent0":
                guest.agent_open = bool(data.get("open"))
            case _:
                pass

    async def _panicked(self, guest: Guest) -> None:
        if self.duty.on_crash == "reset":
            with suppress(MonitorError):
                await guest.monitor.execute("system_reset")
                await guest.monitor.execute("cont")
            return
        guest.end("panicked", "the guest panicked")
        if self.duty.on_crash == "stop":
            guest.halted.set()
        else:
            self.say(f"it is paused as it was; look around with: qlaunch console {self.duty.name}")

    async def _end_when_wanted(self, guest: Guest) -> None:
        await self._stop_wanted.wait()
        with self.running.clock.part("the guest and QEMU end"):
            await bring_down(guest, self._polite, self.say)

    async def _end_when_halted(self, guest: Guest) -> None:
        while True:
            await guest.halted.wait()
            panicked = guest.ending is not None and guest.ending.how == "panicked"
            if panicked or self.duty.on_poweroff == "stop" or self._stop_wanted.is_set():
                await end_qemu(guest, self.say)
                return
            self.say("QEMU stays as it is, since on_poweroff says pause")
            await guest.revived.wait()

    async def _leave(self, ending: Ending) -> None:
        """The run is over: the host is given back, nothing stays in the runtime folder, and those who asked hear of it.

        Raises RestoreError.
        """
        if self.voice.last != ending.sentence:  # the event that ended it may have said so
            self.say(ending.sentence)
        if self.duty.ephemeral and ending.exit_status == 0:
            self.running.forget_state()
        await self._give_back()
        self.running.note_timings()
        self.farewells.send({"ended": {"how": ending.how, "exit_status": ending.exit_status}})

    async def _give_back(self) -> None:
        """Give the host back; whoever asked for the end hears what is left. Raises RestoreError."""
        try:
            await trio.to_thread.run_sync(self.running.give_back)
        except RestoreError as error:
            self.farewells.send({"left": {"message": error.message, "hint": error.hint}})
            raise

    async def _failed(self, error: BaseException) -> BaseException:
        """The machine did not come up, or its monitor failed while it ran."""
        if not self.never_ran and self.running.process.is_alive():
            # A running guest outlives its supervisor's troubles: another `up` takes it over.
            return error
        status = await trio.to_thread.run_sync(kill, self.running)
        log = read_qemu_log(self.duty.state)
        self.running.take_back()
        cause = explain_death(error, status, log, self.duty.sidecars)
        try:
            await self._give_back()
        except RestoreError as left:
            return left.after(cause)
        self.farewells.send({"ended": {"how": "qemu-died", "exit_status": 5}})
        return cause


async def _bound_serial_log(path: str) -> None:
    while True:
        await trio.sleep(_LOG_CHECK_S)
        await trio.to_thread.run_sync(bound, path)

"""The supervisor: brings a paused QEMU to life, watches it, and ends it. One nursery owns every task.

The asyncio loop of the monitor is outside the nursery, so that the session outlives the tasks that use it.
"""

from contextlib import suppress

import msgspec
import trio

from qlaunch.devices.monitor import SUPERVISOR
from qlaunch.errors import HostError, MonitorError
from qlaunch.run.control import Farewells, serve_control
from qlaunch.run.events import describe
from qlaunch.run.explain import explain_death
from qlaunch.run.guest import Ending, Guest
from qlaunch.run.launch import Running, kill, read_qemu_log
from qlaunch.run.live import status_line
from qlaunch.run.loop import first_cause
from qlaunch.run.pinning import pin_threads, set_scheduler
from qlaunch.run.qmp import Event, Monitor, open_monitor
from qlaunch.run.shutdown import bring_down, end_qemu
from qlaunch.run.signals import EarlySignals
from qlaunch.run.tasks import Tasks
from qlaunch.run.voice import Voice

# QEMU greets only after it has preallocated the guest's memory: up to 1.4 s a GiB with 4 KiB pages on one thread.
GREETING_S = 30.0
GREETING_S_PER_GIB = 4.0


class Supervisor:
    """One run of one machine."""

    def __init__(self, running: Running, voice: Voice, signals: EarlySignals, tasks: Tasks) -> None:
        self.running = running
        self.duty = running.record.duty
        self.say = voice.say
        self.voice = voice
        self.farewells = Farewells()
        self.guest: Guest | None = None
        self._signals = signals
        self._tasks = tasks
        self._stop_wanted = trio.Event()
        self._polite = trio.CancelScope()
        self._starting = trio.CancelScope()  # cancelled only while the guest has not run

    async def run(self) -> Ending:
        """Carry the machine from its first instruction to its end.

        Raises QemuError, MonitorError or HostError when it does not come up; QEMU is gone then, and nothing is left
        behind.
        """
        greeting_s = GREETING_S + GREETING_S_PER_GIB * self.duty.memory / (1 << 30)
        ending: Ending | None = None
        try:
            with self._starting:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._signals.watch, lambda hurry: self.stop(force=hurry), self.say)
                    await nursery.start(serve_control, self)
                    async with open_monitor(self.duty.socket(SUPERVISOR), greeting_s=greeting_s) as monitor:
                        ending = await self._supervise(monitor)
                    nursery.cancel_scope.cancel()
        except* (MonitorError, HostError) as group:
            raise self._failed(first_cause(group)) from None
        if ending is None:
            kill(self.running)
            self.running.take_back()
            ending = Ending("stopped", "it was stopped before its guest ran")
        self._leave(ending)
        return ending

    def stop(self, *, timeout_s: float | None = None, force: bool = False) -> None:
        """Ask for the end; ``force`` skips what is left of the guest's own time. Asking again never gives it more."""
        seconds = 0 if force else self.duty.shutdown.timeout_s if timeout_s is None else timeout_s
        self._polite.deadline = min(self._polite.deadline, trio.current_time() + seconds)
        self._stop_wanted.set()
        if self.running.is_child and not (self.guest and self.guest.running.is_set()):
            self._starting.cancel()

    async def _supervise(self, monitor: Monitor) -> Ending:
        running = self.running
        guest = self.guest = Guest(self.duty, running.process, running.pidfd, monitor, is_child=running.is_child)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest.watch_exit)
            nursery.start_soon(self._watch_events, guest)
            if self._tasks.companion:
                await nursery.start(self._tasks.companion, self)
            await self._bring_up(guest)
            if self._tasks.show:
                nursery.start_soon(status_line(self._tasks.show), self)
            nursery.start_soon(self._end_when_wanted, guest)
            nursery.start_soon(self._end_when_halted, guest)
            await guest.exited.wait()
            nursery.cancel_scope.cancel()
        assert guest.ending is not None  # noqa: S101 - exited is set after it
        return guest.ending

    async def _bring_up(self, guest: Guest) -> None:
        """Pin while no guest instruction has run, then let the guest go. A QEMU that was taken over runs already."""
        vcpus, iothreads = await guest.threads()
        pin_threads(guest.process.pid, self.duty.pins, vcpus, iothreads)
        if self.duty.scheduler:
            set_scheduler(self.duty.scheduler, vcpus)
        if self.running.is_child:
            await guest.monitor.execute("cont")
        else:
            await self._catch_up(guest)
        guest.running.set()
        self.running.folder.write(msgspec.structs.replace(self.running.record, running=True))
        if self.running.is_child:
            self.say(f"the guest runs ({self.duty.accel}, {self.duty.vcpus} vCPUs, QEMU {guest.process.pid})")
        if self._tasks.on_up:
            self._tasks.on_up()

    async def _catch_up(self, guest: Guest) -> None:
        """Learn what happened while nobody supervised: events of that time are lost."""
        status = await guest.monitor.execute("query-status")
        match status.get("status") if isinstance(status, dict) else None:
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
        async for event in guest.monitor.events:
            name, data = str(event["event"]), event.get("data")
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

    def _leave(self, ending: Ending) -> None:
        """The run is over: nothing of it stays in the runtime folder, and those who asked for the end hear of it."""
        if self.voice.last != ending.sentence:  # the event that ended it may have said so
            self.say(ending.sentence)
        if self.duty.ephemeral and ending.exit_status == 0:
            self.running.forget_state()
        self.running.folder.remove()
        self.farewells.send({"ended": {"how": ending.how, "exit_status": ending.exit_status}})

    def _failed(self, error: BaseException) -> BaseException:
        """The machine did not come up, or its monitor failed while it ran."""
        runs = not self.running.is_child or (self.guest is not None and self.guest.running.is_set())
        if runs and self.running.process.is_alive():
            # A running guest outlives its supervisor's troubles: another `up` takes it over.
            return error
        status = kill(self.running)
        log = read_qemu_log(self.duty.state)
        self.running.take_back()
        self.running.folder.remove()
        return explain_death(error, status, log)

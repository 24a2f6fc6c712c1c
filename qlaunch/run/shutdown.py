"""The way down: ask the guest, ask again, then quit, SIGTERM, SIGKILL; each has its own time and is told.

Source: QEMU's ``docs/interop/qemu-ga-ref`` (guest-shutdown sends no answer when it succeeds), ``system/runstate.c``
(SIGTERM ends QEMU on the same clean path as quit). A power button pressed while the guest boots, or on Windows' lock
screen, is lost: that is why it is pressed again.
"""

import signal
from contextlib import suppress

import trio

from qlaunch.errors import MonitorError
from qlaunch.run.agent import ask_agent_to_shut_down
from qlaunch.run.guest import Guest, wait_for
from qlaunch.run.voice import Say


async def bring_down(guest: Guest, graceful: trio.CancelScope, say: Say) -> None:
    """End the guest. ``graceful`` bounds the polite part; its deadline may be moved from outside to hurry."""
    if graceful.deadline > trio.current_time() and not guest.halted.is_set():
        with graceful:
            await _ask_guest(guest, say)
        if not guest.halted.is_set():
            guest.end("stopped", "the guest did not power off in time and was stopped")
    await end_qemu(guest, say)


async def end_qemu(guest: Guest, say: Say) -> None:
    """End QEMU itself, whatever the guest does. Called twice at once, the second call waits for the first."""
    guest.end("stopped", "the guest was stopped")
    async with guest.being_ended:
        if not guest.exited.is_set():
            await _end_qemu(guest, say)


async def _end_qemu(guest: Guest, say: Say) -> None:
    times = guest.duty.shutdown
    with trio.move_on_after(times.quit_s):
        with suppress(MonitorError):
            await guest.monitor.execute("quit")
        await guest.exited.wait()
    if guest.exited.is_set():
        return
    say("QEMU did not quit; sending SIGTERM")
    guest.process.send(signal.SIGTERM)
    if await wait_for(guest.exited, times.term_s):
        return
    say("QEMU did not end on SIGTERM; sending SIGKILL")
    guest.process.send(signal.SIGKILL)
    await guest.exited.wait()


async def _ask_guest(guest: Guest, say: Say) -> None:
    """Ask until the guest is down; the caller's deadline ends this."""
    times = guest.duty.shutdown
    with suppress(MonitorError):
        status = await guest.monitor.execute("query-status")
        if isinstance(status, dict) and status.get("status") == "paused":
            say("the guest is paused; resuming it, so that it can shut down")
            await guest.monitor.execute("cont")
    if guest.agent_open:
        say("asking the guest agent to shut down")
        if await ask_agent_to_shut_down(guest.duty.socket("agent"), times.agent_s) and await wait_for(
            guest.halted, times.resend_s
        ):
            return
    seconds = trio.current_effective_deadline() - trio.current_time()
    say(f"asking the guest to power off; waiting up to {seconds:.0f} s")
    while not guest.halted.is_set():
        with suppress(MonitorError):
            await guest.monitor.execute("system_powerdown")
        await wait_for(guest.halted, times.resend_s)

"""Watch the helpers of a machine while its guest runs: start them, start them again, tell how they ended.

Those that QEMU needs run already, and so do those of a machine that was taken over: they are found by their mark. To
end them is the undo of their step, which comes after QEMU's end; here nothing is ended.
"""

import os
from collections.abc import Sequence
from contextlib import suppress

import trio

from qlaunch.errors import HostError
from qlaunch.machine.sidecar import SidecarSpec
from qlaunch.run.sidecar_start import Helper, find_sidecar, last_words, start_sidecar
from qlaunch.run.voice import Say
from qlaunch.steps.command import status_words

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
# One that has lived this long was well: its next end is a new trouble, not the old one.
_WELL_S = 10.0


async def watch_sidecars(
    specs: Sequence[SidecarSpec],
    say: Say,
    *,
    is_first: bool = True,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep the helpers going until cancelled. ``started`` is told when each of them is ready.

    ``is_first`` is False after a take-over: then all had been started, and one that is not there has ended since.
    Raises HostError for one that cannot be started at the first time.
    """
    async with trio.open_nursery() as nursery:
        for spec in specs:
            helper = await trio.to_thread.run_sync(find_sidecar, spec)
            if helper is None and is_first:
                helper = await trio.to_thread.run_sync(start_sidecar, spec)
            nursery.start_soon(_keep, spec, helper, say)
        task_status.started()


async def _keep(spec: SidecarSpec, helper: Helper | None, say: Say) -> None:
    """Wait for the end of a helper, and start it again for as long as its policy says so."""
    pause_s = _FIRST_PAUSE_S
    while True:
        began = trio.current_time()
        returncode = await _ended(helper) if helper else None
        how = "it is not known how" if returncode is None else status_words(returncode)
        if spec.restart == "no" or (spec.restart == "on-failure" and returncode == 0):
            say(f"{spec.name} has ended ({how})")
            return
        said = last_words(spec)
        say(f"{spec.name} has ended ({how}{f': {said}' if said else ''}); it is started again")
        if trio.current_time() - began > _WELL_S:
            pause_s = _FIRST_PAUSE_S
        while True:
            await trio.sleep(pause_s)  # not to wait for anything: a helper that cannot live must not eat a CPU
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                helper = await trio.to_thread.run_sync(start_sidecar, spec)
                break
            except HostError as error:
                say(f"{error.message}; once more in {pause_s:g} s")


async def _ended(helper: Helper) -> int | None:
    """Wait until it is gone; give its status, or None if it was not this process' child."""
    try:
        await trio.lowlevel.wait_readable(helper.pidfd)
        with suppress(ChildProcessError):
            result = os.waitid(os.P_PIDFD, helper.pidfd, os.WEXITED)  # noqa: ASYNC222 - it has ended
            if result is not None:
                return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        return None
    finally:
        os.close(helper.pidfd)

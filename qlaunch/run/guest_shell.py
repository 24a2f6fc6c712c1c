"""A shell in the guest through its agent: keys go into a pipe with a name, what it prints is read from a file.

Where the guest has ``script(1)``, the shell gets a terminal of its own, with all that needs one; elsewhere it is a
plain ``sh -i``. A guest without a POSIX shell has none of this.

Source: ``script(1)``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from qlaunch.errors import MonitorError
from qlaunch.run.guest_agent import GuestAgent
from qlaunch.run.guest_exec import Growing, Job, Pass, remove, signalling, start
from qlaunch.run.guest_pipe import GuestPipe
from qlaunch.run.guest_status import read_status

_SHELL = """
d=$1 rows=$2 columns=$3 term=$4 command=$5
exec <"$d/in" >>"$d/out" 2>&1
export TERM="$term" HOME="${HOME:-/root}"
cd "$HOME" 2>/dev/null
s=$(command -v bash || command -v sh)
run="exec ${command:-$s -l}"
if command -v script >/dev/null; then exec script -qec "stty rows $rows columns $columns; $run" /dev/null; fi
if [ -n "$command" ]; then exec "$s" -c "$run"; fi
exec "$s" -i
"""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A terminal's size and kind."""

    rows: int
    columns: int
    terminal: str


class GuestShell:
    """A running shell: type, and read what it says."""

    def __init__(self, agent: GuestAgent, folder: str, pid: int, keyboard: GuestPipe, screen: Growing) -> None:
        self._agent = agent
        self._folder = folder
        self._pid = pid
        self._keyboard = keyboard
        self._screen = screen
        self.exit_status: int | None = None

    def exchange(self, keys: bytes) -> tuple[bytes, bool]:
        """Type as much as it takes, and pass on what was printed. Gives the keys that are left, and whether any came.

        Raises MonitorError when the agent goes away.
        """
        with self._agent.turn() as turn:
            keys = self._keyboard.write(turn, keys)
            status = read_status(turn, self._pid)
            came = self._screen.pass_on(turn)
        if status.exited:
            self.exit_status = status.exit_status
        return keys, came

    def close(self) -> None:
        """End the shell, and leave nothing in the guest."""
        with suppress(MonitorError), self._agent.turn() as turn:
            if self.exit_status is None:
                turn.ask("guest-exec", signalling("HUP", self._pid))
            self._keyboard.close(turn)
            remove(turn, self._folder, [self._screen])


@contextmanager
def open_shell(agent: GuestAgent, show: Pass, window: Window, command: str = "") -> Iterator[GuestShell]:
    """Start a shell, or a command of one, and end it with the block.

    Raises MonitorError; HostError in a guest without a POSIX shell.
    """
    folder = f"/tmp/.qlaunch-{os.urandom(8).hex()}"  # noqa: S108 - in the guest, made 0700
    with agent.turn() as turn:
        keyboard = GuestPipe(turn, folder)
        words = [
            "/bin/sh",
            "-c",
            _SHELL,
            "qlaunch",
            folder,
            str(window.rows),
            str(window.columns),
            window.terminal,
            command,
        ]
        pid = start(turn, Job(argv=words, out=show, err=show), "")
    shell = GuestShell(agent, folder, pid, keyboard, Growing(f"{folder}/out", show))
    try:
        yield shell
    finally:
        shell.close()

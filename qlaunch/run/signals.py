"""Signals that end a machine gracefully: Ctrl-C, SIGTERM, and SIGHUP when the terminal goes away.

They can come before trio is imported, while QEMU is started: then they are kept, and the supervisor reads them first.
"""

import signal
from collections.abc import Callable
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EarlySignals:
    """From its making on, the signals are noted and end nothing by themselves."""

    def __init__(self) -> None:
        self.noted: list[signal.Signals] = []
        # What is ignored already stays so: nohup means it.
        self._ending = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._ending:
            signal.signal(number, self._note)

    def ignore_hangup(self) -> None:
        """Let a terminal go away without any consequence."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._ending = [number for number in self._ending if number != signal.SIGHUP]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.noted.append(signal.Signals(number))

    async def watch(self, stop: Callable[[bool], None], say: Callable[[str], None]) -> None:
        """Turn the first signal into ``stop(False)`` and each later one into ``stop(True)``, which hurries."""
        import trio  # noqa: PLC0415 - this module is needed before trio's import, which takes 80 ms

        with trio.open_signal_receiver(*self._ending) as numbers:
            hurry = False
            for number in self.noted:
                _stop(number, stop, say, hurry=hurry)
                hurry = True
            async for received in numbers:
                _stop(signal.Signals(received), stop, say, hurry=hurry)
                hurry = True


def _stop(number: signal.Signals, stop: Callable[[bool], None], say: Callable[[str], None], *, hurry: bool) -> None:
    say(f"{number.name}: {'ending it at once' if hurry else 'ending the machine; once more hurries'}")
    stop(hurry)

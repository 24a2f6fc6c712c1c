"""The emulated computer's QMP monitor, one question at a time. It knows no command but those that it is told.

Source: QEMU, docs/interop/qmp-spec.rst.
"""

import json
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tests.lab.failure import LabError


class Monitor:
    """A connection to a QMP socket. ``gone`` makes the error that is raised when the emulator has died."""

    def __init__(self, path: str, gone: Callable[[], LabError], patience_s: float = 60) -> None:
        self._gone = gone
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(patience_s)
        try:
            self._socket.connect(path)
            self._lines = self._socket.makefile("rb")
            self._answer()
            self.execute("qmp_capabilities")
        except OSError:
            self._socket.close()
            raise

    def execute(self, command: str, **arguments: Any) -> Any:
        """A command's return value.

        Events that come before it are passed over. Raises LabError for QEMU's own error, and when it does not answer.
        """
        question = {"execute": command, "arguments": arguments}
        try:
            self._socket.sendall(json.dumps(question).encode() + b"\n")
            answer = self._answer()
            while not answer.keys() & {"error", "return"}:
                answer = self._answer()
        except OSError as error:
            raise self._gone() from error
        if "error" in answer:
            raise LabError(f"the emulator refused {command}: {answer['error']['desc']}")
        return answer["return"]

    def _answer(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionResetError("the emulator closed its monitor")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

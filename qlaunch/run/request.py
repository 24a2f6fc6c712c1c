"""Ask a supervisor over its control socket.

Blocking and without trio: a quick verb takes as long as Python's own start.
"""

import socket
from collections.abc import Iterator
from typing import Any

import msgspec

from qlaunch.errors import MonitorError

ANSWER_S = 15.0


def ask(path: str, request: dict[str, object], timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """Send one request and give the first answer. Raises MonitorError when there is none."""
    for answer in converse(path, request, timeout_s=timeout_s):
        return answer
    raise MonitorError(f"the supervisor behind {path} closed the connection")


def execute(path: str, command: str, arguments: dict[str, object] | None = None) -> object:
    """Run one QMP command through the supervisor. Raises MonitorError with QEMU's own words when it is refused."""
    answer = ask(path, {"ask": "execute", "command": command, "arguments": arguments or {}})
    if "error" in answer:
        raise MonitorError(str(answer["error"]))
    return answer.get("return")


def converse(path: str, request: dict[str, object], timeout_s: float | None) -> Iterator[dict[str, Any]]:
    """Send one request and yield answers until the supervisor hangs up."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    yield msgspec.json.decode(line)
    except TimeoutError as error:
        raise MonitorError(f"the supervisor behind {path} did not answer within {timeout_s:g} s") from error
    except (OSError, msgspec.DecodeError) as error:
        raise MonitorError(f"cannot talk to the supervisor behind {path}: {error}") from error

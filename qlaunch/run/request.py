"""Ask a supervisor over its control socket.

Blocking and without trio: a quick verb takes as long as Python's own start.
"""

import socket
from collections.abc import Iterator
from typing import Any

import msgspec

from qlaunch.duty import Plugged
from qlaunch.errors import HostError, MonitorError
from qlaunch.values.pci import PciAddress

ANSWER_S = 15.0
# A driver of the host's may take its time to let go, and as long to start again.
_PLUG_S = 120.0


def ask(path: str, request: dict[str, object], timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """Send one request and give the first answer. Raises MonitorError when there is none."""
    for answer in converse(path, request, timeout_s=timeout_s):
        return answer
    raise MonitorError(f"the supervisor behind {path} closed the connection")


def execute(
    path: str, command: str, arguments: dict[str, object] | None = None, *, timeout_s: float = ANSWER_S
) -> object:
    """Run one QMP command through the supervisor. Raises MonitorError with QEMU's own words when it is refused."""
    answer = ask(path, {"ask": "execute", "command": command, "arguments": arguments or {}}, timeout_s)
    if "error" in answer:
        raise MonitorError(str(answer["error"]))
    return answer.get("return")


def plug(path: str, ask_for: str, device: Plugged | PciAddress) -> str:
    """Attach or detach a USB or PCI device; gives what was done. Raises HostError with the supervisor's words."""
    which: dict[str, object] = {"device": device} if isinstance(device, Plugged) else {"pci": str(device)}
    answer = ask(path, {"ask": ask_for, **which}, timeout_s=_PLUG_S)
    if "error" in answer:
        raise HostError(str(answer["error"]), str(answer.get("hint", "")))
    return str(answer.get("return"))


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
